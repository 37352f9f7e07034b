//! Many tenants from one entry: apps that differ only in name and popularity.
//!
//! Afterwards each is a plain app with traffic of its own, so that nothing else has to know
//! of groups, and a shrinker can take tenants away one by one.

use tidegate_kernel::Seed;
use toml::Spanned;

use crate::scenario::{App, Scenario, Traffic};

/// Popularity when traffic does not say how uneven it is.
const ZIPF: f64 = 1.0;

/// Replaces each app with tenants by its tenants.
pub(super) fn expand(scenario: &mut Scenario, seed: Seed) {
    let groups: Vec<(String, u32)> = scenario
        .apps
        .iter()
        .filter_map(|a| Some((a.name.get_ref().clone(), *a.tenants.as_ref()?.get_ref())))
        .collect();
    if groups.is_empty() {
        return;
    }
    let size = |app: &str| groups.iter().find(|(name, _)| name == app).map(|g| g.1);
    scenario.apps = scenario.apps.iter().flat_map(tenants_of).collect();
    scenario.traffic = scenario
        .traffic
        .iter()
        .flat_map(|t| match size(t.app.get_ref()) {
            Some(count) => shares_of(t, count),
            None => vec![t.clone()],
        })
        .collect();
    for (i, op) in (0..).zip(&mut scenario.operations) {
        if let Some(count) = size(op.app.get_ref()) {
            let mut rng = seed.derive(op.app.get_ref()).derive_index(i).rng();
            let tenant = rng.below(u64::from(count)) as u32;
            op.app = named(&op.app, tenant);
        }
    }
}

fn named(app: &Spanned<String>, tenant: u32) -> Spanned<String> {
    Spanned::new(app.span(), format!("{}-{tenant}", app.get_ref()))
}

fn tenants_of(app: &App) -> Vec<App> {
    let Some(count) = &app.tenants else {
        return vec![app.clone()];
    };
    (0..*count.get_ref())
        .map(|tenant| App {
            name: named(&app.name, tenant),
            tenants: None,
            ..app.clone()
        })
        .collect()
}

/// The traffic of each tenant; together it is that of the group.
fn shares_of(traffic: &Traffic, count: u32) -> Vec<Traffic> {
    let zipf = traffic.zipf.as_ref().map_or(ZIPF, |z| *z.get_ref());
    let weight = |tenant: u32| libm::pow(f64::from(tenant + 1), -zipf);
    let all: f64 = (0..count).map(weight).sum();
    (0..count)
        .map(|tenant| {
            let share = weight(tenant) / all;
            let rate = traffic.per_second.get_ref() * share;
            let clients = traffic.clients.as_ref().map(|clients| {
                let theirs = f64::from(*clients.get_ref()) * share;
                Spanned::new(clients.span(), libm::ceil(theirs) as u32)
            });
            Traffic {
                app: named(&traffic.app, tenant),
                per_second: Spanned::new(traffic.per_second.span(), rate),
                clients,
                zipf: None,
                ..traffic.clone()
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANY: &str = r#"name = "many"
about = "Many tenants."
duration = "5m"
faults_end = "100s"
[topology]
regions = ["syd"]
hosts = 2
gateways = 1
[[apps]]
name = "solo"
[[apps]]
name = "shop"
tenants = 4
[[operations]]
at = "60s"
do = "deploy"
app = "shop"
[[traffic]]
app = "shop"
per_second = 50.0
from = "30s"
zipf = 1.0
"#;

    #[test]
    fn a_group_becomes_plain_apps_whose_popularity_falls() {
        let scenario = Scenario::parse("t", MANY).unwrap();
        let expanded = super::super::expand(&scenario, Seed(1));
        let names: Vec<&str> = expanded
            .apps
            .iter()
            .map(|a| a.name.get_ref().as_str())
            .collect();
        assert_eq!(names, ["solo", "shop-0", "shop-1", "shop-2", "shop-3"]);
        let rates: Vec<f64> = expanded
            .traffic
            .iter()
            .map(|t| *t.per_second.get_ref())
            .collect();
        assert!((rates.iter().sum::<f64>() - 50.0).abs() < 1e-9, "{rates:?}");
        assert!((rates[0] - 4.0 * rates[3]).abs() < 1e-9, "{rates:?}");
        assert!(expanded.operations[0].app.get_ref().starts_with("shop-"));
        assert!(expanded.validate().is_ok());
        assert_eq!(
            super::super::expand(&expanded, Seed(2)).to_toml(),
            expanded.to_toml()
        );
    }

    #[test]
    fn an_even_group_shares_evenly() {
        let text = MANY.replace("zipf = 1.0", "zipf = 0.0");
        let scenario = Scenario::parse("t", &text).unwrap();
        let expanded = super::super::expand(&scenario, Seed(1));
        let even = |t: &Traffic| (*t.per_second.get_ref() - 12.5).abs() < 1e-9;
        assert!(expanded.traffic.iter().all(even));
    }
}
