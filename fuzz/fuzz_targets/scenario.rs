//! A whole scenario from bytes: topology, workload, knobs and faults are read from what the
//! fuzzer makes, the world is run, and a broken guarantee is a crash.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_sim::drawn;
use tidegate_sim::trial::{self, Until};

fuzz_target!(|bytes: &[u8]| {
    let scenario = drawn::of_bytes(bytes);
    let trial = trial::run(&scenario, 0, Until::Any);
    if let Some(violation) = &trial.violation {
        let file = trial::bug_file(&scenario, &trial, None);
        panic!(
            "guarantee {} at {:.3} s: {}\n{}",
            violation.guarantee,
            violation.at as f64 / 1e9,
            violation.text,
            file.map_or_else(String::new, |file| file.to_toml())
        );
    }
});
