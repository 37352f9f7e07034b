"use strict";
// The run as it was embedded: columns, an entry for each kept event, texts by number.
const D = JSON.parse(document.getElementById("data").textContent);
const E = D.events;
const COUNT = E.at.length;
const text = (place) => D.texts[place];
const line = (event) => text(E.line[event]);

// What each event caused, as one array with offsets.
const childStart = new Int32Array(COUNT + 2);
const children = new Int32Array(COUNT);
for (const cause of E.cause) if (cause >= 0) childStart[cause + 2]++;
for (let i = 0; i <= COUNT; i++) childStart[i + 1] += childStart[i];
for (let i = 0; i < COUNT; i++) {
  const cause = E.cause[i];
  if (cause >= 0) children[childStart[cause + 1]++] = i;
}
const childrenOf = (event) => children.subarray(childStart[event], childStart[event + 1]);

function byEvent(list) {
  const map = new Map();
  for (const entry of list) {
    if (!map.has(entry[0])) map.set(entry[0], []);
    map.get(entry[0]).push(entry);
  }
  return map;
}
const notesOf = byEvent(D.notes);
const lossesOf = byEvent(D.losses);
const statesOf = new Map(D.states);

// Events of each lane, for stepping; a fault is an event of every lane that it changed.
const laneEvents = D.lanes.map(() => []);
for (let i = 0; i < COUNT; i++) laneEvents[E.lane[i]].push(i);
for (const [lane, changes] of D.states) {
  const own = laneEvents[lane];
  const extra = changes.filter((c) => c[1] && E.lane[c[0]] !== lane).map((c) => c[0]);
  if (extra.length) laneEvents[lane] = [...new Set([...own, ...extra])].sort((a, b) => a - b);
}

// First place in a sorted list whose value is not below.
function lowerBound(length, isBelow) {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isBelow(middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}

// An actor's state around an event: the lines before, and the splices that the event made.
function stateAround(lane, event) {
  const changes = statesOf.get(lane);
  if (!changes) return null;
  const before = [];
  let known = false;
  let splices = [];
  for (const [at, within, list] of changes) {
    if (at > event) break;
    if (at === event && within) splices = list;
    else for (const [from, remove, insert] of list) spliceLines(before, from, remove, insert);
    known = true;
  }
  return known ? { before, splices } : null;
}

function spliceLines(lines, from, remove, insert) {
  const tail = lines.splice(from);
  for (const place of insert) lines.push(place);
  for (let i = remove; i < tail.length; i++) lines.push(tail[i]);
}

// Lines with what became of them: " ", "-" or "+".
function diffLines(before, splices) {
  const out = [];
  let next = 0; // of `before`
  let made = 0; // lines of the new text so far
  for (const [from, remove, insert] of splices) {
    for (; made < from; made++) out.push([" ", before[next++]]);
    for (let i = 0; i < remove; i++) out.push(["-", before[next++]]);
    for (const place of insert) out.push(["+", place]);
    made += insert.length;
  }
  while (next < before.length) out.push([" ", before[next++]]);
  return out;
}

// Whole seconds with nanoseconds, grouped: 172.345 678 901 s.
function exact(ns) {
  const seconds = Math.floor(ns / 1e9);
  const rest = String(ns % 1e9).padStart(9, "0");
  return `${seconds}.${rest.slice(0, 3)} ${rest.slice(3, 6)} ${rest.slice(6)} s`;
}

function rough(ns) {
  if (ns < 1e3) return `${ns} ns`;
  if (ns < 1e6) return `${+(ns / 1e3).toFixed(1)} µs`;
  if (ns < 1e9) return `${+(ns / 1e6).toFixed(1)} ms`;
  return `${+(ns / 1e9).toFixed(2)} s`;
}

const number = (n) => n.toLocaleString("en");
const laneName = (lane) => {
  const [name, host] = D.lanes[lane];
  return D.hosts[host][2] || host === 0 ? `${D.hosts[host][0]} / ${name}` : D.hosts[host][0];
};

// Whether an event is in one of the ranges, which are in order.
function isIn(ranges, event) {
  const after = lowerBound(ranges.length, (i) => ranges[i][0] <= event);
  return after > 0 && event <= ranges[after - 1][1];
}
const countIn = (ranges) => ranges.reduce((sum, [first, last]) => sum + last - first + 1, 0);

// Numbers of the texts that contain a word, and the events that have one of them.
function search(word) {
  const wanted = word.toLowerCase();
  const fits = new Uint8Array(D.texts.length);
  for (let i = 0; i < fits.length; i++) fits[i] = D.texts[i].toLowerCase().includes(wanted) ? 1 : 0;
  const says = (event) =>
    fits[E.line[event]] ||
    notesOf.get(event)?.some((n) => fits[n[3]]) ||
    lossesOf.get(event)?.some((l) => fits[l[5]]);
  const found = [];
  for (let i = 0; i < COUNT; i++) if (says(i)) found.push(i);
  return found;
}
