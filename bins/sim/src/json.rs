//! A report as one JSON object.

use serde_json::{Value, json};
use tidegate_sim::{Percentiles, Report};

pub(crate) fn object(report: &Report, wall_seconds: f64) -> Value {
    let r = &report.requests;
    let counts = |list: &[(&'static str, u64)]| -> Value {
        list.iter()
            .map(|(k, v)| ((*k).to_owned(), json!(v)))
            .collect()
    };
    json!({
        "scenario": report.scenario,
        "seed": report.seed,
        "trace_hash": format!("{:016x}", report.trace_hash),
        "violations": report.violations.iter().map(|v| json!({
            "at_seconds": v.at as f64 / 1e9,
            "guarantee": v.guarantee,
            "text": v.text,
        })).collect::<Vec<_>>(),
        "violation_count": report.violation_count,
        "events": report.events,
        "sim_seconds": report.sim_seconds,
        "wall_seconds": wall_seconds,
        "requests": {
            "sent": r.sent,
            "served": r.served,
            "refused": r.refused,
            "failed": r.failed,
            "unknown": r.unknown,
            "left": r.left,
            "reasons": counts(&report.reasons),
        },
        "latency_us": percentiles(&report.latency),
        "held_us": percentiles(&report.hold),
        "wake_ms": percentiles(&report.wake),
        "instances_started": report.instances_started,
        "hops": report.hops,
        "connections_failed": report.retries,
        "messages": report.messages,
        "messages_lost": report.messages_lost,
        "counts": counts(&report.counts),
        "topology": report.topology,
        "faults": report.faults.iter().map(|f| json!({
            "kind": f.kind,
            "target": f.target,
            "begin_seconds": f.begin as f64 / 1e9,
            "end_seconds": f.end as f64 / 1e9,
        })).collect::<Vec<_>>(),
        "operations": report.operations.iter().map(|o| json!({
            "at_seconds": o.at as f64 / 1e9,
            "what": o.what,
            "result": o.result,
        })).collect::<Vec<_>>(),
        "oracles": report.verdicts.iter().map(|v| json!({
            "guarantee": v.guarantee,
            "name": v.name,
            "checks": v.checks,
            "violations": v.violations,
        })).collect::<Vec<_>>(),
    })
}

fn percentiles(p: &Percentiles) -> Value {
    json!({
        "count": p.count,
        "p50": p.p50,
        "p90": p.p90,
        "p99": p.p99,
        "p999": p.p999,
        "max": p.max,
    })
}
