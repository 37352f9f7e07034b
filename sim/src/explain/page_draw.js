// What is in view, where it is, and drawing it. Positions along the time axis are either
// nanoseconds or, with even spacing, places in the list of events that pass the filters.
const GUTTER = 236;
const AXIS = 26;
const DENSE = 2500; // events in view beyond which lanes show how many, not which
const KIND_COLOURS = ["message", "timer", "disk", "driver", "blob", "instance", "request", "client", "world", "client", "world"];
const NOTE_COLOURS = { election: "election", cutover: "cutover", deploy: "deploy", slot: "slot", instance: "instance", feed: "feed", artifact: "blob", trouble: "bad", mark: "timer" };

const stage = document.getElementById("stage");
const diagram = document.getElementById("diagram");
const overview = document.getElementById("overview");
const view = {
  from: 0, to: 1, // positions
  scroll: 0, // pixels
  even: false,
  dim: true,
  only: false,
  violation: D.violations.length ? 0 : -1,
  selected: -1,
  hidden: new Set(), // kinds
  list: new Int32Array(0), // events that pass the filters, in order
  rank: new Int32Array(COUNT), // place in the list, or −1
  history: new Uint8Array(COUNT),
  matches: new Set(),
  rows: [], // {lane|region, y}
  laneY: [],
  rowHeight: 22,
  width: 0,
  height: 0,
};
let colours = {};

function readColours() {
  const style = getComputedStyle(document.documentElement);
  colours = new Proxy({}, {
    get: (known, name) => (known[name] ??= style.getPropertyValue(`--${name}`).trim()),
  });
}

function filter() {
  view.history.fill(0);
  const chosen = D.violations[view.violation];
  if (chosen) for (const event of chosen.history) view.history[event] = 1;
  const list = [];
  view.rank.fill(-1);
  for (let i = 0; i < COUNT; i++) {
    const passes = view.only ? view.history[i] : !view.hidden.has(E.kind[i]) || view.history[i];
    if (passes) {
      view.rank[i] = list.length;
      list.push(i);
    }
  }
  view.list = Int32Array.from(list);
  layOut();
}

// Rows from top to bottom. With only the history, lanes without any of it are left out.
function layOut() {
  const used = new Uint8Array(D.lanes.length);
  if (view.only) {
    for (const event of view.list) {
      used[E.lane[event]] = 1;
      if (E.from[event] >= 0) used[E.from[event]] = 1;
      for (const loss of lossesOf.get(event) || []) used[loss[2]] = used[loss[1]] = 1;
    }
  } else used.fill(1);
  used[0] = 1;
  const lanes = D.lanes.map((_, lane) => lane).filter((lane) => used[lane]);
  const regions = new Set(lanes.map((lane) => D.hosts[D.lanes[lane][1]][1]));
  const room = view.height - AXIS - 20 * regions.size - 8;
  view.rowHeight = Math.max(15, Math.min(30, Math.floor(room / lanes.length)));
  view.rows = [];
  view.laneY = [];
  let y = AXIS;
  let region = null;
  for (const lane of lanes) {
    const host = D.hosts[D.lanes[lane][1]];
    if (host[1] !== region) {
      region = host[1];
      view.rows.push({ region, y, height: 20 });
      y += 20;
    }
    view.rows.push({ lane, y, height: view.rowHeight });
    view.laneY[lane] = y + view.rowHeight / 2;
    y += view.rowHeight;
  }
  view.bottom = y;
  clampScroll();
}

function clampScroll() {
  view.scroll = Math.max(0, Math.min(view.scroll, view.bottom - view.height + 8));
}

const extent = () => {
  if (view.even) return [-1, Math.max(view.list.length, 2)];
  const first = COUNT ? E.at[view.list.length ? view.list[0] : 0] : 0;
  const ends = D.violations.map((v) => v.at);
  const last = Math.max(COUNT ? E.at[COUNT - 1] : D.duration, ...ends);
  const room = Math.max((last - first) * 0.02, 1000);
  return [first - room, last + room];
};

const positionOf = (event) => (view.even ? view.rank[event] : E.at[event]);

// Where a moment is that may have no event of its own.
function positionAt(at) {
  if (!view.even) return at;
  const list = view.list;
  const after = lowerBound(list.length, (i) => E.at[list[i]] < at);
  if (after < list.length && E.at[list[after]] === at) return after;
  return after - 0.5;
}

const violationPosition = (v) =>
  v.event !== null && view.rank[v.event] >= 0 ? positionOf(v.event) : positionAt(v.at);

const x = (position) => GUTTER + ((position - view.from) / (view.to - view.from)) * (view.width - GUTTER);
const positionAtX = (px) => view.from + ((px - GUTTER) / (view.width - GUTTER)) * (view.to - view.from);
const y = (lane) => view.laneY[lane] - view.scroll;

