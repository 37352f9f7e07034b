//! The same run in Chrome's trace event format, which Perfetto opens: processes are
//! machines, threads are lanes, messages are flows, faults are asynchronous spans.
//!
//! A step takes no simulated time, but a flow needs a slice to begin and end in. So each
//! event is a slice of at most a microsecond, shorter where the next one on its lane is
//! nearer. Perfetto sorts by time, keeps the order of the file where times are equal, and
//! binds the end of a flow to the last slice that its thread has begun; so the ends of flows
//! stand right behind their slices.

use serde_json::{Value, json};

use super::lanes::WORLD;
use super::model::{Explained, Fate};

/// Longest slice, in nanoseconds.
const SLICE_NS: u64 = 1_000;
/// Between two slices of a lane, in nanoseconds: Perfetto cuts off what is less than one,
/// and slices that overlap for that reason would be nested.
const GAP_NS: u64 = 2;

/// The trace as JSON.
pub fn chrome_trace(run: &Explained) -> Value {
    let mut events = names(run);
    let slices = slices(run);
    let flows = Flows::of(run);
    for (place, (event, slice)) in run.shown.iter().zip(&slices).enumerate() {
        events.push(json!({
            "ph": "X",
            "name": event.line,
            "cat": event.kind.name(),
            "pid": pid(run, event.lane),
            "tid": tid(event.lane),
            "ts": micros(event.at),
            "dur": micros(*slice),
            "args": {"event": event.number, "arrived": event.detail},
        }));
        flows.begin(run, place as u32, &mut events);
        flows.end(run, place as u32, &mut events);
    }
    for note in &run.notes {
        let at = run.shown[note.event as usize].at;
        events.push(instant(run, note.lane, at, &note.text, note.kind, "t"));
    }
    for loss in &run.losses {
        let at = run.shown[loss.event as usize].at;
        let name = format!("lost ({}): {}", loss.why, loss.line);
        events.push(instant(run, loss.from, at, &name, "lost", "t"));
    }
    for (id, band) in run.bands.iter().enumerate() {
        for (ph, at) in [("b", band.begin), ("e", band.end)] {
            events.push(json!({
                "ph": ph,
                "name": band.text,
                "cat": "fault",
                "id": format!("fault{id}"),
                "pid": 1,
                "tid": tid(WORLD),
                "ts": micros(at),
            }));
        }
    }
    for violation in &run.violations {
        let name = format!("guarantee {}: {}", violation.guarantee, violation.text);
        events.push(instant(run, WORLD, violation.at, &name, "violation", "g"));
    }
    json!({
        "traceEvents": events,
        "displayTimeUnit": "ns",
        "otherData": {
            "scenario": run.scenario,
            "seed": run.seed,
            "reproduce": run.repro,
            "events_left_out": run.left_out.events,
        },
    })
}

/// Microseconds, as the format has it, to the nanosecond.
fn micros(ns: u64) -> f64 {
    ns as f64 / 1e3
}

/// Processes and threads count from 1: 0 is the idle one to whoever reads traces.
fn pid(run: &Explained, lane: u32) -> u32 {
    run.lanes[lane as usize].host + 1
}

fn tid(lane: u32) -> u32 {
    lane + 1
}

fn names(run: &Explained) -> Vec<Value> {
    let about = |what: &str, pid: u32, tid: u32, args: Value| json!({"ph": "M", "name": what, "pid": pid, "tid": tid, "args": args});
    let mut events = Vec::new();
    for (pid, host) in (1..).zip(&run.hosts) {
        let name = format!("{} ({})", host.name, host.region);
        events.push(about("process_name", pid, 0, json!({"name": name})));
        events.push(about(
            "process_sort_index",
            pid,
            0,
            json!({"sort_index": pid}),
        ));
    }
    for (lane, info) in (0..).zip(&run.lanes) {
        let (pid, tid) = (pid(run, lane), tid(lane));
        events.push(about("thread_name", pid, tid, json!({"name": info.name})));
        events.push(about(
            "thread_sort_index",
            pid,
            tid,
            json!({"sort_index": tid}),
        ));
    }
    events
}

/// How long the slice of each event is: none reaches into the next one of its lane.
fn slices(run: &Explained) -> Vec<u64> {
    let mut next = vec![u64::MAX; run.lanes.len()];
    let mut slices: Vec<u64> = run
        .shown
        .iter()
        .rev()
        .map(|event| {
            let next = &mut next[event.lane as usize];
            let room = next.saturating_sub(event.at).saturating_sub(GAP_NS);
            let slice = room.min(SLICE_NS);
            *next = event.at;
            slice
        })
        .collect();
    slices.reverse();
    slices
}

