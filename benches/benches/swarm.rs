//! What a swarm costs: drawn worlds of five simulated minutes and more, one after another on
//! one thread.
//!
//! Goal: 10,000 seeds in 5 minutes on 2 cores, that is 16.7 seeds a CPU second. No other
//! simulator draws such worlds, so each figure stands beside that goal. CPU time and peak
//! memory are the process's own (`getrusage`).
//!
//! Run: `cargo bench -p tidegate-benches --bench swarm [-- --json]`

use std::time::Instant;

use tidegate_benches::cpu::{peak_memory_bytes, process_time};
use tidegate_sim::tally::Tally;
use tidegate_sim::trial::{self, Until};
use tidegate_sim::{Seed, drawn};

const SEEDS: u64 = 500;
/// Seeds for each CPU second.
const GOAL: f64 = 10_000.0 / (5.0 * 60.0 * 2.0);

fn main() {
    let json = std::env::args().any(|argument| argument == "--json");
    let mut tally = Tally::default();
    let (cpu, wall) = (process_time(), Instant::now());
    for seed in 0..SEEDS {
        tally.add(&trial::run(&drawn::of_seed(Seed(seed)), seed, Until::Any));
    }
    let cpu_seconds = (process_time() - cpu).as_secs_f64();
    let wall_seconds = wall.elapsed().as_secs_f64();
    assert_eq!(tally.violations, 0, "run `tidegate-sim swarm` to see which");
    let seeds = SEEDS as f64 / cpu_seconds;
    let events = tally.events as f64 / cpu_seconds;
    let speed = tally.sim_seconds() / wall_seconds;
    let memory = peak_memory_bytes();
    if json {
        println!(
            "{{\"seeds\":{SEEDS},\"seeds_per_cpu_second\":{seeds:.1},\
             \"events_per_cpu_second\":{events:.0},\"sim_seconds_per_wall_second\":{speed:.0},\
             \"peak_memory_bytes\":{memory},\"of_goal\":{:.2}}}",
            seeds / GOAL
        );
        return;
    }
    println!(
        "seeds / CPU second           {seeds:>12.1}   {:.2} times the goal of {GOAL:.1}",
        seeds / GOAL
    );
    println!("events / CPU second          {events:>12.0}");
    println!("simulated / wall seconds     {speed:>12.0}");
    println!(
        "peak memory, MiB             {:>12.1}",
        memory as f64 / 1_048_576.0
    );
}
