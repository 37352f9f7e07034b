// What people do: zooming, panning, choosing, searching, stepping.
const byId = (id) => document.getElementById(id);
const tip = byId("tip");
let found = [];
let match = -1;

function resize() {
  view.width = Math.max(GUTTER + 100, stage.clientWidth);
  view.height = Math.max(120, stage.clientHeight);
  layOut();
  redraw();
}

function show(from, to) {
  const [least, most] = extent();
  const shortest = view.even ? 4 : 200;
  let width = Math.max(shortest, Math.min(to - from, most - least));
  let start = (from + to) / 2 - width / 2;
  start = Math.max(least, Math.min(start, most - width));
  view.from = start;
  view.to = start + width;
  redraw();
}

function zoom(factor, around) {
  const at = around ?? (view.from + view.to) / 2;
  show(at - (at - view.from) * factor, at + (view.to - at) * factor);
}

const fit = () => show(...extent());

// The end of the causal history, wide enough to hold its last events.
function toViolation() {
  const v = D.violations[view.violation];
  if (!v) return fit();
  const end = violationPosition(v);
  const history = v.history.filter((e) => view.rank[e] >= 0);
  const first = history[Math.max(0, history.length - 14)];
  const begin = first === undefined ? end - (view.even ? 40 : 1e9) : positionOf(first);
  const room = Math.max((end - begin) * 0.12, view.even ? 1 : 2000);
  show(begin - room, end + room);
  if (history.length) reveal(E.lane[history[history.length - 1]]);
}

function reveal(lane) {
  const middle = view.laneY[lane];
  if (middle === undefined) return;
  if (middle - view.scroll < AXIS + 20 || middle - view.scroll > view.height - 20) {
    view.scroll = middle - view.height / 2;
    clampScroll();
  }
}

function select(event, centre, lane) {
  view.selected = event ?? -1;
  if (view.selected >= 0) {
    if (view.rank[event] < 0) {
      // A filter hides it: what was asked for is shown.
      view.only = byId("only").checked = false;
      view.hidden.delete(E.kind[event]);
      for (const box of document.querySelectorAll("#kinds input")) box.checked = !view.hidden.has(+box.value);
      filter();
    }
    showPanel(lane);
    const at = positionOf(event);
    const margin = (view.to - view.from) * 0.04;
    if (centre && (at < view.from + margin || at > view.to - margin)) {
      const half = (view.to - view.from) / 2;
      show(at - half, at + half);
    }
    reveal(lane ?? E.lane[event]);
  } else showPanel();
  redraw();
}

// The event under the pointer, or null.
function eventAt(px, py) {
  const near = (8 / (view.width - GUTTER)) * (view.to - view.from);
  const at = positionAtX(px);
  const list = view.list;
  const low = view.even ? Math.max(0, Math.floor(at - near)) : lowerBound(list.length, (i) => E.at[list[i]] < at - near);
  let best = null;
  let least = 12 * 12;
  for (let i = low; i < list.length && positionOf(list[i]) <= at + near; i++) {
    const event = list[i];
    if (view.laneY[E.lane[event]] === undefined) continue;
    const distance = (x(positionOf(event)) - px) ** 2 + (y(E.lane[event]) - py) ** 2 - (view.history[event] ? 4 : 0);
    if (distance < least) [best, least] = [event, distance];
  }
  return best;
}

