// Drawing the diagram: lanes, faults, events, notes. It decides how things look, never which
// are shown or where.
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
