//! Faults drawn at random, inside what the design must survive.
//!
//! At most one machine is down at a time, and at most one dies for good, so that a region
//! always keeps most of its hosts. The operator's own machine stays out of it.

use toml::Spanned;

use crate::buggify::{POINTS, Point};
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
    let mut faults = if kinds.contains(&FaultKind::Buggify) {
        draw_points(settings, topology, choices)
    } else {
        Vec::new()
    };
    let mut others = kinds.to_vec();
    others.retain(|kind| *kind != FaultKind::Buggify);
    if others.is_empty() {
        return faults;
    }
    for _ in 0..settings.count {
        let begin = choices.between(settings.from.as_millis(), settings.until.as_millis());
        let longest = settings.longest.as_millis();
        let length = choices.between(longest / 20, longest).max(1);
        let kind = choices.one_of(&others);
        let begin = if kind == FaultKind::Absent { 0 } else { begin };
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

/// Arms some points, each for a good part of the run: a point is passed seldom, and fires
/// more seldom.
fn draw_points(
    settings: &FaultSettings,
    topology: &Topology,
    choices: &mut Choices<'_>,
) -> Vec<Fault> {
    let (from, until) = (settings.from.as_millis(), settings.until.as_millis());
    let end = until + settings.longest.as_millis();
    let armed = POINTS.iter().filter_map(|point| {
        if !choices.percent(30) {
            return None;
        }
        let target = draw_passing(point, topology, choices);
        let begin = choices.between(from / 4, until);
        let length = choices.between(1_000, end - begin);
        Some(Fault {
            at: Spanned::new(0..0, Span::millis(begin)),
            length: Span::millis(length.min(end - begin).max(1)),
            per_million: Some(choices.one_of(&[10_000, 50_000, 150_000])),
            point: Some(point.name().to_owned()),
            ..plain(FaultKind::Buggify, target)
        })
    });
    armed.collect()
}

/// A fault without anything that only some kinds have.
fn plain(kind: FaultKind, target: Target) -> Fault {
    Fault {
        kind: Spanned::new(0..0, kind),
        at: Spanned::new(0..0, Span::default()),
        jitter: Span::default(),
        length: Span::default(),
        against: None,
        target: Spanned::new(0..0, target),
        one_way: false,
        per_million: None,
        by: None,
        backwards: false,
        ppm: None,
        times: None,
        every: None,
        point: None,
    }
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
        against: other
            .filter(|other| *other != target)
            .map(|other| Spanned::new(0..0, other)),
        one_way: on_links && kind != FaultKind::Reset && choices.percent(30),
        ..plain(kind, target)
    };
    match kind {
        FaultKind::Loss | FaultKind::Duplication | FaultKind::Corruption => {
            fault.per_million = Some(choices.between(10_000, 200_000) as u32);
        }
        FaultKind::Reset if choices.percent(50) => {
            fault.every = Some(Span::millis(choices.between(500, 20_000)));
        }
        FaultKind::CrashAtCommit => {
            fault.per_million = Some(choices.between(10_000, 500_000) as u32);
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

/// A machine whose actors pass the point, or all that do in its region.
fn draw_passing(point: &Point, topology: &Topology, choices: &mut Choices<'_>) -> Target {
    let machines: Vec<usize> = point.on.iter().flat_map(|k| topology.all_of(*k)).collect();
    let machine = choices.one_of(&machines);
    match topology.nodes[machine].region {
        Some(region) if choices.percent(70) => {
            Target::Region(Pick::Named(topology.regions[region].clone()))
        }
        _ => topology.target_of(machine),
    }
}

fn draw_target(kind: FaultKind, topology: &Topology, choices: &mut Choices<'_>) -> Target {
    let of_kind = |kind| topology.all_of(kind).collect::<Vec<usize>>();
    let machines = match kind {
        FaultKind::SlowHost | FaultKind::Deaf | FaultKind::Mute | FaultKind::Absent => {
            of_kind(NodeKind::Host)
        }
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
