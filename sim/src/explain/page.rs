//! The page: one HTML file with everything in it, and nothing from anywhere else.
//!
//! The data is one JSON object of columns in which every text stands once. The script
//! writes text as text only, never as markup; here `<` is escaped, so that no text of a run
//! can end the element that holds the data.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::causality::NOBODY;
use super::model::{Explained, Fate, Kind, Shown};
use super::states::Change;

const HTML: &str = include_str!("page.html");
const CSS: &str = include_str!("page.css");
const SCRIPTS: [&str; 7] = [
    include_str!("page_data.js"),
    include_str!("page_view.js"),
    include_str!("page_diagram.js"),
    include_str!("page_arrows.js"),
    include_str!("page_axis.js"),
    include_str!("page_panel.js"),
    include_str!("page.js"),
];

/// Writes the page.
pub fn page(run: &Explained) -> String {
    let title = format!("{}, seed {}", run.scenario, run.seed);
    let data = data(run).to_string().replace('<', "\\u003c");
    // In this order: what is put in last is never searched for a place.
    HTML.replace("{{title}}", &escaped(&title))
        .replace("{{css}}", CSS)
        .replace("{{script}}", &SCRIPTS.join("\n"))
        .replace("{{data}}", &data)
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '{' => out.push_str("&#123;"),
            c => out.push(c),
        }
    }
    out
}

/// Every text once.
#[derive(Default)]
struct Texts<'a> {
    places: BTreeMap<&'a str, usize>,
    all: Vec<&'a str>,
}

impl<'a> Texts<'a> {
    fn place(&mut self, text: &'a str) -> usize {
        let next = self.all.len();
        let place = *self.places.entry(text).or_insert(next);
        if place == next {
            self.all.push(text);
        }
        place
    }
}

fn data(run: &Explained) -> Value {
    let mut texts = Texts::default();
    let events = events(run, &mut texts);
    let notes = run
        .notes
        .iter()
        .map(|n| json!([n.event, n.lane, n.kind, texts.place(&n.text)]));
    let notes: Vec<Value> = notes.collect();
    let losses = run.losses.iter().map(|l| {
        let (line, detail) = (texts.place(&l.line), texts.place(&l.detail));
        json!([l.event, l.from, l.to, l.due, l.why, line, detail])
    });
    let losses: Vec<Value> = losses.collect();
    let states = run.states.iter().filter(|(_, changes)| !changes.is_empty());
    let states: Vec<Value> = states
        .map(|(lane, changes)| {
            json!([
                lane,
                changes
                    .iter()
                    .map(|c| change(c, &mut texts))
                    .collect::<Vec<_>>()
            ])
        })
        .collect();
    let left = &run.left_out;
    json!({
        "scenario": run.scenario,
        "about": run.about,
        "seed": run.seed.to_string(),
        "repro": run.repro,
        "duration": run.duration,
        "faultsEnd": run.faults_end,
        "wellFrom": run.well_from,
        "total": run.events,
        "trace": format!("{:016x}", run.trace_hash),
        "hosts": run.hosts.iter().map(|h| json!([h.name, h.region, h.node])).collect::<Vec<_>>(),
        "lanes": run.lanes.iter().map(|l| json!([l.name, l.host])).collect::<Vec<_>>(),
        "kinds": Kind::ALL.map(Kind::name),
        "faults": run.bands.iter().map(|b| json!([b.begin, b.end, b.kind, b.text, b.lanes])).collect::<Vec<_>>(),
        "events": events,
        "stateless": ranges(run, |e| !e.has_states),
        "arrivedLess": ranges(run, |e| !e.has_detail),
        "notes": notes,
        "losses": losses,
        "states": states,
        "violations": run.violations.iter().map(|v| json!({
            "at": v.at,
            "guarantee": v.guarantee,
            "name": v.name,
            "text": v.text,
            "event": v.event,
            "history": v.history,
        })).collect::<Vec<_>>(),
        "violationCount": run.violation_count,
        "leftOut": {
            "events": left.events,
            "idle": left.idle,
            "told": left.told,
            "from": left.whole_from,
            "until": left.whole_until,
            "cutShort": left.cut_short,
        },
        "texts": texts.all,
    })
}

