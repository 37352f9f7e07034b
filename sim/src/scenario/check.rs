//! What a scenario may not say. Each complaint names the line and what to write instead.

mod faults;
mod traffic;

use core::ops::Range;

use toml::Spanned;

use super::{Action, App, Scenario, Span};

/// A complaint about a range of bytes of the file.
#[derive(Debug)]
pub(super) struct Complaint {
    pub(super) span: Range<usize>,
    pub(super) text: String,
}

type Checked = Result<(), Complaint>;

const NODES_MAX: u32 = 128;

fn refuse<T>(at: &Spanned<T>, text: String) -> Checked {
    Err(Complaint {
        span: at.span(),
        text,
    })
}

fn within(at: &Spanned<u32>, what: &str, low: u32, high: u32) -> Checked {
    let value = *at.get_ref();
    if (low..=high).contains(&value) {
        return Ok(());
    }
    refuse(
        at,
        format!("{what} is {value}; choose a number from {low} to {high}"),
    )
}

pub(super) fn check(scenario: &Scenario) -> Checked {
    check_label(&scenario.name, "the name of the scenario")?;
    check_times(scenario)?;
    check_topology(scenario)?;
    check_apps(scenario)?;
    check_operations(scenario)?;
    traffic::check_traffic(scenario)?;
    for fault in &scenario.faults {
        faults::check_fault(scenario, fault)?;
    }
    check_random_faults(scenario)?;
    match &scenario.bug {
        Some(bug) if !(1..=1_000).contains(&bug.seeds.get_ref().len()) => refuse(
            &bug.seeds,
            "a bug needs from 1 to 1000 seeds; name those that showed it".into(),
        ),
        _ => Ok(()),
    }
}

fn check_label(name: &Spanned<String>, what: &str) -> Checked {
    let text = name.get_ref();
    let good = !text.is_empty()
        && text.len() <= 40
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if good {
        return Ok(());
    }
    refuse(
        name,
        format!("{what} is `{text}`; use at most 40 of a-z, 0-9 and -, with - only inside"),
    )
}

fn check_times(s: &Scenario) -> Checked {
    let (duration, end) = (*s.duration.get_ref(), *s.faults_end.get_ref());
    let settled = Span(end.0.saturating_add(s.liveness_within.get_ref().0));
    if duration < Span::seconds(30) {
        return refuse(
            &s.duration,
            format!("duration is {duration}; choose at least 30s"),
        );
    }
    // A bug file may end where its bug has been seen.
    if settled > duration && s.bug.is_none() {
        return refuse(
            &s.faults_end,
            format!(
                "faults_end and liveness_within end at {settled}, after the duration of \
                 {duration}; end the faults earlier or make the run longer"
            ),
        );
    }
    Ok(())
}

fn check_topology(s: &Scenario) -> Checked {
    let t = &s.topology;
    let regions = t.regions.get_ref();
    if regions.is_empty() || regions.len() > 16 {
        return refuse(
            &t.regions,
            format!("{} regions; name from 1 to 16", regions.len()),
        );
    }
    for (i, name) in regions.iter().enumerate() {
        check_label(
            &Spanned::new(t.regions.span(), name.clone()),
            "the name of a region",
        )?;
        if regions[..i].contains(name) {
            return refuse(
                &t.regions,
                format!("region `{name}` is named twice; give each its own name"),
            );
        }
    }
    within(&t.hosts, "the number of hosts", 1, 100)?;
    within(&t.gateways, "the number of gateways", 1, 20)?;
    within(&t.gateway_actors, "the number of gateway actors", 1, 16)?;
    within(&t.zones, "the number of zones", 1, 10)?;
    within(&t.host_capacity, "the capacity of a host", 1, 1_000)?;
    let nodes = regions.len() as u32 * (1 + t.hosts.get_ref() + t.gateways.get_ref()) + 2;
    if nodes > NODES_MAX {
        return refuse(
            &t.hosts,
            format!(
                "the topology has {nodes} nodes; at most {NODES_MAX} are simulated, so use fewer \
                 hosts, gateways or regions"
            ),
        );
    }
    for (what, value) in [
        ("loss_per_million", s.network.loss_per_million),
        ("duplication_per_million", s.network.duplication_per_million),
    ] {
        if value > 200_000 {
            return refuse(
                &s.name,
                format!("network.{what} is {value}; choose at most 200000 (one in five)"),
            );
        }
    }
    let [low, high] = s.network.between_regions;
    let [fast, slow] = s.disks.fsync;
    if low > high || fast > slow {
        return refuse(
            &s.name,
            "network.between_regions and disks.fsync are [least, most]; swap the two".into(),
        );
    }
    if s.clocks.drift_ppm > 10_000 {
        return refuse(
            &s.name,
            format!(
                "clocks.drift_ppm is {}; choose at most 10000",
                s.clocks.drift_ppm
            ),
        );
    }
    Ok(())
}

