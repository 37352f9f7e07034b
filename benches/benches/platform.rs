//! The whole platform in simulation: how many events a CPU second carries out, and how much
//! faster than real time a region partition passes.
//!
//! No other platform runs its production actors this way, so there is no peer to stand
//! beside; each figure stands beside its goal, and the bare kernel's in `--bench kernel`.
//! CPU time is the process's own (`getrusage`), wall time the machine's. One seed is run
//! unmeasured first, so that the allocator and the caches are warm.
//!
//! Run: `cargo bench -p tidegate-benches --bench platform [-- --json]`

use std::time::Instant;

use tidegate_benches::cpu::process_time;
use tidegate_sim::scenario::{Builtin, Scenario};
use tidegate_sim::{Report, Seed, Unobserved, World};

const SEEDS: std::ops::RangeInclusive<u64> = 42..=46;

struct Measured {
    events: u64,
    sim_seconds: f64,
    cpu_seconds: f64,
    wall_seconds: f64,
}

fn run(name: &str, seed: u64) -> Report {
    let builtin = Builtin::find(name).expect("a built-in scenario");
    let scenario = Scenario::parse(builtin.name, builtin.text).expect("it parses");
    let mut world = World::new(&scenario, Seed(seed));
    world.run(&mut Unobserved);
    world.report(seed)
}

fn measure(name: &str) -> Measured {
    run(name, *SEEDS.start());
    let (cpu, wall) = (process_time(), Instant::now());
    let reports: Vec<Report> = SEEDS.map(|seed| run(name, seed)).collect();
    Measured {
        events: reports.iter().map(|r| r.events).sum(),
        sim_seconds: reports.iter().map(|r| r.sim_seconds).sum(),
        cpu_seconds: (process_time() - cpu).as_secs_f64(),
        wall_seconds: wall.elapsed().as_secs_f64(),
    }
}

fn main() {
    let json = std::env::args().any(|argument| argument == "--json");
    let rows = [
        ("flash-crowd", measure("flash-crowd")),
        ("region-partition", measure("region-partition")),
    ];
    if !json {
        println!(
            "{:<18}{:>12}{:>24}{:>28}",
            "scenario", "events", "M events / CPU second", "sim seconds / wall second"
        );
    }
    for (name, m) in &rows {
        let rate = m.events as f64 / m.cpu_seconds;
        let speed = m.sim_seconds / m.wall_seconds;
        if json {
            println!(
                "{{\"scenario\":\"{name}\",\"events\":{},\"events_per_cpu_second\":{rate:.0},\
                 \"sim_seconds_per_wall_second\":{speed:.0}}}",
                m.events
            );
        } else {
            println!(
                "{name:<18}{:>12}{:>24.2}{speed:>28.0}",
                m.events,
                rate / 1e6
            );
        }
    }
    if !json {
        println!(
            "\ngoals: flash-crowd 1 M events / CPU second, region-partition 1,000 sim seconds / wall second"
        );
    }
}