function size(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

let asked = false;
function redraw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    drawDiagram();
    drawOverview();
  });
}

// First and last place in the list that are in view.
function inView() {
  const list = view.list;
  if (view.even) {
    return [Math.max(0, Math.floor(view.from)), Math.min(list.length, Math.ceil(view.to) + 1)];
  }
  return [
    lowerBound(list.length, (i) => E.at[list[i]] < view.from),
    lowerBound(list.length, (i) => E.at[list[i]] <= view.to),
  ];
}

const isDimmed = () => view.dim && !view.only && D.violations[view.violation]?.history.length > 0;

function drawDiagram() {
  const c = size(diagram, view.width, view.height);
  c.fillStyle = colours.ground;
  c.fillRect(0, 0, view.width, view.height);
  const [low, high] = inView();
  const dense = high - low > DENSE;
  drawRows(c);
  c.save();
  c.beginPath();
  c.rect(GUTTER, AXIS, view.width - GUTTER, view.height - AXIS);
  c.clip();
  drawFaults(c);
  if (dense) drawDensity(c, low, high);
  drawArrows(c, low, high, dense);
  drawNotes(c, low, high, dense);
  drawEvents(c, low, high, dense);
  drawSelected(c);
  c.restore();
  drawAxis(c);
  drawViolations(c);
  tellStatus(high - low, dense);
}

function drawRows(c) {
  let host = -1;
  for (const row of view.rows) {
    const top = row.y - view.scroll;
    if (top + row.height < AXIS || top > view.height) continue;
    if (row.region !== undefined) {
      c.fillStyle = colours.region;
      c.fillRect(0, top, view.width, row.height);
      c.fillStyle = colours.quiet;
      c.font = "600 11px system-ui, DejaVu Sans, sans-serif";
      c.fillText(row.region.toUpperCase(), 10, top + 14);
      host = -1;
      continue;
    }
    const [name, of] = D.lanes[row.lane];
    const middle = top + row.height / 2;
    c.strokeStyle = colours.lane;
    c.lineWidth = 1;
    c.beginPath();
    c.moveTo(GUTTER, middle);
    c.lineTo(view.width, middle);
    c.stroke();
    const selected = view.selected >= 0 && E.lane[view.selected] === row.lane;
    if (of !== host) {
      host = of;
      c.strokeStyle = colours.line;
      c.beginPath();
      c.moveTo(0, top);
      c.lineTo(view.width, top);
      c.stroke();
      c.fillStyle = colours.text;
      c.font = "600 12px system-ui, DejaVu Sans, sans-serif";
      fitText(c, D.hosts[of][0], 10, middle + 4, 108);
    }
    c.fillStyle = selected ? colours.accent : colours.quiet;
    c.font = `${selected ? "600 " : ""}12px system-ui, DejaVu Sans, sans-serif`;
    if (D.hosts[of][2] || of === 0) fitText(c, name, 124, middle + 4, GUTTER - 130);
  }
  c.strokeStyle = colours.line;
  c.beginPath();
  c.moveTo(GUTTER - 0.5, AXIS);
  c.lineTo(GUTTER - 0.5, view.height);
  c.stroke();
}

function fitText(c, words, left, baseline, width) {
  let shown = words;
  while (shown.length > 1 && c.measureText(shown).width > width) shown = `${shown.slice(0, -2)}…`;
  c.fillText(shown, left, baseline);
}

function drawFaults(c) {
  const half = view.rowHeight / 2;
  for (const [begin, end, , label, lanes] of D.faults) {
    const [left, right] = [x(positionAt(begin)), x(positionAt(end))];
    if (right < GUTTER || left > view.width || !lanes.length) continue;
    if (view.even && right - left < 1) continue; // nothing happened meanwhile
    const from = Math.max(left, GUTTER);
    const width = Math.max(2, Math.min(right, view.width) - from);
    let named = false;
    for (const lane of lanes) {
      if (view.laneY[lane] === undefined) continue;
      c.fillStyle = `rgba(${colours.fault}, .16)`;
      c.fillRect(from, y(lane) - half, width, view.rowHeight);
      if (!named && y(lane) > AXIS) {
        named = true;
        c.fillStyle = `rgb(${colours.fault})`;
        c.fillRect(from, y(lane) - half, width, 2);
        c.font = "11px system-ui, DejaVu Sans, sans-serif";
        if (width > 60) fitText(c, label, from + 5, y(lane) - half + 12, width - 8);
      }
    }
    c.strokeStyle = `rgba(${colours.fault}, .7)`;
    for (const edge of [left, right]) {
      if (edge < GUTTER) continue;
      for (const lane of lanes) {
        if (view.laneY[lane] === undefined) continue;
        c.beginPath();
        c.moveTo(edge, y(lane) - half);
        c.lineTo(edge, y(lane) + half);
        c.stroke();
      }
    }
  }
}

