//! What may not be said of a fault: what its kind needs, what it does not read, whom it cannot
//! strike, and that nothing is lost which the design does not promise to survive.

use toml::Spanned;

use super::{Checked, check_regions, refuse};
use crate::buggify::{POINTS, Point};
use crate::scenario::{Fault, FaultKind, Scenario, Span, Target};

pub(super) fn check_fault(s: &Scenario, fault: &Fault) -> Checked {
    let kind = *fault.kind.get_ref();
    for target in [Some(&fault.target), fault.against.as_ref()]
        .into_iter()
        .flatten()
    {
        if let Some(region) = target.get_ref().region() {
            check_regions(s, &Spanned::new(target.span(), vec![region.to_owned()]))?;
        }
        check_number(s, target)?;
    }
    if kind == FaultKind::Death && !may_die(fault.target.get_ref()) {
        return refuse(
            &fault.target,
            "a store or the control plane is never lost for good; name hosts or gateways".into(),
        );
    }
    if *fault.target.get_ref() == Target::Rest {
        return refuse(&fault.target, "`rest` can only stand in `against`".into());
    }
    if fault.length.is_zero() {
        return refuse(&fault.at, "the fault lasts no time; give it a `for`".into());
    }
    let end = Span(fault.at.get_ref().0 + fault.jitter.0 + fault.length.0);
    if end > *s.faults_end.get_ref() {
        return refuse(
            &fault.at,
            format!(
                "the fault may last until {end}, past faults_end ({}); begin it earlier or make \
                 it shorter",
                s.faults_end.get_ref()
            ),
        );
    }
    let needs = |present: bool, field: &str| {
        if present {
            return Ok(());
        }
        refuse(
            &fault.kind,
            format!("a {} fault needs `{field}`; add it", kind.name()),
        )
    };
    match kind {
        FaultKind::Loss
        | FaultKind::Duplication
        | FaultKind::Corruption
        | FaultKind::CrashAtCommit
        | FaultKind::Buggify => {
            needs(
                fault.per_million.is_some_and(|n| n <= 1_000_000),
                "per_million",
            )?;
            if kind == FaultKind::Buggify {
                check_point(fault)?;
            }
        }
        FaultKind::Latency | FaultKind::ClockJump | FaultKind::SlowClients => {
            needs(fault.by.is_some(), "by")?;
        }
        FaultKind::Reset => check_reset(fault)?,
        FaultKind::ClockDrift => needs(fault.ppm.is_some_and(|n| n <= 100_000), "ppm")?,
        FaultKind::SlowDisk | FaultKind::SlowHost => {
            needs(
                fault.times.is_some_and(|n| (1..=10_000).contains(&n)),
                "times",
            )?;
        }
        FaultKind::Partition
        | FaultKind::Reordering
        | FaultKind::Crash
        | FaultKind::Death
        | FaultKind::ProcessCrash
        | FaultKind::Pause
        | FaultKind::FullDisk
        | FaultKind::BitRot
        | FaultKind::Deaf
        | FaultKind::Mute => {}
        FaultKind::Absent if fault.at.get_ref().is_zero() && fault.jitter.is_zero() => {}
        FaultKind::Absent => {
            return refuse(
                &fault.at,
                "an absent host is not there from the beginning; say `at = \"0s\"`".into(),
            );
        }
    }
    check_victims(fault, kind)?;
    refuse_unused(fault, kind)
}

fn check_point(fault: &Fault) -> Checked {
    let given = fault.point.as_deref();
    if given.is_some_and(|name| Point::find(name).is_some()) {
        return Ok(());
    }
    let known: Vec<&str> = POINTS.iter().map(Point::name).collect();
    let known = known.join("`, `");
    let problem = match given {
        Some(name) => format!("no actor has a point `{name}`"),
        None => "a buggify fault needs `point`".into(),
    };
    refuse(&fault.kind, format!("{problem}; name one of `{known}`"))
}

/// Resets of one fault at the most.
const RESETS_MAX: u64 = 1_000;

