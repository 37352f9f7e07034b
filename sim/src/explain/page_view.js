// What is in view and where it is. Positions along the time axis are either nanoseconds or,
// with even spacing, places in the list of events that pass the filters.
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
