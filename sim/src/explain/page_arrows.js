// Drawing what went from one lane to another, and what never arrived.
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
