//! Reads a Chrome trace as Perfetto's importer of that format does, and panics at whatever
//! it would drop, misplace or count as an error.
//!
//! What it does: events are sorted by time, cut to nanoseconds, those of one time as they
//! stand in the file; a complete slice goes onto the stack of its thread; the beginning of a
//! flow, and its end with `bp: e`, belong to the slice that the thread began last; a flow is
//! known by its id, category and name, an asynchronous span by the same three.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// What arrived in Perfetto's tables.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) slices: usize,
    pub(crate) instants: usize,
    /// Spans that began and ended.
    pub(crate) spans: usize,
    /// Numbers of the events whose slices a flow connects.
    pub(crate) flows: BTreeSet<(u64, u64)>,
}

#[derive(Default)]
struct Thread {
    /// End of the last slice, and the event that it is.
    end: i64,
    event: Option<u64>,
}

#[derive(Default)]
struct Importer {
    named: BTreeSet<(&'static str, u32)>,
    threads: BTreeMap<u32, Thread>,
    processes: BTreeMap<u32, u32>,
    open_flows: BTreeMap<String, u64>,
    open_spans: BTreeSet<String>,
    read: Read,
}

pub(crate) fn read(trace: &Value) -> Read {
    let mut events: Vec<(i64, &Value)> = trace["traceEvents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| {
            (
                if event["ph"] == "M" {
                    0
                } else {
                    nanos(&event["ts"])
                },
                event,
            )
        })
        .collect();
    events.sort_by_key(|(at, _)| *at);
    let mut importer = Importer::default();
    for (at, event) in events {
        importer.take(at, event);
    }
    assert!(importer.open_flows.is_empty(), "flows without an end");
    assert!(importer.open_spans.is_empty(), "spans without an end");
    importer.read
}

/// Microseconds, cut to nanoseconds.
fn nanos(value: &Value) -> i64 {
    let micros = value.as_f64().unwrap_or_else(|| panic!("no time: {value}"));
    assert!(micros >= 0.0, "{micros}");
    (micros * 1000.0) as i64
}

fn text<'a>(event: &'a Value, name: &str) -> &'a str {
    let text = event[name].as_str();
    let text = text.unwrap_or_else(|| panic!("no {name}: {event}"));
    assert!(!text.is_empty(), "an empty {name}: {event}");
    text
}

fn id(event: &Value, name: &str) -> u32 {
    let id = event[name].as_u64().and_then(|id| u32::try_from(id).ok());
    let id = id.unwrap_or_else(|| panic!("no {name}: {event}"));
    assert!(id > 0, "0 is the idle one: {event}");
    id
}

/// By what a flow or a span is known.
fn known_by(event: &Value) -> String {
    let id = &event["id"];
    assert!(id.is_u64() || id.is_string(), "no id: {event}");
    format!("{id} {} {}", text(event, "cat"), text(event, "name"))
}

impl Importer {
    fn take(&mut self, at: i64, event: &Value) {
        match text(event, "ph") {
            "M" => self.metadata(event),
            "X" => {
                text(event, "name");
                self.slice(event, at, nanos(&event["dur"]));
                self.read.slices += 1;
            }
            "i" => {
                text(event, "name");
                assert!(["t", "g"].contains(&text(event, "s")), "{event}");
                self.read.instants += 1;
            }
            "s" => {
                let from = self.last(event);
                let before = self.open_flows.insert(known_by(event), from);
                assert_eq!(before, None, "a flow began twice: {event}");
            }
            "f" => {
                assert_eq!(event["bp"], "e", "it would end in the next slice: {event}");
                let begun = self.open_flows.remove(&known_by(event));
                let from = begun.unwrap_or_else(|| panic!("it never began: {event}"));
                let to = self.last(event);
                self.read.flows.insert((from, to));
            }
            "b" => {
                id(event, "pid");
                assert!(self.open_spans.insert(known_by(event)), "{event}");
            }
            "e" => {
                assert!(self.open_spans.remove(&known_by(event)), "{event}");
                self.read.spans += 1;
            }
            _ => panic!("an unknown phase: {event}"),
        }
    }

    fn metadata(&mut self, event: &Value) {
        let (what, of) = match text(event, "name") {
            "process_name" => ("process", id(event, "pid")),
            "thread_name" => ("thread", id(event, "tid")),
            "process_sort_index" | "thread_sort_index" => {
                assert!(event["args"]["sort_index"].is_i64(), "{event}");
                return;
            }
            _ => panic!("unknown metadata: {event}"),
        };
        text(&event["args"], "name");
        assert!(self.named.insert((what, of)), "named twice: {event}");
    }

    fn thread(&mut self, event: &Value) -> &mut Thread {
        let (pid, tid) = (id(event, "pid"), id(event, "tid"));
        for named in [("process", pid), ("thread", tid)] {
            assert!(self.named.contains(&named), "it has no name: {event}");
        }
        let process = *self.processes.entry(tid).or_insert(pid);
        assert_eq!(process, pid, "a thread of two processes: {event}");
        self.threads.entry(tid).or_default()
    }

    fn slice(&mut self, event: &Value, at: i64, duration: i64) {
        let thread = self.thread(event);
        assert!(thread.end <= at, "it would be nested: {event}");
        thread.end = at + duration;
        thread.event = event["args"]["event"].as_u64();
    }

    /// The slice that the thread began last.
    fn last(&mut self, event: &Value) -> u64 {
        let last = self.thread(event).event;
        last.unwrap_or_else(|| panic!("no slice to belong to: {event}"))
    }
}
