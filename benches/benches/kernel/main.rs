//! The bare kernel, side by side: what one delivery costs in our event loop, in
//! turmoil and in madsim, when the actors themselves do almost nothing.
//!
//! `cargo bench -p tidegate-benches --bench kernel` runs all of it, `-- --json`
//! for a machine. The figure is deliveries per second of CPU (user and system,
//! all threads), so it holds on a busy machine.
//!
//! Fairness, decided where possible for the peer:
//!
//! - Every peer runs the actors of [`tidegate_benches::workload`] and folds every
//!   body into a trace hash. Ours also folds the time.
//! - Latencies are uniform from 1 to 10 ms for ours and madsim. turmoil has a
//!   curve of its own between the same bounds, with a shorter mean.
//! - turmoil pays for each tick of each host whether or not anything arrives, so
//!   it runs twice: with its default tick of 1 ms, and with one as long as the
//!   longest latency, which delivers everything in flight at each tick, at the
//!   price of the resolution that one runs a simulator for. Its addresses are
//!   resolved and its TCP connections made before the measurement.
//! - madsim passes the body by value in a box, its fastest way, without bytes.
//! - No faults, no tracing subscriber, one thread, the same compiler profile.
//! - What ours does not do here is what turmoil and madsim cannot leave out:
//!   async tasks, sockets, a network's topology. That is the comparison: actors
//!   that are state machines need none of it to be simulated. The platform's own
//!   cost per event is another benchmark's.

mod madsim;
mod ours;
mod turmoil_sim;
mod turmoil_tcp;
mod turmoil_udp;

use std::time::Duration;

use tidegate_benches::report::Report;
use tidegate_benches::workload::{IN_FLIGHT_FEW, IN_FLIGHT_MANY, LATENCY_MAX};

fn main() {
    let json = std::env::args().any(|argument| argument == "--json");
    let mut measurements = Vec::new();
    for in_flight in [IN_FLIGHT_FEW, IN_FLIGHT_MANY] {
        measurements.push(ours::measure(in_flight));
        for tick in [Duration::from_millis(1), LATENCY_MAX] {
            measurements.push(turmoil_udp::measure(in_flight, tick));
            measurements.push(turmoil_tcp::measure(in_flight, tick));
        }
    }
    measurements.extend(madsim::measure());
    measurements.sort_by_key(|measurement| measurement.in_flight);
    let report = Report {
        ours: ours::NAME,
        measurements,
    };
    if json {
        println!("{}", report.to_json());
    } else {
        print!("{}", report.to_table());
    }
}