// How many events each lane has in each column of two pixels.
function drawDensity(c, low, high) {
  const columns = Math.ceil((view.width - GUTTER) / 2);
  const counts = new Map();
  for (let i = low; i < high; i++) {
    const event = view.list[i];
    const column = Math.floor((x(positionOf(event)) - GUTTER) / 2);
    if (column < 0 || column >= columns) continue;
    const key = E.lane[event] * columns + column;
    counts.set(key, (counts.get(key) || 0) + 1);
  }
  c.fillStyle = colours.message;
  const weak = isDimmed() ? 0.35 : 1;
  for (const [key, count] of counts) {
    const lane = Math.floor(key / columns);
    if (view.laneY[lane] === undefined) continue;
    const tall = Math.min(view.rowHeight - 4, 3 + 2.2 * Math.log2(1 + count));
    c.globalAlpha = weak * Math.min(0.9, 0.3 + 0.12 * Math.log2(count));
    c.fillRect(GUTTER + (key % columns) * 2, y(lane) - tall / 2, 2, tall);
  }
  c.globalAlpha = 1;
}

function drawArrows(c, low, high, dense) {
  const dimmed = isDimmed();
  const list = view.list;
  const strong = [];
  // Arrows end in view, or soon after it.
  const until = Math.min(list.length, high + 3000);
  for (let i = low; i < until; i++) {
    const event = list[i];
    const cause = E.cause[event];
    if (cause < 0 || view.rank[cause] < 0) continue;
    if (i >= high && positionOf(cause) > view.to) continue;
    const isHistory = view.history[event] && view.history[cause];
    if (isHistory) strong.push(event);
    else if (!dense) drawArrow(c, event, dimmed ? 0.13 : 0.6, 1);
  }
  for (const event of strong) drawArrow(c, event, 1, dimmed || view.only ? 1.8 : 1);
  if (dense) return;
  for (let i = low; i < high; i++) {
    const event = list[i];
    for (const loss of lossesOf.get(event) || []) {
      drawLoss(c, loss, dimmed && !view.history[event] ? 0.2 : 0.9);
    }
  }
}

function drawArrow(c, event, alpha, width) {
  const cause = E.cause[event];
  const from = E.from[event] >= 0 ? E.from[event] : E.lane[cause];
  const to = E.lane[event];
  if (view.laneY[from] === undefined || view.laneY[to] === undefined) return;
  const [x0, y0, x1, y1] = [x(positionOf(cause)), y(from), x(positionOf(event)), y(to)];
  if (x1 < GUTTER && x0 < GUTTER) return;
  const colour = colours[KIND_COLOURS[E.kind[event]]];
  c.globalAlpha = alpha;
  c.lineWidth = width;
  c.strokeStyle = colour;
  if (from === to) {
    if (alpha < 0.5 || x1 - x0 < 6) { c.globalAlpha = 1; return; }
    c.beginPath();
    const lift = Math.min(view.rowHeight * 0.4, (x1 - x0) / 3);
    c.moveTo(x0, y0);
    c.bezierCurveTo(x0 + 4, y0 - lift, x1 - 4, y0 - lift, x1, y1);
    c.stroke();
    c.globalAlpha = 1;
    return;
  }
  const fate = E.fate[event];
  if (fate === "lost" || fate === "nobody") {
    cross(c, x0, y0, x0 + (x1 - x0) * 0.94, y0 + (y1 - y0) * 0.94, Math.max(alpha, 0.3));
    return;
  }
  c.beginPath();
  c.moveTo(x0, y0);
  c.lineTo(x1, y1);
  c.stroke();
  if (alpha > 0.1) {
    const angle = Math.atan2(y1 - y0, x1 - x0);
    const tip = 5 + width;
    c.fillStyle = colour;
    c.beginPath();
    c.moveTo(x1, y1);
    c.lineTo(x1 - tip * Math.cos(angle - 0.4), y1 - tip * Math.sin(angle - 0.4));
    c.lineTo(x1 - tip * Math.cos(angle + 0.4), y1 - tip * Math.sin(angle + 0.4));
    c.fill();
  }
  c.globalAlpha = 1;
}

// A broken arrow: dashed, ending in a cross.
function cross(c, x0, y0, x1, y1, alpha) {
  c.globalAlpha = alpha;
  c.strokeStyle = colours.bad;
  c.lineWidth = 1.2;
  c.setLineDash([4, 3]);
  c.beginPath();
  c.moveTo(x0, y0);
  c.lineTo(x1, y1);
  c.stroke();
  c.setLineDash([]);
  c.lineWidth = 2;
  c.beginPath();
  for (const slope of [1, -1]) {
    c.moveTo(x1 - 4, y1 - 4 * slope);
    c.lineTo(x1 + 4, y1 + 4 * slope);
  }
  c.stroke();
  c.globalAlpha = 1;
}

