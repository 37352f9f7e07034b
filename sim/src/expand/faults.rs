//! Faults drawn at random, inside what the design must survive.
//!
//! At most one machine is down at a time, and at most one dies for good, so that a region
//! always keeps most of its hosts. The operator's own machine stays out of it.

use toml::Spanned;

use crate::choices::Choices;
use crate::scenario::{Fault, FaultKind, Pick, Span, Target};
use crate::topology::{NodeKind, Topology};

/// How many, when, how long.
#[derive(Clone, Copy, Debug)]
pub struct FaultSettings {
    /// At most; what does not fit beside the others is left out.
    pub count: u64,
    /// First and last moment at which one begins.
    pub from: Span,
    pub until: Span,
    pub longest: Span,
}

/// Draws faults of these kinds, which are at least one.
pub fn draw_faults(
    settings: &FaultSettings,
    kinds: &[FaultKind],
    topology: &Topology,
    choices: &mut Choices<'_>,
) -> Vec<Fault> {
    let mut down_until = 0;
    let mut died = false;
    let mut faults = Vec::new();
    for _ in 0..settings.count {
        let begin = choices.between(settings.from.as_millis(), settings.until.as_millis());
        let longest = settings.longest.as_millis();
        let length = choices.between(longest / 20, longest).max(1);
        let kind = choices.one_of(kinds);
        let stops_machine = kind.stops_machines();
        if stops_machine && begin < down_until || kind == FaultKind::Death && died {
            continue;
        }
        died |= kind == FaultKind::Death;
        if stops_machine {
            down_until = begin + length;
        }
        faults.push(Fault {
            at: Spanned::new(0..0, Span::millis(begin)),
            length: Span::millis(length),
            ..draw(kind, topology, choices)
        });
    }
    faults
}

fn draw(kind: FaultKind, topology: &Topology, choices: &mut Choices<'_>) -> Fault {
    let target = draw_target(kind, topology, choices);
    let on_links = matches!(
        kind,
        FaultKind::Partition
            | FaultKind::Loss
            | FaultKind::Latency
            | FaultKind::Duplication
            | FaultKind::Reordering
            | FaultKind::Corruption
            | FaultKind::Reset
    );
    let single_link = on_links && choices.percent(20);
    let other = single_link.then(|| one_machine(&any_of(topology), topology, choices));
    let mut fault = Fault {
        kind: Spanned::new(0..0, kind),
        at: Spanned::new(0..0, Span::default()),
        jitter: Span::default(),
        length: Span::default(),
        against: other
            .filter(|other| *other != target)
            .map(|other| Spanned::new(0..0, other)),
        target: Spanned::new(0..0, target),
        one_way: on_links && kind != FaultKind::Reset && choices.percent(30),
        per_million: None,
        by: None,
        backwards: false,
        ppm: None,
        times: None,
        every: None,
    };
    match kind {
        FaultKind::Loss | FaultKind::Duplication | FaultKind::Corruption => {
            fault.per_million = Some(choices.between(10_000, 200_000) as u32);
        }
        FaultKind::Reset if choices.percent(50) => {
            fault.every = Some(Span::millis(choices.between(500, 20_000)));
        }
        FaultKind::SlowClients => fault.by = Some(Span::millis(choices.between(50, 5_000))),
        FaultKind::Latency => fault.by = Some(Span::millis(choices.between(1, 400))),
        FaultKind::SlowDisk | FaultKind::SlowHost => {
            fault.times = Some(choices.between(3, 50) as u32);
        }
        FaultKind::ClockJump => {
            fault.by = Some(Span::millis(choices.between(1, 120_000)));
            fault.backwards = choices.percent(50);
        }
        FaultKind::ClockDrift => fault.ppm = Some(choices.between(100, 20_000) as u32),
        _ => {}
    }
    fault
}

fn draw_target(kind: FaultKind, topology: &Topology, choices: &mut Choices<'_>) -> Target {
    let of_kind = |kind| topology.all_of(kind).collect::<Vec<usize>>();
    let machines = match kind {
        FaultKind::SlowHost | FaultKind::Deaf | FaultKind::Mute => of_kind(NodeKind::Host),
        FaultKind::SlowDisk => {
            let mut disks = vec![Topology::CONTROL];
            disks.extend(of_kind(NodeKind::Store));
            disks
        }
        FaultKind::SlowClients => {
            let region = topology.regions[choices.index(topology.regions.len())].clone();
            return Target::Region(Pick::Named(region));
        }
        FaultKind::Death | FaultKind::BitRot => {
            let mut mortal = of_kind(NodeKind::Host);
            mortal.extend(of_kind(NodeKind::Gateway));
            mortal
        }
        FaultKind::Partition | FaultKind::Loss | FaultKind::Latency if choices.percent(25) => {
            let region = topology.regions[choices.index(topology.regions.len())].clone();
            let region = Pick::Named(region);
            return match choices.between(0, 2) {
                0 => Target::Region(region),
                1 => Target::Gateways(region, None),
                _ => Target::Hosts(region, None),
            };
        }
        _ => any_of(topology),
    };
    one_machine(&machines, topology, choices)
}

/// Every machine but the operator's.
fn any_of(topology: &Topology) -> Vec<usize> {
    let all = 0..topology.nodes.len();
    all.filter(|n| *n != Topology::OPERATOR).collect()
}

fn one_machine(of: &[usize], topology: &Topology, choices: &mut Choices<'_>) -> Target {
    topology.target_of(choices.one_of(of))
}
