//! Draws a whole scenario: topology, network, apps, operations, traffic, faults.
//!
//! Every seed of a swarm gets a world of its own, because a bug that needs two hosts, a slow
//! disk and no partition is not found by a fixed topology under every fault at once. So each
//! family of faults, and each habit of the tenants, is off in half the runs: what is always
//! on hides what only shows without it (Groce and others, "Swarm Testing", 2012).
//!
//! A drawn world stays inside what the guarantees promise to survive: hosts that can hold
//! all instances with one host gone, load that the instances can carry, faults that end early
//! enough for everything to be well before the run is over.

mod apps;
mod mutate;

pub use mutate::mutate;

use toml::Spanned;

use crate::choices::Choices;
use crate::expand::{FaultSettings, draw_faults, expand};
use crate::scenario::{Clocks, Disks, FaultKind, Network, Scenario, Span, Topology};
use crate::topology;
use tidegate_kernel::Seed;

/// Name of what is drawn, on the command line and in files.
pub const NAME: &str = "drawn";

const FAULTS_FROM: Span = Span::seconds(25);
const FAULTS_END: Span = Span::seconds(140);
const LIVENESS_WITHIN: Span = Span::seconds(180);
/// Beyond `FAULTS_END` and `LIVENESS_WITHIN`, so that it is seen whether regions serve.
const SERVES_FOR: Span = Span::seconds(20);

const REGIONS: [&str; 3] = ["syd", "mel", "per"];

/// The scenario of a seed, whole.
pub fn of_seed(seed: Seed) -> Scenario {
    let mut choices = Choices::seeded(seed.derive("scenario"));
    let mut scenario = draw(&mut choices);
    scenario.about = format!("Drawn from seed {}.", seed.0);
    expand(&scenario, seed)
}

/// The scenario that a fuzzer's bytes stand for.
pub fn of_bytes(bytes: &[u8]) -> Scenario {
    let mut scenario = draw(&mut Choices::of_bytes(bytes));
    scenario.about = "Drawn from bytes.".into();
    expand(&scenario, Seed(0))
}

pub(crate) fn given<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

fn draw(choices: &mut Choices<'_>) -> Scenario {
    let kinds = choices.half_of(FaultKind::DRAWN);
    let topology = draw_topology(&kinds, choices);
    let apps = apps::draw_apps(&topology, choices);
    let mut scenario = Scenario {
        name: given(NAME.into()),
        about: String::new(),
        duration: given(Span(FAULTS_END.0 + LIVENESS_WITHIN.0 + SERVES_FOR.0)),
        faults_end: given(FAULTS_END),
        liveness_within: given(LIVENESS_WITHIN),
        encode_messages: choices.percent(15),
        network: draw_network(choices),
        disks: draw_disks(choices),
        clocks: draw_clocks(choices),
        operations: apps::draw_operations(&apps, FAULTS_END, choices),
        traffic: apps::draw_traffic(&apps, &topology, FAULTS_END, choices),
        apps,
        topology,
        faults: Vec::new(),
        random_faults: None,
        bug: None,
    };
    let longest = Span::seconds(choices.between(4, 60));
    let settings = FaultSettings {
        count: choices.between(0, 12),
        from: FAULTS_FROM,
        until: Span(FAULTS_END.0 - longest.0),
        longest,
    };
    let machines = topology::Topology::new(&scenario);
    scenario.faults = draw_faults(&settings, &kinds, &machines, choices);
    spare_starts(&mut scenario);
    scenario
}

/// A host so slow that an app misses its start timeout is no fault that a deploy survives.
fn spare_starts(scenario: &mut Scenario) {
    // A start takes up to one and a half times what the app says.
    let most = scenario.apps.iter().map(|app| {
        let start = (app.boot.as_millis() * 3 / 2).max(1);
        app.start_timeout.as_millis() * 3 / 4 / start
    });
    let most = most.min().unwrap_or(1).max(2) as u32;
    for fault in &mut scenario.faults {
        if *fault.kind.get_ref() == FaultKind::SlowHost {
            fault.times = fault.times.map(|times| times.min(most));
        }
    }
}

fn draw_topology(kinds: &[FaultKind], choices: &mut Choices<'_>) -> Topology {
    let regions = choices.one_of(&[1, 1, 2, 2, 3]);
    // What dies for good must leave a region most of its machines.
    let deadly = kinds.contains(&FaultKind::Death);
    Topology {
        regions: given(REGIONS[..regions].iter().map(|r| (*r).into()).collect()),
        hosts: given(choices.between(if deadly { 3 } else { 2 }, 4) as u32),
        host_capacity: given(choices.between(8, 24) as u32),
        zones: given(choices.between(1, 3) as u32),
        gateways: given(choices.between(if deadly { 2 } else { 1 }, 3) as u32),
        gateway_actors: given(choices.between(1, 2) as u32),
    }
}

fn draw_network(choices: &mut Choices<'_>) -> Network {
    let near = choices.between(2, 60);
    Network {
        within_region: Span::micros(choices.between(80, 2_000)),
        between_regions: [
            Span::millis(near),
            Span::millis(near + choices.between(0, 90)),
        ],
        jitter: Span::micros(choices.between(0, 3_000)),
        loss_per_million: if choices.percent(20) {
            choices.between(100, 20_000) as u32
        } else {
            0
        },
        duplication_per_million: if choices.percent(20) {
            choices.between(100, 50_000) as u32
        } else {
            0
        },
        reordering: choices.percent(20),
    }
}

fn draw_disks(choices: &mut Choices<'_>) -> Disks {
    let least = choices.between(50, 2_000);
    Disks {
        fsync: [
            Span::micros(least),
            Span::micros(least + choices.between(0, 20_000)),
        ],
    }
}

fn draw_clocks(choices: &mut Choices<'_>) -> Clocks {
    Clocks {
        offset: Span::millis(choices.between(0, 3_000)),
        drift_ppm: choices.between(0, 500) as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_is_a_file_that_is_accepted() {
        for seed in 0..300 {
            let text = of_seed(Seed(seed)).to_toml();
            let read = Scenario::parse("drawn.toml", &text)
                .unwrap_or_else(|error| panic!("seed {seed}: {error}\n{text}"));
            assert_eq!(read.to_toml(), text);
        }
    }

    #[test]
    fn any_bytes_draw_a_file_that_is_accepted() {
        let mut rng = Seed(1).rng();
        for length in 0..200 {
            let bytes: Vec<u8> = (0..length).map(|_| rng.u64() as u8).collect();
            let text = of_bytes(&bytes).to_toml();
            Scenario::parse("drawn.toml", &text)
                .unwrap_or_else(|error| panic!("{bytes:?}: {error}\n{text}"));
        }
    }

    #[test]
    fn every_kind_of_fault_is_drawn_and_none_in_every_run() {
        for kind in FaultKind::DRAWN {
            let with = (0..200)
                .filter(|seed| {
                    let faults = of_seed(Seed(*seed)).faults;
                    faults.iter().any(|f| f.kind.get_ref() == kind)
                })
                .count();
            assert!(
                (10..150).contains(&with),
                "{} in {with} of 200",
                kind.name()
            );
        }
    }
}