function drawLoss(c, [event, from, to, due], alpha) {
  if (view.laneY[from] === undefined || view.laneY[to] === undefined) return;
  const x0 = x(positionOf(event));
  const full = view.even ? x(positionOf(event) + 1) : x(due);
  const x1 = Math.max(full, x0 + 6);
  cross(c, x0, y(from), x0 + (x1 - x0) * 0.55, y(from) + (y(to) - y(from)) * 0.55, alpha);
}

function drawEvents(c, low, high, dense) {
  const dimmed = isDimmed();
  const draw = (event, alpha, radius) => {
    const lane = E.lane[event];
    if (view.laneY[lane] === undefined) return;
    c.globalAlpha = alpha;
    shape(c, event, x(positionOf(event)), y(lane), radius);
  };
  for (let i = low; i < high; i++) {
    const event = view.list[i];
    if (view.history[event]) continue;
    if (!dense || view.matches.has(event)) draw(event, dimmed && !view.matches.has(event) ? 0.28 : 0.95, 3.2);
  }
  for (let i = low; i < high; i++) {
    const event = view.list[i];
    if (view.history[event]) draw(event, 1, dimmed || view.only ? 4.2 : 3.2);
  }
  c.globalAlpha = 1;
}

function shape(c, event, px, py, r) {
  const kind = E.kind[event];
  c.fillStyle = colours[KIND_COLOURS[kind]];
  c.strokeStyle = c.fillStyle;
  if (view.matches.has(event)) {
    c.save();
    c.globalAlpha = 1;
    c.fillStyle = colours.mark;
    c.beginPath();
    c.arc(px, py, r + 5, 0, 7);
    c.fill();
    c.restore();
  }
  c.beginPath();
  if (kind === 1) { // a timer is hollow
    c.lineWidth = 1.6;
    c.arc(px, py, r - 0.4, 0, 7);
    c.stroke();
    return;
  }
  if (kind >= 2 && kind <= 4) c.rect(px - r, py - r, 2 * r, 2 * r);
  else if (kind >= 8) {
    c.moveTo(px, py - r - 2);
    c.lineTo(px + r + 2, py + r);
    c.lineTo(px - r - 2, py + r);
  } else c.arc(px, py, r, 0, 7);
  c.fill();
}

// What the actors noted: a mark at the lane, with its words where there is room.
function drawNotes(c, low, high, dense) {
  const dimmed = isDimmed();
  const free = [];
  c.font = "11px system-ui, DejaVu Sans, sans-serif";
  for (let i = low; i < high; i++) {
    const event = view.list[i];
    for (const [, lane, kind, words] of notesOf.get(event) || []) {
      if (view.laneY[lane] === undefined) continue;
      const isHistory = view.history[event];
      if (dense && (kind === "mark" || kind === "artifact") && !isHistory) continue;
      const px = x(positionOf(event));
      const top = y(lane) - view.rowHeight / 2 + 1;
      c.globalAlpha = dimmed && !isHistory ? 0.4 : 1;
      c.fillStyle = colours[NOTE_COLOURS[kind] || "timer"];
      c.fillRect(px - 1, top, 2, view.rowHeight - 2);
      c.beginPath();
      c.moveTo(px, top);
      c.lineTo(px + 7, top + 3.5);
      c.lineTo(px, top + 7);
      c.fill();
      if (kind === "mark" || px < (free[lane] ?? 0)) continue;
      const label = text(words);
      const width = Math.min(c.measureText(label).width, 330);
      // A halo keeps the words apart from what is behind them.
      c.strokeStyle = colours.ground;
      c.lineWidth = 3;
      c.lineJoin = "round";
      if (width < 330) c.strokeText(label, px + 10, top + 7);
      fitText(c, label, px + 10, top + 7, 330);
      free[lane] = px + width + 18;
    }
  }
  c.globalAlpha = 1;
}

function drawSelected(c) {
  const event = view.selected;
  if (event < 0 || view.rank[event] < 0 || view.laneY[E.lane[event]] === undefined) return;
  if (E.cause[event] >= 0 && view.rank[E.cause[event]] >= 0) drawArrow(c, event, 1, 2.4);
  for (const child of childrenOf(event)) if (view.rank[child] >= 0) drawArrow(c, child, 1, 2.4);
  for (const loss of lossesOf.get(event) || []) drawLoss(c, loss, 1);
  const [px, py] = [x(positionOf(event)), y(E.lane[event])];
  shape(c, event, px, py, 4.5);
  c.strokeStyle = colours.accent;
  c.lineWidth = 2.5;
  c.beginPath();
  c.arc(px, py, 9, 0, 7);
  c.stroke();
}

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
