// Time and violations: the axis above the diagram, and the overview of everything kept.
function drawAxis(c) {
  c.fillStyle = colours.raised;
  c.fillRect(0, 0, view.width, AXIS);
  c.strokeStyle = colours.line;
  c.beginPath();
  c.moveTo(0, AXIS - 0.5);
  c.lineTo(view.width, AXIS - 0.5);
  c.stroke();
  c.fillStyle = colours.quiet;
  c.font = "11px system-ui, DejaVu Sans, sans-serif";
  const [first, step] = ticks();
  c.fillText(view.even ? "order of events" : `one mark: ${rough(step)}`, 10, 17);
  for (let at = first; at <= view.to; at += step) {
    const px = x(at);
    if (px < GUTTER) continue;
    let label;
    if (!view.even) label = tickLabel(at, step);
    else if (view.list[at] !== undefined) label = `${exact(E.at[view.list[at]]).slice(0, -6)} s`;
    else continue;
    c.fillRect(px, AXIS - 6, 1, 6);
    if (px < view.width - 30) c.fillText(label, px + 4, 17);
  }
}

function ticks() {
  const wanted = Math.max(1, (view.width - GUTTER) / 135);
  const raw = (view.to - view.from) / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  const scale = [1, 2, 5, 10].find((s) => s * power >= raw);
  const step = Math.max(1, Math.round(scale * power));
  return [Math.ceil(view.from / step) * step, step];
}

function tickLabel(ns, step) {
  const digits = Math.max(0, Math.min(9, Math.ceil(9 - Math.log10(step))));
  const [whole, rest] = (ns / 1e9).toFixed(digits).split(".");
  return rest ? `${whole}.${rest.replace(/(\d{3})(?=\d)/g, "$1 ")} s` : `${whole} s`;
}

function drawViolations(c) {
  let taken = -1;
  D.violations.forEach((v, i) => {
    const px = x(violationPosition(v));
    if (px < GUTTER || px > view.width) return;
    const chosen = i === view.violation;
    c.strokeStyle = colours.bad;
    c.globalAlpha = chosen ? 1 : 0.3;
    c.lineWidth = chosen ? 2 : 1;
    c.setLineDash(chosen ? [] : [5, 4]);
    c.beginPath();
    c.moveTo(px, AXIS - 8);
    c.lineTo(px, view.height);
    c.stroke();
    c.setLineDash([]);
    c.globalAlpha = 1;
    if (!chosen && (taken >= 0 && Math.abs(px - taken) < 300)) return;
    if (chosen) taken = px;
  });
  const v = D.violations[view.violation];
  if (!v) return;
  const px = x(violationPosition(v));
  if (px < GUTTER - 1 || px > view.width + 1) return;
  c.font = "600 12px system-ui, DejaVu Sans, sans-serif";
  const label = `✕ guarantee ${v.guarantee}: ${v.text}`;
  const width = Math.min(c.measureText(label).width + 14, view.width - GUTTER - 8);
  const left = Math.max(GUTTER + 2, Math.min(px + 4, view.width - width - 4));
  c.fillStyle = colours.bad;
  c.fillRect(left, AXIS + 2, width, 18);
  c.fillStyle = colours.ground;
  fitText(c, label, left + 7, AXIS + 15, width - 12);
}

// The whole of what is kept: how many events when, faults, violations, and what is in view.
function drawOverview() {
  const width = overview.parentElement.clientWidth;
  const height = 46;
  const c = size(overview, width, height);
  c.fillStyle = colours.raised;
  c.fillRect(0, 0, width, height);
  const [from, to] = extent();
  const at = (position) => ((position - from) / (to - from)) * width;
  for (const [begin, end] of D.faults) {
    const left = at(positionAt(begin));
    c.fillStyle = `rgba(${colours.fault}, .25)`;
    c.fillRect(left, 0, Math.max(1, at(positionAt(end)) - left), 6);
  }
  const bars = new Uint32Array(Math.ceil(width / 2) + 1);
  const strong = new Uint32Array(bars.length);
  for (const event of view.list) {
    const bar = Math.max(0, Math.min(bars.length - 1, Math.floor(at(positionOf(event)) / 2)));
    bars[bar]++;
    if (view.history[event]) strong[bar]++;
  }
  const most = Math.log2(2 + bars.reduce((a, b) => Math.max(a, b), 0));
  bars.forEach((count, bar) => {
    if (!count) return;
    const tall = (Math.log2(1 + count) / most) * (height - 12);
    c.fillStyle = strong[bar] ? colours.bad : colours.timer;
    c.globalAlpha = strong[bar] ? 0.9 : 0.45;
    c.fillRect(bar * 2, height - 2 - tall, 2, tall);
  });
  c.globalAlpha = 1;
  for (const v of D.violations) {
    c.fillStyle = colours.bad;
    c.fillRect(at(violationPosition(v)) - 1, 0, 2, height);
  }
  const [left, right] = [at(view.from), at(view.to)];
  c.fillStyle = colours.ground;
  c.globalAlpha = 0.55;
  c.fillRect(0, 0, left, height);
  c.fillRect(right, 0, width - right, height);
  c.globalAlpha = 1;
  c.strokeStyle = colours.accent;
  c.lineWidth = 1.5;
  c.strokeRect(Math.max(0.5, left), 1, Math.max(3, Math.min(width, right) - Math.max(0, left)) - 1, height - 2);
}
