//! What a run has to say for itself, as aligned text; the command line makes JSON of the
//! same fields.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

use crate::clock::SimTime;
use crate::operator::Outcome;
use crate::oracle::{Verdict, Violation};
use crate::stats::Requests;
use crate::world::World;

/// Percentiles of a histogram, in its own unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Percentiles {
    pub count: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

/// A fault as it is shown: seconds, kind, whom.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultLine {
    pub begin: SimTime,
    pub end: SimTime,
    pub kind: &'static str,
    pub target: String,
}

/// The whole result of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub scenario: String,
    pub about: String,
    pub seed: u64,
    pub topology: Vec<String>,
    pub faults: Vec<FaultLine>,
    pub operations: Vec<Outcome>,
    pub timeline: Vec<(SimTime, String)>,
    pub requests: Requests,
    pub reasons: Vec<(&'static str, u64)>,
    /// Microseconds.
    pub latency: Percentiles,
    /// Microseconds.
    pub hold: Percentiles,
    /// Milliseconds.
    pub wake: Percentiles,
    pub instances_started: usize,
    pub hops: u64,
    pub retries: u64,
    pub messages: u64,
    pub messages_lost: u64,
    pub counts: Vec<(&'static str, u64)>,
    pub verdicts: Vec<Verdict>,
    pub violations: Vec<Violation>,
    pub violation_count: u64,
    pub trace_hash: u64,
    pub events: u64,
    pub sim_seconds: f64,
}

fn percentiles(h: &Histogram<u64>) -> Percentiles {
    if h.is_empty() {
        return Percentiles::default();
    }
    Percentiles {
        count: h.len(),
        p50: h.value_at_quantile(0.5),
        p90: h.value_at_quantile(0.9),
        p99: h.value_at_quantile(0.99),
        p999: h.value_at_quantile(0.999),
        max: h.max(),
    }
}

impl World {
    /// What happened, after [`World::run`].
    pub fn report(&self, seed: u64) -> Report {
        let env = &self.env;
        let scenario = &env.scenario;
        let faults = self.faults.iter().map(|f| FaultLine {
            begin: f.begin,
            end: f.end,
            kind: f.kind.name(),
            target: f.label.clone(),
        });
        Report {
            scenario: scenario.name.get_ref().clone(),
            about: scenario.about.clone(),
            seed,
            topology: self.topology_lines(),
            faults: faults.collect(),
            operations: self.operator.outcomes(scenario).collect(),
            timeline: env.stats.timeline.clone(),
            requests: env.stats.requests,
            reasons: env.stats.reasons.iter().map(|(k, v)| (*k, *v)).collect(),
            latency: percentiles(&env.stats.latency),
            hold: percentiles(&env.stats.hold),
            wake: percentiles(&env.stats.wake),
            instances_started: env.instances.started(),
            hops: env.stats.hops,
            retries: env.stats.retries,
            messages: env.stats.messages,
            messages_lost: env.stats.messages_lost,
            counts: env.stats.counts.iter().map(|(k, v)| (*k, *v)).collect(),
            verdicts: env.oracles.verdicts(),
            violations: env.oracles.findings.kept().to_vec(),
            violation_count: env.oracles.findings.total(),
            trace_hash: env.trace.value(),
            events: env.stats.events,
            sim_seconds: env.seconds(),
        }
    }

    fn topology_lines(&self) -> Vec<String> {
        let t = &self.env.scenario.topology;
        let regions = &self.env.topology.regions;
        let (programs, sites) = self.app_kinds();
        vec![
            format!(
                "{} ({})",
                plural(regions.len() as u64, "region"),
                regions.join(", ")
            ),
            format!(
                "{} in each, over {}, {} each",
                plural(u64::from(*t.hosts.get_ref()), "host"),
                plural(u64::from(*t.zones.get_ref()), "zone"),
                plural(u64::from(*t.host_capacity.get_ref()), "instance"),
            ),
            format!(
                "{} in each with {}, and a partition store",
                plural(u64::from(*t.gateways.get_ref()), "gateway"),
                plural(u64::from(*t.gateway_actors.get_ref()), "actor"),
            ),
            format!(
                "{} and {}",
                plural(programs as u64, "program"),
                plural(sites as u64, "static site")
            ),
        ]
    }
}

fn plural(count: u64, noun: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{s}")
}

fn seconds(at: SimTime) -> String {
    format!("{:>9.3} s", at as f64 / 1e9)
}

fn micros(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.2} s", us as f64 / 1e6),
    }
}

