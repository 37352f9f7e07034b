//! What may not be said of clients: rates that no run could bear, and knobs that their kind of
//! arrivals does not read.

use toml::Spanned;

use super::{Checked, check_app, check_regions, refuse, within};
use crate::scenario::{App, Arrivals, Scenario, Span, Traffic};

pub(super) fn check_traffic(s: &Scenario) -> Checked {
    for t in &s.traffic {
        check_app(s, &t.app)?;
        check_regions(s, &t.regions)?;
        let rate = *t.per_second.get_ref();
        if !(rate > 0.0 && rate <= 100_000.0) {
            return refuse(
                &t.per_second,
                format!("per_second is {rate}; choose more than 0 and at most 100000"),
            );
        }
        let until = t
            .until
            .as_ref()
            .map_or(*s.duration.get_ref(), |u| *u.get_ref());
        if *t.from.get_ref() >= until {
            return refuse(
                &t.from,
                format!(
                    "traffic from {} to {until} never flows; begin it earlier",
                    t.from.get_ref()
                ),
            );
        }
        within(&t.retries, "the number of retries", 0, 20)?;
        check_arrivals(s, t)?;
        for spike in &t.spikes {
            if !(spike.times > 0.0 && rate * spike.times <= 1_000_000.0) {
                return refuse(
                    &spike.at,
                    format!(
                        "a spike of {} times {rate} per second; stay below a million per second",
                        spike.times
                    ),
                );
            }
        }
    }
    Ok(())
}

/// Each kind of arrivals has knobs of its own, and reads no other's.
fn check_arrivals(s: &Scenario, t: &Traffic) -> Checked {
    let kind = t.arrivals;
    let long = |span: &Option<Spanned<Span>>| {
        let span = span.as_ref().map(Spanned::get_ref);
        span.map(|s| *s >= Span::millis(1))
    };
    let knobs = [
        (
            "clients",
            t.clients
                .as_ref()
                .map(|n| (1..=100_000).contains(n.get_ref())),
            kind == Arrivals::Closed,
        ),
        ("on", long(&t.on), kind == Arrivals::OnOff),
        ("off", long(&t.off), kind == Arrivals::OnOff),
        ("period", long(&t.period), kind == Arrivals::Diurnal),
    ];
    for (knob, given, read) in knobs {
        let (name, app) = (kind.name(), &t.app);
        match (given, read) {
            (None, true) => {
                return refuse(app, format!("{name} arrivals need `{knob}`; add it"));
            }
            (Some(_), false) => {
                let text = format!("{name} arrivals have no use for `{knob}`; remove it");
                return refuse(app, text);
            }
            (Some(false), true) => {
                let text = format!(
                    "`{knob}` is out of range; choose from 1 to 100000 clients, and lengths of \
                     at least 1ms"
                );
                return refuse(app, text);
            }
            (Some(true), true) | (None, false) => {}
        }
    }
    let Some(zipf) = &t.zipf else {
        return Ok(());
    };
    let tenants = |a: &App| a.name.get_ref() == t.app.get_ref() && a.tenants.is_some();
    if !s.apps.iter().any(tenants) || !(0.0..=4.0).contains(zipf.get_ref()) {
        return refuse(
            zipf,
            "zipf is from 0 to 4, and for an app with `tenants`; change or remove it".into(),
        );
    }
    Ok(())
}