/// What went from one lane to another, by the places of both events.
struct Flows {
    /// Maker and event, in this order.
    sorted: Vec<(u32, u32)>,
}

impl Flows {
    fn of(run: &Explained) -> Self {
        let crossed = (0..).zip(&run.shown).filter_map(|(place, event)| {
            let maker = run.index_of(event.cause)?;
            (run.shown[maker as usize].lane != event.lane).then_some((maker, place))
        });
        let mut sorted: Vec<(u32, u32)> = crossed.collect();
        sorted.sort_unstable();
        Self { sorted }
    }

    /// The beginnings of what this event made.
    fn begin(&self, run: &Explained, maker: u32, events: &mut Vec<Value>) {
        let first = self.sorted.partition_point(|(m, _)| *m < maker);
        let made = self.sorted[first..].iter();
        for (_, event) in made.take_while(|(m, _)| *m == maker) {
            events.push(point(run, "s", *event, maker));
        }
    }

    /// The end of what made this event.
    fn end(&self, run: &Explained, event: u32, events: &mut Vec<Value>) {
        let Some(maker) = run.index_of(run.shown[event as usize].cause) else {
            return;
        };
        if self.sorted.binary_search(&(maker, event)).is_ok() {
            let mut point = point(run, "f", event, event);
            point["bp"] = json!("e");
            events.push(point);
        }
    }
}

/// One end of the flow that leads to `event`.
fn point(run: &Explained, ph: &str, event: u32, at: u32) -> Value {
    let event = &run.shown[event as usize];
    let at = &run.shown[at as usize];
    let name = match event.fate {
        Fate::Lost => "lost on its way",
        _ => event.kind.name(),
    };
    json!({
        "ph": ph,
        "name": name,
        "cat": "cause",
        "id": event.number,
        "pid": pid(run, at.lane),
        "tid": tid(at.lane),
        "ts": micros(at.at),
    })
}

fn instant(run: &Explained, lane: u32, at: u64, name: &str, cat: &str, scope: &str) -> Value {
    json!({
        "ph": "i",
        "s": scope,
        "name": name,
        "cat": cat,
        "pid": pid(run, lane),
        "tid": tid(lane),
        "ts": micros(at),
    })
}

#[cfg(test)]
mod tests {
    use super::super::model::sample;
    use super::*;

    fn events(phase: &str) -> Vec<Value> {
        let trace = chrome_trace(&sample());
        let all = trace["traceEvents"].as_array().unwrap().iter();
        all.filter(|e| e["ph"] == phase).cloned().collect()
    }

    #[test]
    fn machines_are_processes_and_lanes_are_threads() {
        let named: Vec<Value> = events("M");
        let thread = named
            .iter()
            .find(|e| e["name"] == "thread_name" && e["args"]["name"] == "scheduler");
        assert_eq!(
            thread.map(|e| (&e["pid"], &e["tid"])),
            Some((&json!(2), &json!(3)))
        );
        let count = |name: &str| named.iter().filter(|e| e["name"] == name).count();
        assert_eq!((count("process_name"), count("thread_name")), (2, 3));
    }

    #[test]
    fn slices_of_a_lane_never_overlap() {
        let slices = events("X");
        let spans: Vec<(f64, f64)> = slices
            .iter()
            .map(|e| (e["ts"].as_f64().unwrap(), e["dur"].as_f64().unwrap()))
            .collect();
        assert_eq!(spans, [(1.0, 0.248), (1.25, 1.0), (4.0, 1.0)]);
    }

    #[test]
    fn what_went_to_another_lane_is_a_flow() {
        let (begin, end) = (events("s"), events("f"));
        assert_eq!((begin.len(), end.len()), (1, 1));
        assert_eq!(begin[0]["id"], end[0]["id"]);
        assert_eq!((&begin[0]["tid"], &end[0]["tid"]), (&json!(2), &json!(3)));
        assert_eq!((&begin[0]["ts"], &end[0]["ts"]), (&json!(1.0), &json!(4.0)));
        assert_eq!(
            end[0]["bp"], "e",
            "it ends in the slice that it points into"
        );
    }

    #[test]
    fn faults_are_spans_and_notes_losses_and_violations_are_moments() {
        let (begin, end) = (events("b"), events("e"));
        assert_eq!(begin[0]["id"], end[0]["id"]);
        assert_eq!((&begin[0]["ts"], &end[0]["ts"]), (&json!(1.0), &json!(2.0)));
        let kinds: Vec<Value> = events("i").iter().map(|e| e["cat"].clone()).collect();
        assert_eq!(kinds, ["election", "lost", "violation"]);
    }
}