function pointers() {
  const down = new Map();
  let moved = 0;
  let pinch = 0;
  const place = (e) => {
    const box = stage.getBoundingClientRect();
    return [e.clientX - box.left, e.clientY - box.top];
  };
  stage.addEventListener("pointerdown", (e) => {
    stage.setPointerCapture(e.pointerId);
    down.set(e.pointerId, place(e));
    moved = 0;
    pinch = 0;
    tip.hidden = true;
  });
  stage.addEventListener("pointermove", (e) => {
    const [px, py] = place(e);
    const last = down.get(e.pointerId);
    if (!last) return hover(px, py);
    down.set(e.pointerId, [px, py]);
    if (down.size === 2) {
      const [a, b] = [...down.values()];
      const apart = Math.abs(a[0] - b[0]);
      if (pinch && apart > 4) zoom(pinch / apart, positionAtX((a[0] + b[0]) / 2));
      pinch = apart;
      moved = 99;
      return;
    }
    moved += Math.abs(px - last[0]) + Math.abs(py - last[1]);
    if (moved < 4) return;
    stage.classList.add("dragging");
    const by = ((last[0] - px) / (view.width - GUTTER)) * (view.to - view.from);
    view.scroll += last[1] - py;
    clampScroll();
    show(view.from + by, view.to + by);
  });
  const up = (e) => {
    const [px, py] = place(e);
    if (down.delete(e.pointerId) && moved < 4 && e.type === "pointerup") {
      const event = px > GUTTER ? eventAt(px, py) : null;
      if (event !== null) select(event);
    }
    stage.classList.remove("dragging");
  };
  stage.addEventListener("pointerup", up);
  stage.addEventListener("pointercancel", up);
  stage.addEventListener("pointerleave", () => (tip.hidden = true));
  stage.addEventListener("wheel", (e) => {
    e.preventDefault();
    const [px] = place(e);
    const unit = e.deltaMode === 1 ? 16 : 1;
    if (px < GUTTER) {
      view.scroll += e.deltaY * unit;
      clampScroll();
      redraw();
    } else if (e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY)) {
      const by = (((e.deltaX || e.deltaY) * unit) / (view.width - GUTTER)) * (view.to - view.from);
      show(view.from + by, view.to + by);
    } else zoom(Math.exp(e.deltaY * unit * 0.0016), positionAtX(px));
  }, { passive: false });
}

function hover(px, py) {
  const event = px > GUTTER && py > AXIS ? eventAt(px, py) : null;
  tip.hidden = event === null;
  stage.style.cursor = event === null ? "" : "pointer";
  if (event === null) return hoverFault(px, py);
  const from = E.from[event] >= 0 ? `\nfrom ${laneName(E.from[event])}` : "";
  tip.textContent = `${exact(E.at[event])}  ${laneName(E.lane[event])}\n${line(event)}${from}`;
  placeTip(px, py);
}

function hoverFault(px, py) {
  const row = view.rows.find((r) => r.lane !== undefined && py + view.scroll >= r.y && py + view.scroll < r.y + r.height);
  if (!row || px < GUTTER) return;
  const here = D.faults.filter(([begin, end, , , lanes]) => lanes.includes(row.lane) &&
    x(positionAt(begin)) <= px && px <= x(positionAt(end)));
  if (!here.length) return;
  tip.hidden = false;
  tip.textContent = here.map(([begin, end, , label]) => `${label}\nfrom ${exact(begin)} to ${exact(end)}`).join("\n");
  placeTip(px, py);
}

function placeTip(px, py) {
  tip.style.left = `${Math.max(0, Math.min(px + 14, view.width - tip.offsetWidth - 6))}px`;
  tip.style.top = `${py + 18 + tip.offsetHeight > view.height ? py - tip.offsetHeight - 8 : py + 18}px`;
}

function overviewPointer() {
  const at = (e) => {
    const box = overview.getBoundingClientRect();
    const [from, to] = extent();
    return from + ((e.clientX - box.left) / box.width) * (to - from);
  };
  const move = (e) => {
    const half = (view.to - view.from) / 2;
    show(at(e) - half, at(e) + half);
  };
  overview.addEventListener("pointerdown", (e) => {
    overview.setPointerCapture(e.pointerId);
    move(e);
  });
  overview.addEventListener("pointermove", (e) => e.buttons && move(e));
}

function runSearch() {
  const word = byId("search").value.trim();
  found = word ? search(word) : [];
  view.matches = new Set(found);
  match = -1;
  byId("matches").textContent = word ? `${number(found.length)} found` : "";
  redraw();
}