fn check_regions(s: &Scenario, named: &Spanned<Vec<String>>) -> Checked {
    let known = s.topology.regions.get_ref();
    match named.get_ref().iter().find(|r| !known.contains(r)) {
        None => Ok(()),
        Some(r) => refuse(
            named,
            format!(
                "there is no region `{r}`; the topology has {}",
                known.join(", ")
            ),
        ),
    }
}

fn check_apps(s: &Scenario) -> Checked {
    if s.apps.is_empty() || s.apps.len() > 256 {
        return refuse(
            &s.name,
            format!(
                "the scenario has {} apps; give it from 1 to 256 [[apps]]",
                s.apps.len()
            ),
        );
    }
    for (i, app) in s.apps.iter().enumerate() {
        check_label(&app.name, "the name of the app")?;
        if s.apps[..i].iter().any(|a| a.name == app.name) {
            let name = app.name.get_ref();
            return refuse(
                &app.name,
                format!("a second app is called `{name}`; rename it"),
            );
        }
        check_tenants(s, app)?;
        check_regions(s, &app.regions)?;
        within(&app.instances_max, "instances_max", 1, 100)?;
        within(&app.concurrency, "concurrency", 1, 10_000)?;
        within(&app.workers, "workers", 1, 10_000)?;
        if app.service > Span::seconds(50) {
            return refuse(
                &app.name,
                format!(
                    "the app's service time is {}; choose at most 50s",
                    app.service
                ),
            );
        }
    }
    Ok(())
}

/// Apps of a scenario, all tenants counted.
const APPS_MAX: u32 = 256;

fn check_tenants(s: &Scenario, app: &App) -> Checked {
    let Some(tenants) = &app.tenants else {
        return Ok(());
    };
    within(tenants, "the number of tenants", 1, APPS_MAX)?;
    let name = app.name.get_ref();
    if name.len() > 36 {
        return refuse(
            &app.name,
            format!("`{name}` is too long a name for tenants; use at most 36 characters"),
        );
    }
    let theirs = |other: &str| {
        let number = other.strip_prefix(name).and_then(|n| n.strip_prefix('-'));
        number.is_some_and(|n| n.parse::<u32>().is_ok())
    };
    if let Some(other) = s.apps.iter().find(|a| theirs(a.name.get_ref())) {
        return refuse(
            &other.name,
            format!(
                "`{}` is the name of a tenant; rename it",
                other.name.get_ref()
            ),
        );
    }
    let of = |a: &App| a.tenants.as_ref().map_or(1, |t| *t.get_ref());
    let all = s.apps.iter().map(of).fold(0, u32::saturating_add);
    if all > APPS_MAX {
        return refuse(
            tenants,
            format!("{all} apps with all tenants; stay at {APPS_MAX} or below"),
        );
    }
    Ok(())
}

fn check_app(s: &Scenario, name: &Spanned<String>) -> Checked {
    if s.apps.iter().any(|a| a.name.get_ref() == name.get_ref()) {
        return Ok(());
    }
    let known: Vec<&str> = s.apps.iter().map(|a| a.name.get_ref().as_str()).collect();
    refuse(
        name,
        format!(
            "there is no app `{}`; the scenario has {}",
            name.get_ref(),
            known.join(", ")
        ),
    )
}

fn check_operations(s: &Scenario) -> Checked {
    for op in &s.operations {
        check_app(s, &op.app)?;
        if op.at.get_ref() >= s.duration.get_ref() {
            return refuse(
                &op.at,
                format!(
                    "the operation comes at {}, after the end of the run; do it earlier",
                    op.at.get_ref()
                ),
            );
        }
        if let Some(scaled) = &op.instances_max {
            within(scaled, "instances_max", 1, 100)?;
            if op.what != Action::Deploy {
                return refuse(
                    scaled,
                    "only a deploy changes how far an app scales; remove `instances_max`".into(),
                );
            }
        }
        let settled = Span(s.faults_end.get_ref().0);
        if op.what == Action::Deploy && *op.at.get_ref() > settled {
            return refuse(
                &op.at,
                format!(
                    "a deploy at {} has no time to end before liveness is judged; deploy before \
                     faults_end ({settled})",
                    op.at.get_ref()
                ),
            );
        }
    }
    Ok(())
}

fn check_random_faults(s: &Scenario) -> Checked {
    let Some(random) = &s.random_faults else {
        return Ok(());
    };
    within(&random.count, "the count of random faults", 1, 1_000)?;
    let (from, longest) = (random.from.get_ref(), random.longest.get_ref());
    if longest.0 == 0 || from.0 + longest.0 >= s.faults_end.get_ref().0 {
        return refuse(
            &random.longest,
            "random faults must fit between `from` and faults_end; shorten `longest` or begin \
             earlier"
                .into(),
        );
    }
    if random.kinds.is_empty() {
        return refuse(
            &random.count,
            "random faults need at least one of `kinds`; add it".into(),
        );
    }
    Ok(())
}
