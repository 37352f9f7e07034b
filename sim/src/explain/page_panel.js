// The event that was chosen, in words. Every text of the run is put in as text.
const panel = document.getElementById("panel");
const EFFECTS_SHOWN = 40;
const CONTEXT = 3;
const FEWER = "It is there for the causal history and the events nearest to the violation; with fewer --events it reaches further.";
let wholeState = false;

function element(tag, content, properties) {
  const made = Object.assign(document.createElement(tag), properties);
  for (const part of Array.isArray(content) ? content : [content ?? ""]) made.append(part);
  return made;
}

function button(label, onclick, properties) {
  return element("button", label, { type: "button", onclick, ...properties });
}

function eventLink(event, note) {
  const words = `${exact(E.at[event])}  ${laneName(E.lane[event])}: ${line(event)}`;
  return element("li", [
    button(words, () => select(event, true), { className: "link" }),
    note ? ` (${note})` : "",
  ]);
}

const lineCount = (n) => `${number(n)} line${n === 1 ? "" : "s"}`;

const FATES = {
  waits: "Its machine is paused: it waits, and comes again when the pause ends.",
  lost: "Lost on its way: the link was cut before it arrived.",
  nobody: "Nobody is there any more: the one that it was for has died.",
  early: "The deadline was moved: it was set again, and nothing else happened.",
};

function showPanel(lane) {
  const event = view.selected;
  panel.hidden = event < 0;
  resize();
  if (event < 0) return;
  const at = lane ?? E.lane[event];
  const parts = [
    button("✕", () => select(-1), { className: "close", title: "Close (Escape)" }),
    element("h2", line(event)),
    element("p", `${exact(E.at[event])} · ${laneName(E.lane[event])} · ${D.kinds[E.kind[event]]} · event ${number(E.number[event])}`, { className: "where" }),
    stepButtons(event, at),
  ];
  if (FATES[E.fate[event]]) parts.push(element("p", FATES[E.fate[event]], { className: "warn" }));
  for (const v of D.violations.filter((v) => v.event === event)) {
    parts.push(element("p", `Found here: guarantee ${v.guarantee} (${v.name}) is violated: ${v.text}`, { className: "warn" }));
  }
  if (view.history[event]) parts.push(element("p", "It is part of the violation's causal history.", { className: "where" }));
  parts.push(...causes(event), ...effects(event));
  if (isIn(D.arrivedLess, event)) {
    parts.push(element("h3", "What arrived"), element("p", `Left out, or the page would be too large. ${FEWER}`, { className: "where", id: "arrived" }));
  } else if (text(E.detail[event])) {
    parts.push(element("h3", "What arrived"), element("pre", text(E.detail[event]), { id: "arrived" }));
  }
  parts.push(...states(event, at));
  panel.replaceChildren(...parts);
  panel.scrollTop = 0;
  panel.dataset.event = event;
}

function stepButtons(event, lane) {
  const own = laneEvents[lane];
  const place = lowerBound(own.length, (i) => own[i] < event);
  const after = own[place] === event ? place + 1 : place;
  const step = (label, to, id, title) =>
    button(label, () => select(to, true, lane), { id, title, disabled: to === undefined || to < 0 || to >= COUNT });
  return element("div", [
    step("‹ actor", own[place - 1], "previous-of-actor", "The actor's event before this (p)"),
    step("actor ›", own[after], "next-of-actor", "The actor's next event (n)"),
    step("‹ any", event - 1, "previous-event", "The event before this"),
    step("any ›", event + 1, "next-event", "The next event"),
  ], { className: "steps" });
}

function causes(event) {
  const cause = E.cause[event];
  const heading = element("h3", "Caused by");
  if (cause >= 0) {
    const sent = E.from[event] >= 0 ? `sent ${rough(E.at[event] - E.at[cause])} before` : `${rough(E.at[event] - E.at[cause])} before`;
    return [heading, element("ul", eventLink(cause, sent), { id: "cause" })];
  }
  let words = "The calendar of the scenario, or what was there before the first event.";
  if (cause < -1) words = `Event ${number(-2 - cause)}, which this page leaves out.`;
  return [heading, element("p", words, { className: "where", id: "cause" })];
}