function nextMatch(step) {
  if (!found.length) return;
  if (match < 0) {
    // From what is in view on.
    match = found.findIndex((event) => view.rank[event] >= 0 && positionOf(event) >= view.from);
    if (match < 0) match = 0;
  } else match = (match + step + found.length) % found.length;
  byId("matches").textContent = `${number(match + 1)} of ${number(found.length)}`;
  select(found[match], true);
}

function keys(e) {
  if (e.target.matches("input[type=search], select")) {
    if (e.key === "Enter" && e.target.id === "search") nextMatch(e.shiftKey ? -1 : 1);
    return;
  }
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  const by = (view.to - view.from) / 8;
  const step = (id) => byId(id)?.click();
  const actions = {
    "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1 / 0.6),
    f: fit, v: toViolation, n: () => step("next-of-actor"), p: () => step("previous-of-actor"),
    ArrowLeft: () => show(view.from - by, view.to - by),
    ArrowRight: () => show(view.from + by, view.to + by),
    Escape: () => select(-1),
    "/": () => byId("search").focus(),
  };
  if (actions[e.key]) {
    e.preventDefault();
    actions[e.key]();
  }
}

function header() {
  byId("title").textContent = `${D.scenario}, seed ${D.seed}`;
  byId("about").textContent = D.about;
  byId("command").textContent = D.repro;
  byId("copy").onclick = () => {
    getSelection().selectAllChildren(byId("command"));
    navigator.clipboard?.writeText(D.repro).then(() => (byId("copy").textContent = "Copied"), () => {});
  };
  const verdict = byId("verdict");
  if (!D.violationCount) {
    verdict.textContent = "Every guarantee held in this run.";
    byId("to-violation").disabled = byId("dim").disabled = byId("only").disabled = true;
    byId("which").hidden = true;
    return;
  }
  const v = D.violations[view.violation];
  const many = D.violationCount > 1 ? ` · ${number(D.violationCount)} violations in all` : "";
  verdict.className = "bad";
  verdict.replaceChildren(
    element("b", `Guarantee ${v.guarantee} violated`),
    ` at ${exact(v.at)} (${v.name}): ${v.text}${many}`,
  );
}

function chooseViolation() {
  const which = byId("which");
  which.hidden = D.violations.length < 2;
  which.replaceChildren(...D.violations.map((v, i) =>
    element("option", `${(v.at / 1e9).toFixed(3)} s, guarantee ${v.guarantee}: ${v.text}`, { value: i })));
  which.onchange = () => {
    view.violation = +which.value;
    header();
    filter();
    toViolation();
  };
}

// What a newcomer looks at, in two sentences.
function hint() {
  const led = D.violations.length ? " What stands out in colour led to the violation; the red line is the moment at which it was found." : "";
  byId("hint").textContent = `Time runs to the right, each lane is one actor or machine, and arrows are messages.${led} Click an event for its cause, its effects and the actor's state before and after.`;
}

function kinds() {
  const counts = D.kinds.map(() => 0);
  for (const kind of E.kind) counts[kind]++;
  const boxes = D.kinds.map((name, kind) => {
    const box = element("input", "", { type: "checkbox", checked: true, value: kind });
    box.onchange = () => {
      if (box.checked) view.hidden.delete(kind);
      else view.hidden.add(kind);
      refilter();
    };
    return counts[kind] ? element("label", [box, name], { title: `${number(counts[kind])} events` }) : "";
  });
  byId("kinds").replaceChildren(...boxes);
}

// After another choice of events the same moments stay in view.
function refilter() {
  const time = view.even ? [view.from, view.to].map(timeOf) : null;
  filter();
  if (time) show(positionAt(time[0]), positionAt(time[1]));
  else redraw();
}

const timeOf = (position) => {
  if (!view.even) return position;
  const place = Math.max(0, Math.min(view.list.length - 1, Math.round(position)));
  return COUNT && view.list.length ? E.at[view.list[place]] : 0;
};

