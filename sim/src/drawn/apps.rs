//! The tenants of a drawn world: their apps, what they push, and who asks for it.
//!
//! Load is drawn first, and the app is made able to carry it: after the faults every request
//! has to be served, so an app that could not keep up would only tell about itself.

use super::given;
use crate::choices::Choices;
use crate::scenario::{
    Action, App, Arrivals, Behaviour, Kind, Operation, Span, Spike, Topology, Traffic,
};

/// Names that say nothing about what an app does.
const NAMES: [&str; 5] = ["ant", "bee", "cat", "dog", "elk"];
/// Requests a second of all apps together; what a run costs is mostly this.
const RATE_MAX: u64 = 30;

pub(super) fn draw_apps(topology: &Topology, choices: &mut Choices<'_>) -> Vec<App> {
    let count = choices.between(1, NAMES.len() as u64) as usize;
    // One host may be gone, and a version that is replaced runs on beside its successor.
    let hosts = u64::from((topology.hosts.get_ref() - 1).max(1));
    let room = hosts * u64::from(*topology.host_capacity.get_ref()) / 3;
    let most = (room / count as u64).clamp(1, 5);
    NAMES[..count]
        .iter()
        .map(|name| draw_app(name, most, topology, choices))
        .collect()
}

fn draw_app(name: &str, most: u64, topology: &Topology, choices: &mut Choices<'_>) -> App {
    let sleepy = choices.percent(40);
    let regions = topology.regions.get_ref();
    let local = regions.len() > 1 && choices.percent(25);
    let only = choices.index(regions.len());
    App {
        name: given(name.into()),
        tenants: None,
        kind: if choices.percent(20) {
            Kind::Static
        } else {
            Kind::Program
        },
        deploy_at: Span::millis(choices.between(5_000, 20_000)),
        regions: given(if local {
            vec![regions[only].clone()]
        } else {
            Vec::new()
        }),
        instances_max: given(choices.between(1, most) as u32),
        concurrency: given(choices.between(2, 40) as u32),
        workers: given(choices.between(4, 64) as u32),
        service: Span::millis(choices.between(1, 40)),
        boot: Span::millis(choices.between(50, 3_000)),
        idle: Span::seconds(if sleepy {
            choices.between(2, 30)
        } else {
            choices.between(60, 300)
        }),
        lifetime_min: Span::seconds(choices.between(1, 60)),
        start_timeout: Span::seconds(30),
        stop_grace: Span::seconds(choices.between(1, 20)),
        behaviour: if choices.percent(10) {
            choices.one_of(&[Behaviour::IgnoresSigterm, Behaviour::CrashesSometimes])
        } else {
            Behaviour::Healthy
        },
    }
}

pub(super) fn draw_operations(
    apps: &[App],
    until: Span,
    choices: &mut Choices<'_>,
) -> Vec<Operation> {
    let storm = choices.percent(25);
    let count = choices.between(0, if storm { 14 } else { 4 });
    let poison = choices.percent(30);
    let mut operations: Vec<Operation> = (0..count)
        .map(|_| {
            let what = choices.one_of(&[
                Action::Deploy,
                Action::Deploy,
                Action::Rollback,
                Action::Promote,
                Action::Inspect,
            ]);
            let bad = poison && what == Action::Deploy && choices.percent(40);
            let behaviour = if bad {
                choices.one_of(&[
                    Behaviour::CrashesAtStart,
                    Behaviour::Hangs,
                    Behaviour::IgnoresSigterm,
                    Behaviour::CrashesSometimes,
                    Behaviour::Leaks,
                ])
            } else {
                Behaviour::Healthy
            };
            operation(what, behaviour, apps, until, choices)
        })
        .collect();
    crowd(&mut operations, until, choices);
    if choices.percent(15) {
        let remove = operation(Action::Remove, Behaviour::Healthy, apps, until, choices);
        // A removed project is not pushed again: its name may be somebody else's by then.
        operations.retain(|op| op.app != remove.app || op.at < remove.at);
        operations.push(remove);
    }
    operations.sort_by_key(|op| *op.at.get_ref());
    operations
}

fn operation(
    what: Action,
    behaviour: Behaviour,
    apps: &[App],
    until: Span,
    choices: &mut Choices<'_>,
) -> Operation {
    let app = &apps[choices.index(apps.len())];
    let from = app.deploy_at.as_millis() + 1_000;
    Operation {
        at: given(Span::millis(choices.between(from, until.as_millis()))),
        jitter: Span::default(),
        what,
        app: app.name.clone(),
        behaviour,
        instances_max: draw_scaling(what, app, choices),
    }
}

