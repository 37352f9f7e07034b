//! What a swarm says at its end.

use std::fmt::Write as _;

use serde_json::{Value, json};
use tidegate_sim::oracle::name_of;

use super::Outcome;

pub(super) fn text(outcome: &Outcome) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut out, outcome);
    out
}

fn write(out: &mut String, outcome: &Outcome) -> std::fmt::Result {
    let t = &outcome.tally;
    let wall = outcome.wall_seconds.max(1e-9);
    writeln!(out, "faults                runs  injections")?;
    for (kind, (runs, injections)) in &t.faults {
        writeln!(out, "  {:<16}{runs:>8}{injections:>12}", kind.name())?;
    }
    writeln!(out, "\noracles{:>53}", "checks")?;
    for (guarantee, (name, checks)) in &t.oracles {
        writeln!(out, "  {guarantee:>2}  {name:<42}{checks:>12}")?;
    }
    writeln!(out, "\nmarks{:>53}{:>14}", "runs", "times")?;
    for (mark, (runs, times)) in &t.marks {
        writeln!(out, "  {mark:<48}{runs:>8}{times:>14}")?;
    }
    let never = t.never();
    if !never.is_empty() {
        writeln!(out, "\nmarks never reached")?;
    }
    for mark in never {
        writeln!(out, "  {mark}")?;
    }
    let r = &t.requests;
    writeln!(
        out,
        "\n{} requests: {} served, {} refused, {} failed, {} unknown, {} left early",
        r.sent, r.served, r.refused, r.failed, r.unknown, r.left
    )?;
    writeln!(
        out,
        "{} seeds from {} in {:.1} s with {} jobs: {:.1} seeds, {:.0} events and {:.0} simulated \
         seconds per second",
        t.seeds,
        outcome.first_seed,
        wall,
        outcome.jobs,
        t.seeds as f64 / wall,
        t.events as f64 / wall,
        t.sim_seconds() / wall,
    )?;
    write_found(out, outcome)
}

fn write_found(out: &mut String, outcome: &Outcome) -> std::fmt::Result {
    if outcome.tally.violations == 0 {
        return writeln!(out, "every guarantee holds");
    }
    writeln!(out, "{} seeds broke a guarantee:", outcome.tally.violations)?;
    for found in &outcome.found {
        let Some(v) = &found.trial.violation else {
            continue;
        };
        writeln!(
            out,
            "  seed {}, at {:.3} s, guarantee {} ({}): {}\n    {}",
            found.trial.seed,
            v.at as f64 / 1e9,
            v.guarantee,
            name_of(v.guarantee),
            v.text,
            found.reproduce
        )?;
    }
    Ok(())
}

pub(super) fn json(outcome: &Outcome) -> Value {
    let t = &outcome.tally;
    let counted = |(runs, times): &(u64, u64)| json!({"runs": runs, "times": times});
    json!({
        "seeds": t.seeds,
        "first_seed": outcome.first_seed,
        "violations": t.violations,
        "events": t.events,
        "sim_seconds": t.sim_seconds(),
        "wall_seconds": outcome.wall_seconds,
        "jobs": outcome.jobs,
        "requests": {
            "sent": t.requests.sent,
            "served": t.requests.served,
            "refused": t.requests.refused,
            "failed": t.requests.failed,
            "unknown": t.requests.unknown,
            "left": t.requests.left,
        },
        "marks": t.marks.iter()
            .map(|(mark, count)| ((*mark).to_owned(), counted(count)))
            .collect::<Value>(),
        "marks_never_reached": t.never(),
        "faults": t.faults.iter()
            .map(|(kind, count)| (kind.name().to_owned(), counted(count)))
            .collect::<Value>(),
        "oracles": t.oracles.iter()
            .map(|(guarantee, (name, checks))| json!({
                "guarantee": guarantee, "name": name, "checks": checks,
            }))
            .collect::<Vec<_>>(),
        "bugs": outcome.found.iter().filter_map(|found| {
            let v = found.trial.violation.as_ref()?;
            Some(json!({
                "seed": found.trial.seed,
                "guarantee": v.guarantee,
                "at_seconds": v.at as f64 / 1e9,
                "text": v.text,
                "file": found.file,
                "reproduce": found.reproduce,
            }))
        }).collect::<Vec<_>>(),
    })
}