function legend() {
  const rows = [
    ["●", "an event on the lane of whoever it happened to; hover for its words, click for all of it"],
    ["○", "a timer: an actor's own deadline"],
    ["■", "a disk, an instance driver or a blob store has done something"],
    ["▲", "a fault begins or ends, or the operator acts"],
    ["⟶", "a message or request from its sending to its arrival; colour by kind"],
    ["⇢✕", "lost: cut links, chance, or nobody there"],
    ["⚑", "what an actor noted: elections, cutovers, slots, instances, deploys"],
    ["▒", "a fault, over the lanes of the machines that it struck"],
  ];
  const list = element("dl", rows.flatMap(([mark, words]) => [element("dt", mark), element("dd", words)]));
  byId("legend").replaceChildren(
    list,
    element("p", "The causal history of a violation: the event during which an oracle found it, the event that made that one, and so on back to the first; and the last moments before it at which an actor noted something of what the violation names (its instance, version, project or machine), each with its makers and with what it sent. A maker says why an event happened when it did; it need not be what was wrong."),
    element("p", "Steps take no simulated time. Where many events are in view, a lane shows how many there are; zoom in to see each and its arrows."),
    element("p", "Wheel or pinch: zoom. Drag: move. Shift and wheel: move in time. Keys: + − zoom, ← → move, f all, v the violation, n and p the actor's next and previous event, / search, Escape closes the event."),
  );
}

function tellStatus(count, dense) {
  const left = D.leftOut;
  let words = `${number(count)} events in view${dense ? " (zoom in to see each)" : ""}. `;
  const others = left.events - left.idle;
  if (others) {
    words += `Kept: ${number(COUNT)} of ${number(D.total)} events, everything from ${exact(left.from)} to ${exact(left.until)}`;
    if (D.violations.length) words += " and the causal histories from before";
    words += `; left out: ${number(others)} before or after, and `;
  } else words += `All ${number(COUNT)} events that had an effect are here; left out: `;
  words += `${number(left.idle)} timers and steps without effect`;
  if (left.cutShort) words += "; a history was followed back 1,000 events and is longer";
  const [stateless, arrivedLess] = [countIn(D.stateless), countIn(D.arrivedLess)];
  if (stateless) words += `; ${number(stateless)} of the kept events are without the states around them`;
  if (arrivedLess) words += `; ${number(arrivedLess)} are without what arrived`;
  if (left.told) words += `; ${number(left.told)} notes and losses found no room`;
  byId("status").textContent = `${words}. Trace ${D.trace}.`;
}

function start() {
  readColours();
  header();
  chooseViolation();
  hint();
  kinds();
  legend();
  byId("fit").onclick = fit;
  byId("to-violation").onclick = toViolation;
  byId("zoom-in").onclick = () => zoom(0.6);
  byId("zoom-out").onclick = () => zoom(1 / 0.6);
  byId("dim").onchange = () => { view.dim = byId("dim").checked; redraw(); };
  byId("only").onchange = () => { view.only = byId("only").checked; refilter(); };
  byId("even").onchange = () => {
    const time = [view.from, view.to].map(timeOf);
    view.even = byId("even").checked;
    show(positionAt(time[0]), positionAt(time[1]));
  };
  let typing = 0;
  byId("search").oninput = () => { clearTimeout(typing); typing = setTimeout(runSearch, 120); };
  byId("next-match").onclick = () => nextMatch(1);
  byId("previous-match").onclick = () => nextMatch(-1);
  addEventListener("keydown", keys);
  addEventListener("resize", resize);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); redraw(); });
  pointers();
  overviewPointer();
  filter();
  resize();
  fit();
  if (D.violations.length) toViolation();
}

start();

// For tests, and for the curious in a console.
window.tidegate = {
  data: D,
  view,
  select,
  show,
  // Where an event is on the screen.
  place(event) {
    const box = stage.getBoundingClientRect();
    return [box.left + x(positionOf(event)), box.top + y(E.lane[event])];
  },
};