/// Some pushes change how far the app may scale: down to half, which its load still fits.
fn draw_scaling(what: Action, app: &App, choices: &mut Choices<'_>) -> Option<toml::Spanned<u32>> {
    let most = u64::from(*app.instances_max.get_ref());
    let scales = what == Action::Deploy && most > 1 && choices.percent(30);
    scales.then(|| given(choices.between(most.div_ceil(2), most) as u32))
}

/// One comes right behind another, so that the two meet: at their commits, or while the
/// first deploy is on its way.
fn crowd(operations: &mut [Operation], until: Span, choices: &mut Choices<'_>) {
    if operations.len() < 2 || !choices.percent(40) {
        return;
    }
    for index in 1..operations.len() {
        if choices.percent(40) {
            let before = operations[index - 1].clone();
            let behind = [3, 300, 3_000][choices.index(3)];
            let at = before.at.get_ref().as_millis() + choices.between(0, behind);
            operations[index].at = given(Span::millis(at.min(until.as_millis())));
            operations[index].app = before.app;
            operations[index].instances_max = None;
        }
    }
}

pub(super) fn draw_traffic(
    apps: &[App],
    topology: &Topology,
    faults_end: Span,
    choices: &mut Choices<'_>,
) -> Vec<Traffic> {
    let spikes = choices.percent(50);
    let share = RATE_MAX as f64 / apps.len() as f64;
    apps.iter()
        .map(|app| {
            let rate = draw_rate(app, share, topology, choices);
            let crowd = if spikes && choices.percent(60) {
                draw_spikes(faults_end, choices)
            } else {
                Vec::new()
            };
            let steady = Traffic {
                app: app.name.clone(),
                per_second: given(rate),
                regions: given(Vec::new()),
                from: given(Span::millis(choices.between(10_000, 45_000))),
                until: None,
                arrivals: Arrivals::Poisson,
                clients: None,
                on: None,
                off: None,
                period: None,
                zipf: None,
                spikes: crowd,
                retries: given(if choices.percent(20) {
                    choices.between(1, 4) as u32
                } else {
                    0
                }),
                honours_retry_after: choices.percent(50),
            };
            draw_arrivals(steady, choices)
        })
        .collect()
}

/// Half of the streams come as they do in textbooks.
fn draw_arrivals(mut traffic: Traffic, choices: &mut Choices<'_>) -> Traffic {
    if choices.percent(50) {
        return traffic;
    }
    match choices.between(0, 2) {
        0 => {
            traffic.arrivals = Arrivals::OnOff;
            // A burst is at most four times as busy as the mean, which the app can carry.
            let on = choices.between(500, 5_000);
            traffic.on = Some(given(Span::millis(on)));
            traffic.off = Some(given(Span::millis(choices.between(on / 2, on * 3))));
        }
        1 => {
            traffic.arrivals = Arrivals::Diurnal;
            let period = choices.between(20_000, 120_000);
            traffic.period = Some(given(Span::millis(period)));
        }
        _ => {
            traffic.arrivals = Arrivals::Closed;
            traffic.clients = Some(given(choices.between(1, 20) as u32));
        }
    }
    traffic
}

/// At most what the app's instances carry at a third of their capacity, in hundredths.
fn draw_rate(app: &App, share: f64, topology: &Topology, choices: &mut Choices<'_>) -> f64 {
    let at_once = (*app.workers.get_ref()).min(*app.concurrency.get_ref());
    let regions = match app.regions.get_ref().len() {
        0 => topology.regions.get_ref().len(),
        named => named,
    };
    let instances = f64::from(*app.instances_max.get_ref()) * regions as f64;
    let carries = instances * f64::from(at_once) / (app.service.as_millis() as f64 / 1e3) / 3.0;
    let most = (share.min(carries) * 100.0) as u64;
    // Small rates are as interesting as large ones, so the magnitude is drawn first.
    let magnitude = choices.between(0, 3) as u32;
    let most = (most / 10_u64.pow(magnitude)).max(2);
    choices.between(1, most) as f64 / 100.0
}

fn draw_spikes(until: Span, choices: &mut Choices<'_>) -> Vec<Spike> {
    let count = choices.between(1, 3);
    (0..count)
        .map(|_| Spike {
            at: given(Span::millis(choices.between(30_000, until.as_millis()))),
            length: Span::millis(choices.between(500, 15_000)),
            times: choices.between(2, 12) as f64,
        })
        .collect()
}