/// Columns, an entry for each event; −1 is none.
fn events<'a>(run: &'a Explained, texts: &mut Texts<'a>) -> Value {
    let shown = &run.shown;
    let maker = |cause| match run.index_of(cause) {
        Some(index) => i64::from(index),
        // Known, but left out: the number of the event, from −2 down.
        None if cause != NOBODY => -2 - i64::from(cause),
        None => -1,
    };
    let from = |from: Option<u32>| from.map_or(-1, i64::from);
    let column =
        |value: &dyn Fn(&'a Shown) -> i64| -> Vec<i64> { shown.iter().map(value).collect() };
    let lines: Vec<usize> = shown.iter().map(|e| texts.place(&e.line)).collect();
    let details: Vec<usize> = shown.iter().map(|e| texts.place(&e.detail)).collect();
    json!({
        "number": column(&|e| i64::from(e.number)),
        "at": column(&|e| e.at as i64),
        "lane": column(&|e| i64::from(e.lane)),
        "kind": column(&|e| e.kind as i64),
        "cause": column(&|e| maker(e.cause)),
        "from": column(&|e| from(e.from)),
        "fate": shown.iter().map(|e| fate(e.fate)).collect::<Vec<_>>(),
        "line": lines,
        "detail": details,
    })
}

/// First and last places of the events of which something holds.
fn ranges(run: &Explained, holds: impl Fn(&Shown) -> bool) -> Vec<[usize; 2]> {
    let mut ranges: Vec<[usize; 2]> = Vec::new();
    for (place, event) in run.shown.iter().enumerate() {
        match ranges.last_mut() {
            _ if !holds(event) => {}
            Some([_, last]) if *last + 1 == place => *last = place,
            _ => ranges.push([place, place]),
        }
    }
    ranges
}

fn fate(fate: Fate) -> &'static str {
    match fate {
        Fate::Happened => "",
        Fate::Waits => "waits",
        Fate::Lost => "lost",
        Fate::Nobody => "nobody",
        Fate::Early => "early",
    }
}

fn change<'a>(change: &'a Change, texts: &mut Texts<'a>) -> Value {
    let splices = change.splices.iter().map(|s| {
        let insert: Vec<usize> = s.insert.iter().map(|line| texts.place(line)).collect();
        json!([s.at, s.delete, insert])
    });
    json!([
        change.event,
        u8::from(change.within),
        splices.collect::<Vec<_>>()
    ])
}

#[cfg(test)]
mod tests {
    use super::super::model::sample;
    use super::*;

    #[test]
    fn no_text_of_a_run_ends_the_data() {
        let page = page(&sample());
        let opening = "<script type=\"application/json\" id=\"data\">";
        let (before, rest) = page.split_once(opening).unwrap();
        let (data, after) = rest.split_once("</script>").unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["texts"][0], "event </script><!-- 40");
        assert!(after.trim_end().ends_with("</html>"));
        assert_eq!(after.matches("</script").count(), 1, "the script's own end");
        assert!(before.contains("<title>&#123;&#123;data}}&lt;b&gt;, seed"));
    }

    #[test]
    fn what_an_event_is_without_is_told_in_ranges() {
        let mut run = sample();
        for (event, has) in run.shown.iter_mut().zip([false, false, true]) {
            event.has_states = has;
        }
        run.shown[2].has_detail = false;
        let data = data(&run);
        assert_eq!(data["stateless"], json!([[0, 1]]));
        assert_eq!(data["arrivedLess"], json!([[2, 2]]));
    }

    #[test]
    fn events_are_columns_and_texts_stand_once() {
        let data = data(&sample());
        let events = &data["events"];
        assert_eq!(events["number"], json!([40, 41, 45]));
        assert_eq!(events["at"], json!([1_000, 1_250, 4_000]));
        // The maker of 40 is event 12, which is not on the page.
        assert_eq!(events["cause"], json!([-14, 0, 0]));
        assert_eq!(events["from"], json!([-1, -1, 1]));
        assert_eq!(events["detail"], json!([3, 3, 3]));
        assert_eq!(data["texts"].as_array().unwrap().len(), 6);
        assert_eq!(
            data["losses"],
            json!([[0, 1, 2, 1_500, "the link was cut", 5, 5]])
        );
        assert_eq!(data["violations"][0]["history"], json!([0, 2]));
        // A seed may be larger than a script's numbers.
        assert_eq!(data["seed"], u64::MAX.to_string());
    }
}
