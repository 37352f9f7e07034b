//! What the flight recorder costs a live gateway.
//!
//! Two measurements, each of nodes in one process, one of which records to a temporary
//! folder, in turns, so that what else the machine does falls on all:
//!
//! - *front*: the real front on loopback, one worker, keep-alive clients and an instance that
//!   answers at once. The figure is requests per CPU second of the gateway's thread, and of
//!   the recorder's thread with it. Clients and instance are not counted. A second node that
//!   does not record shows how much of a difference is chance.
//! - *calls*: `decide` and `finished` on a gateway's cell, without any network: nanoseconds
//!   for a request, and how many more with the recorder. The disk gets its turn between
//!   measured batches, outside of the measured time.
//!
//! CPU time is the scheduler's (`/proc/self/task/*/schedstat`), so it needs Linux. The goal is
//! a ratio above 0.97. Run: `cargo bench -p tidegate-benches --bench recorder [-- --json]`

mod calls;
mod fixture;
mod front;

/// Without and with the recorder.
pub(crate) struct Pair {
    pub(crate) off: f64,
    pub(crate) on: f64,
}

/// A mean and its standard error.
pub(crate) struct Mean {
    pub(crate) mean: f64,
    pub(crate) error: f64,
}

impl Mean {
    pub(crate) fn of(samples: &[f64]) -> Self {
        let n = samples.len() as f64;
        let mean = samples.iter().sum::<f64>() / n;
        let variance = samples.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / (n - 1.0);
        Self {
            mean,
            error: (variance / n).sqrt(),
        }
    }
}

pub(crate) fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn main() {
    let json = std::env::args().any(|argument| argument == "--json");
    let front = front::measure();
    let calls = calls::measure();
    let (ratio, error) = (front.ratio.mean, front.ratio.error);
    let null = front.null_ratio;
    if json {
        println!(
            "{{\"front_requests_per_cpu_second_off\":{:.0},\"front_requests_per_cpu_second_on\":{:.0},\"front_ratio\":{ratio:.4},\"front_ratio_error\":{error:.4},\"front_null_ratio\":{:.4},\"front_null_ratio_error\":{:.4},\"front_requests_per_second_off\":{:.0},\"front_requests_per_second_on\":{:.0},\"recorder_thread_share\":{:.4},\"calls_ns_off\":{:.0},\"calls_ns_on\":{:.0},\"recorded_bytes_per_request\":{:.1}}}",
            front.requests.off,
            front.requests.on,
            null.mean,
            null.error,
            front.wall.off,
            front.wall.on,
            front.recorder_share,
            calls.off,
            calls.on,
            front.bytes_per_request
        );
        return;
    }
    let row = |what: &str, pair: &Pair, ratio: f64| {
        println!("{what:<44}{:>12.0}{:>12.0}{ratio:>10.3}", pair.off, pair.on);
    };
    println!("{:<44}{:>12}{:>12}{:>10}", "", "off", "recording", "ratio");
    row(
        "front: requests / gateway CPU second",
        &front.requests,
        ratio,
    );
    row(
        "front: requests / second of wall time",
        &front.wall,
        front.wall.on / front.wall.off,
    );
    row(
        "calls: ns / decide and finished",
        &calls,
        calls.on / calls.off,
    );
    println!(
        "front, of its CPU time: {ratio:.3} ± {error:.3}; of two that do not record: {:.3} ± {:.3}",
        null.mean, null.error
    );
    println!(
        "the recorder's own thread takes {:.1} % of the gateway's CPU time, and a request {:.0} bytes",
        front.recorder_share * 100.0,
        front.bytes_per_request
    );
}