fn millis(ms: u64) -> String {
    micros(ms.saturating_mul(1_000))
}

impl Report {
    /// The report for people. `timeline`: with every noteworthy moment.
    pub fn text(&self, timeline: bool) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut out, timeline);
        out
    }

    fn write(&self, out: &mut String, timeline: bool) -> std::fmt::Result {
        writeln!(out, "{}, seed {}", self.scenario, self.seed)?;
        writeln!(out, "{}\n", self.about)?;
        writeln!(out, "topology")?;
        for line in &self.topology {
            writeln!(out, "  {line}")?;
        }
        writeln!(out, "\nfaults")?;
        if self.faults.is_empty() {
            writeln!(out, "  none")?;
        }
        for f in &self.faults {
            let (begin, end) = (seconds(f.begin), seconds(f.end));
            writeln!(out, "{begin} to {end}  {:<14}{}", f.kind, f.target)?;
        }
        writeln!(out, "\noperator")?;
        for op in &self.operations {
            let result = op.result.as_deref().unwrap_or("no answer");
            writeln!(out, "{}  {:<28}{result}", seconds(op.at), op.what)?;
        }
        if timeline {
            writeln!(out, "\ntimeline")?;
            for (at, text) in &self.timeline {
                writeln!(out, "{}  {text}", seconds(*at))?;
            }
        }
        self.write_requests(out)?;
        self.write_counts(out)?;
        self.write_verdicts(out)?;
        writeln!(
            out,
            "\n{} events in {:.0} simulated seconds; trace {:016x}",
            self.events, self.sim_seconds, self.trace_hash
        )
    }

    fn write_requests(&self, out: &mut String) -> std::fmt::Result {
        let r = &self.requests;
        writeln!(out, "\nrequests")?;
        for (name, count) in [
            ("sent", r.sent),
            ("served", r.served),
            ("refused", r.refused),
            ("failed", r.failed),
            ("unknown", r.unknown),
            ("left early", r.left),
        ] {
            writeln!(out, "  {name:<14}{count:>10}")?;
        }
        for (reason, count) in &self.reasons {
            writeln!(out, "    {reason:<12}{count:>10}")?;
        }
        writeln!(
            out,
            "\n{:<16}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
            "", "count", "p50", "p90", "p99", "p99.9", "max"
        )?;
        write_percentiles(out, "latency", &self.latency, micros)?;
        write_percentiles(out, "held for", &self.hold, micros)?;
        write_percentiles(out, "wake", &self.wake, millis)
    }

    fn write_counts(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\ncounts")?;
        let own = [
            ("instances started", self.instances_started as u64),
            ("hops to another region", self.hops),
            ("connections that failed", self.retries),
            ("messages", self.messages),
            ("messages lost", self.messages_lost),
        ];
        for (name, count) in own.iter().chain(&self.counts) {
            writeln!(out, "  {name:<52}{count:>10}")?;
        }
        Ok(())
    }

    fn write_verdicts(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\noracles")?;
        for v in &self.verdicts {
            let verdict = match v.violations {
                0 => "holds".to_owned(),
                n => format!("VIOLATED {n} times"),
            };
            writeln!(
                out,
                "  {:>2}  {:<42}{:>10} checks  {verdict}",
                v.guarantee, v.name, v.checks
            )?;
        }
        for v in &self.violations {
            writeln!(
                out,
                "{}  guarantee {}: {}",
                seconds(v.at),
                v.guarantee,
                v.text
            )?;
        }
        Ok(())
    }
}

fn write_percentiles(
    out: &mut String,
    name: &str,
    p: &Percentiles,
    show: fn(u64) -> String,
) -> std::fmt::Result {
    writeln!(
        out,
        "  {name:<14}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
        p.count,
        show(p.p50),
        show(p.p90),
        show(p.p99),
        show(p.p999),
        show(p.max)
    )
}