fn check_reset(fault: &Fault) -> Checked {
    let Some(every) = fault.every else {
        return Ok(());
    };
    if every.0 > 0 && fault.length.0 / every.0 < RESETS_MAX {
        return Ok(());
    }
    refuse(
        &fault.kind,
        format!(
            "a reset every {every} for {} is too often; stay below {RESETS_MAX} resets",
            fault.length
        ),
    )
}

/// A fault that would strike nobody is a misunderstanding as well.
fn check_victims(fault: &Fault, kind: FaultKind) -> Checked {
    let target = fault.target.get_ref();
    let hosts = matches!(
        target,
        Target::Hosts(..) | Target::AnyHost(_) | Target::Zone(..)
    );
    let region = matches!(target, Target::Region(_));
    let (fits, remedy) = match kind {
        FaultKind::Absent => (hosts, "name hosts or a zone"),
        FaultKind::Deaf | FaultKind::Mute => (hosts || region, "name hosts, a zone or a region"),
        FaultKind::BitRot => {
            let blobs = !matches!(target, Target::Store(_));
            (
                blobs,
                "name hosts, gateways or control: a store has no blobs",
            )
        }
        FaultKind::SlowClients => (region, "name a region"),
        _ => (true, ""),
    };
    if fits {
        return Ok(());
    }
    let name = kind.name();
    refuse(
        &fault.target,
        format!("a {name} fault strikes nobody there; {remedy}"),
    )
}

/// Nothing that the design must survive takes a store, or with it a whole region, for good.
fn may_die(target: &Target) -> bool {
    matches!(
        target,
        Target::Hosts(..)
            | Target::Gateways(..)
            | Target::AnyHost(_)
            | Target::AnyGateway(_)
            | Target::ActiveScheduler(_)
    )
}

/// A field that the kind does not read is a misunderstanding of the writer.
fn refuse_unused(fault: &Fault, kind: FaultKind) -> Checked {
    use FaultKind::{
        Buggify, ClockDrift, ClockJump, Corruption, CrashAtCommit, Duplication, Latency, Loss,
        Partition, Reordering, Reset, SlowClients, SlowDisk, SlowHost,
    };
    let network = matches!(
        kind,
        Partition | Loss | Latency | Duplication | Reordering | Corruption
    );
    let fields = [
        ("against", fault.against.is_some(), network || kind == Reset),
        ("one_way", fault.one_way, network),
        (
            "per_million",
            fault.per_million.is_some(),
            matches!(
                kind,
                Loss | Duplication | Corruption | CrashAtCommit | Buggify
            ),
        ),
        (
            "by",
            fault.by.is_some(),
            matches!(kind, Latency | ClockJump | SlowClients),
        ),
        ("every", fault.every.is_some(), kind == Reset),
        ("point", fault.point.is_some(), kind == Buggify),
        ("backwards", fault.backwards, kind == ClockJump),
        ("ppm", fault.ppm.is_some(), kind == ClockDrift),
        (
            "times",
            fault.times.is_some(),
            matches!(kind, SlowDisk | SlowHost),
        ),
    ];
    match fields.into_iter().find(|(_, given, read)| *given && !read) {
        None => Ok(()),
        Some((field, ..)) => refuse(
            &fault.kind,
            format!(
                "a {} fault has no use for `{field}`; remove it",
                kind.name()
            ),
        ),
    }
}

fn check_number(s: &Scenario, target: &Spanned<Target>) -> Checked {
    if let Target::Zone(_, letter) = target.get_ref() {
        let zones = (*s.topology.zones.get_ref()).min(*s.topology.hosts.get_ref());
        let last = char::from(b'a' + zones.saturating_sub(1) as u8);
        if *letter > last {
            return refuse(
                target,
                format!("there is no zone {letter}; each region has a to {last}"),
            );
        }
    }
    let (number, have, what) = match target.get_ref() {
        Target::Hosts(_, Some(n)) => (*n, *s.topology.hosts.get_ref(), "host"),
        Target::Gateways(_, Some(n)) => (*n, *s.topology.gateways.get_ref(), "gateway"),
        _ => return Ok(()),
    };
    if number < have {
        return Ok(());
    }
    refuse(
        target,
        format!("there is no {what} {number}; each region has {have}, counted from 0"),
    )
}