function effects(event) {
  const items = [];
  for (const [, lane, kind, words] of notesOf.get(event) || []) {
    items.push(element("li", `${laneName(lane)} noted${kind === "mark" ? " a mark" : ""}: ${text(words)}`));
  }
  for (const [, from, to, , why, words, detail] of lossesOf.get(event) || []) {
    items.push(element("li", [
      element("span", "lost: ", { className: "warn" }),
      `${laneName(from)} to ${laneName(to)}, ${why}: `,
      element("details", [element("summary", text(words)), element("pre", text(detail))]),
    ]));
  }
  const made = childrenOf(event);
  for (const child of made.subarray(0, EFFECTS_SHOWN)) {
    items.push(eventLink(child, `${rough(E.at[child] - E.at[event])} later`));
  }
  if (made.length > EFFECTS_SHOWN) items.push(element("li", `and ${number(made.length - EFFECTS_SHOWN)} more`));
  if (!items.length) items.push(element("li", "Nothing that this page holds."));
  return [element("h3", "What it caused"), element("ul", items, { id: "effects" })];
}

function states(event, lane) {
  const others = D.states.map(([l]) => l).filter((l) => l !== lane &&
    statesOf.get(l).some((c) => c[0] === event && c[1]));
  const heading = element("h3", `State of ${laneName(lane)}, before and after`);
  const choice = others.length ? element("p", ["It also changed ", ...others.map((l) =>
    button(`${laneName(l)} `, () => showPanel(l), { className: "link" }))]) : "";
  if (isIn(D.stateless, event)) {
    const words = `The states around this event are left out, or the page would be too large. ${FEWER}`;
    return [heading, element("p", words, { className: "where", id: "state-summary" })];
  }
  const around = stateAround(lane, event);
  if (!around) {
    const words = statesOf.has(lane) ? "Not kept before its first event on this page." : "No actor of the platform is on this lane.";
    return [heading, element("p", words, { className: "where", id: "state-summary" }), choice];
  }
  const { before, splices } = around;
  const added = splices.reduce((sum, s) => sum + s[2].length, 0);
  const removed = splices.reduce((sum, s) => sum + s[1], 0);
  const summary = splices.length ? `${lineCount(added)} after (+) in place of ${lineCount(removed)} before (−)` : "This event did not change it.";
  const toggle = button(wholeState ? "only what changed" : "whole state", () => {
    wholeState = !wholeState;
    const kept = panel.scrollTop;
    showPanel(lane);
    panel.scrollTop = kept;
  }, { id: "whole-state" });
  const shown = element("pre", stateLines(diffLines(before, splices)), { className: "state", id: "state" });
  return [heading, choice, element("p", [`${summary} `, toggle], { className: "where", id: "state-summary" }), shown];
}

function stateLines(lines) {
  const keep = new Uint8Array(lines.length);
  lines.forEach(([mark], i) => {
    if (mark === " ") return;
    for (let j = Math.max(0, i - CONTEXT); j <= Math.min(lines.length - 1, i + CONTEXT); j++) keep[j] = 1;
    // The fields that it is in, so that a line of a deep structure can be placed.
    let indent = text(lines[i][1]).search(/\S/);
    for (let j = i - 1; j >= 0 && indent > 0; j--) {
      const own = text(lines[j][1]).search(/\S/);
      if (own >= 0 && own < indent) {
        keep[j] = 1;
        indent = own;
      }
    }
  });
  const out = [];
  let skipped = 0;
  const gap = () => {
    if (skipped) out.push(element("span", `  … ${lineCount(skipped)} unchanged`, { className: "gap" }));
    skipped = 0;
  };
  lines.forEach(([mark, place], i) => {
    if (!wholeState && !keep[i]) {
      skipped++;
      return;
    }
    gap();
    const className = { "+": "added", "-": "removed", " ": "same" }[mark];
    out.push(element("span", `${mark === "-" ? "−" : mark} ${text(place)}`, { className }));
  });
  gap();
  return out;
}
