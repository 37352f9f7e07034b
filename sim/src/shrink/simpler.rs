//! Plainer values for what a plan keeps.

use crate::scenario::{
    App, Arrivals, Behaviour, Clocks, Disks, Fault, Network, Scenario, Span, Traffic,
};

type Simplify<T> = fn(&mut T);

pub(super) const ALL: &[(&str, Simplify<Scenario>)] = &[
    ("a calm network", |s| s.network = calm_network()),
    ("no base loss", |s| s.network.loss_per_million = 0),
    ("no base duplication", |s| {
        s.network.duplication_per_million = 0
    }),
    ("no base reordering", |s| s.network.reordering = false),
    ("no jitter", |s| s.network.jitter = Span::default()),
    ("right clocks", |s| {
        s.clocks = Clocks {
            offset: Span::default(),
            drift_ppm: 0,
        };
    }),
    ("plain disks", |s| s.disks = Disks::default()),
    ("values on the wire", |s| s.encode_messages = false),
    ("one gateway actor", |s| {
        *s.topology.gateway_actors.get_mut() = 1
    }),
    ("nothing scales", |s| {
        for op in &mut s.operations {
            op.instances_max = None;
        }
    }),
    ("one zone", |s| *s.topology.zones.get_mut() = 1),
];

pub(super) const OF_A_FAULT: &[(&str, Simplify<Fault>)] = &[
    ("against everything", |f| f.against = None),
    ("both ways", |f| f.one_way = false),
    ("once", |f| f.every = None),
    ("at every pass", |f| {
        f.per_million = f.per_million.map(|_| 1_000_000);
    }),
    ("a quarter as long", |f| f.length = part(f.length, 25)),
    ("shorter", |f| f.length = part(f.length, 70)),
    ("later by a tenth of its length", |f| {
        let by = Span::millis(f.length.as_millis() / 10);
        *f.at.get_mut() = Span(f.at.get_ref().0 + by.0);
        f.length = Span(f.length.0 - by.0);
    }),
];

pub(super) const OF_AN_APP: &[(&str, Simplify<App>)] = &[
    ("healthy", |a| a.behaviour = Behaviour::Healthy),
    ("everywhere", |a| a.regions.get_mut().clear()),
    ("one instance", |a| *a.instances_max.get_mut() = 1),
    ("half the instances", |a| {
        let half = a.instances_max.get_ref().div_ceil(2);
        *a.instances_max.get_mut() = half;
    }),
    ("answers at once", |a| a.service = Span::millis(1)),
    ("starts at once", |a| a.boot = Span::millis(50)),
];

pub(super) const OF_TRAFFIC: &[(&str, Simplify<Traffic>)] = &[
    ("no spikes", |t| t.spikes.clear()),
    ("no retries", |t| *t.retries.get_mut() = 0),
    ("arrivals as they come", |t| {
        t.arrivals = Arrivals::Poisson;
        t.clients = None;
        (t.on, t.off, t.period) = (None, None, None);
    }),
    ("a hundredth", |t| *t.per_second.get_mut() = rate(t, 0.01)),
    ("a tenth", |t| *t.per_second.get_mut() = rate(t, 0.1)),
    ("half", |t| *t.per_second.get_mut() = rate(t, 0.5)),
];

fn rate(traffic: &Traffic, times: f64) -> f64 {
    // Kept to three digits, so that the file stays readable.
    let rate = traffic.per_second.get_ref() * times;
    ((rate * 1e3).round() / 1e3).max(0.001)
}

/// In whole milliseconds, and at least one.
fn part(span: Span, percent: u64) -> Span {
    Span::millis((span.as_millis() * percent / 100).max(1))
}

fn calm_network() -> Network {
    Network {
        jitter: Span::default(),
        ..Network::default()
    }
}

/// Ends the run just after a moment, with everything that would come later.
pub(super) fn end_at(s: &mut Scenario, seen: Option<u64>) {
    let Some(seen) = seen else {
        return;
    };
    let end = Span::millis(seen / 1_000_000 + 1);
    // A run has a least duration; what is shorter ends by itself at the violation.
    let duration = end.max(Span::seconds(30));
    if duration >= *s.duration.get_ref() {
        return;
    }
    *s.duration.get_mut() = duration;
    s.operations.retain(|op| *op.at.get_ref() < end);
    s.faults.retain(|f| *f.at.get_ref() < end);
    s.traffic.retain(|t| *t.from.get_ref() < end);
    s.apps.retain(|a| a.deploy_at < end);
    for traffic in &mut s.traffic {
        traffic.spikes.retain(|spike| *spike.at.get_ref() < end);
        if traffic
            .until
            .as_ref()
            .is_some_and(|u| *u.get_ref() > duration)
        {
            traffic.until = None;
        }
    }
}

/// The moment from which nothing is broken comes right after the last fault or operation;
/// with `keeps_bound`, the run keeps its time to get well.
pub(super) fn end_faults_early(s: &mut Scenario, keeps_bound: bool) {
    let faults = s.faults.iter().map(|f| f.at.get_ref().0 + f.length.0);
    let operations = s.operations.iter().map(|op| op.at.get_ref().0);
    let deploys = s.apps.iter().map(|a| a.deploy_at.0);
    let last = faults.chain(operations).chain(deploys).max().unwrap_or(0);
    let end = Span::millis(last / 1_000_000 + 1).max(Span::seconds(10));
    let earlier = s.faults_end.get_ref().0.saturating_sub(end.0);
    if earlier == 0 {
        return;
    }
    *s.faults_end.get_mut() = end;
    if keeps_bound {
        let duration = Span(s.duration.get_ref().0 - earlier).max(Span::seconds(30));
        *s.duration.get_mut() = duration;
    }
}

/// The run ends soon after the moment from which everything has to be well: requests that are
/// sent then get the time that they may take.
pub(super) fn end_soon_after_well(s: &mut Scenario) {
    let well = s.faults_end.get_ref().0 + s.liveness_within.get_ref().0;
    end_at(s, Some(Span(well + Span::seconds(25).0).nanos()));
}

/// Every moment of the plan at a share of its time; lengths stay.
pub(super) fn scale_times(s: &mut Scenario, percent: u64) {
    let scale = |at: &mut Span| *at = part(*at, percent);
    for app in &mut s.apps {
        scale(&mut app.deploy_at);
    }
    for op in &mut s.operations {
        scale(op.at.get_mut());
    }
    for fault in &mut s.faults {
        scale(fault.at.get_mut());
    }
    for traffic in &mut s.traffic {
        scale(traffic.from.get_mut());
        for spike in &mut traffic.spikes {
            scale(spike.at.get_mut());
        }
    }
}
