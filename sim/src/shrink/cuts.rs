//! Every single thing that can be taken away from a plan, largest first.
//!
//! A cut is a whole new plan. The list is long but cheap: what costs is the run.

use crate::scenario::{Scenario, Target};
use crate::shrink::simpler;

/// All cuts of a plan that change something, each with what it does.
pub(super) fn all(plan: &Scenario, guarantee: u8) -> Vec<(String, Scenario)> {
    let mut list = List {
        plan,
        text: plan.to_toml(),
        cuts: Vec::new(),
    };
    list.durations(guarantee);
    list.regions();
    list.parts("apps", plan.apps.len(), without_apps);
    list.parts("faults", plan.faults.len(), |s, keep| {
        retain(&mut s.faults, keep);
    });
    list.parts("operations", plan.operations.len(), |s, keep| {
        retain(&mut s.operations, keep);
    });
    list.parts("traffic", plan.traffic.len(), |s, keep| {
        retain(&mut s.traffic, keep);
    });
    list.machines();
    for (name, simplify) in simpler::ALL {
        list.offer(name, simplify);
    }
    for fault in 0..plan.faults.len() {
        for (name, simplify) in simpler::OF_A_FAULT {
            list.offer(&format!("fault {fault}: {name}"), |s| {
                simplify(&mut s.faults[fault]);
            });
        }
    }
    for app in 0..plan.apps.len() {
        for (name, simplify) in simpler::OF_AN_APP {
            list.offer(&format!("app {app}: {name}"), |s| {
                simplify(&mut s.apps[app]);
            });
        }
    }
    for traffic in 0..plan.traffic.len() {
        for (name, simplify) in simpler::OF_TRAFFIC {
            list.offer(&format!("traffic {traffic}: {name}"), |s| {
                simplify(&mut s.traffic[traffic]);
            });
        }
    }
    list.earlier();
    list.cuts
}

struct List<'a> {
    plan: &'a Scenario,
    text: String,
    cuts: Vec<(String, Scenario)>,
}

impl List<'_> {
    fn offer(&mut self, name: &str, cut: impl FnOnce(&mut Scenario)) {
        let mut candidate = self.plan.clone();
        cut(&mut candidate);
        if candidate.to_toml() != self.text {
            self.cuts.push((name.to_owned(), candidate));
        }
    }

    /// The run ends where the bug was seen, and faults end with the last of them.
    fn durations(&mut self, guarantee: u8) {
        let seen = super::seen_at(self.plan.bug.as_ref());
        self.offer("nothing after the bug", |s| simpler::end_at(s, seen));
        let of_liveness = matches!(guarantee, 11..=14);
        self.offer("faults end with the last", |s| {
            simpler::end_faults_early(s, of_liveness);
        });
        self.offer("little time after all has to be well", |s| {
            simpler::end_soon_after_well(s);
        });
    }

    fn regions(&mut self) {
        let names = self.plan.topology.regions.get_ref().clone();
        if names.len() < 2 {
            return;
        }
        for name in names {
            self.offer(&format!("region {name}"), |s| without_region(s, &name));
        }
    }

    /// Leaves out a half, a quarter, ... of a list, down to single entries.
    fn parts(
        &mut self,
        name: &str,
        count: usize,
        cut: impl Fn(&mut Scenario, &dyn Fn(usize) -> bool),
    ) {
        let mut size = count;
        while size > 0 {
            for from in (0..count).step_by(size) {
                let part = from..(from + size).min(count);
                self.offer(&format!("{name} {} to {}", part.start, part.end), |s| {
                    cut(s, &|i| !part.contains(&i));
                });
            }
            size /= 2;
        }
    }

    fn machines(&mut self) {
        let t = &self.plan.topology;
        let (hosts, gateways) = (*t.hosts.get_ref(), *t.gateways.get_ref());
        for fewer in fewer(hosts) {
            self.offer(&format!("{fewer} hosts"), |s| {
                *s.topology.hosts.get_mut() = fewer;
                retarget(s);
            });
        }
        for fewer in fewer(gateways) {
            self.offer(&format!("{fewer} gateways"), |s| {
                *s.topology.gateways.get_mut() = fewer;
                retarget(s);
            });
        }
    }

    /// Everything before the bug comes sooner.
    fn earlier(&mut self) {
        for percent in [50, 80] {
            self.offer(&format!("moments at {percent} %"), |s| {
                simpler::scale_times(s, percent);
            });
        }
    }
}

/// Fewer than this many, the boldest first.
fn fewer(count: u32) -> impl Iterator<Item = u32> {
    let mut tried = vec![1, count / 2, count - 1];
    tried.retain(|n| (1..count).contains(n));
    tried.dedup();
    tried.into_iter()
}

fn retain<T>(list: &mut Vec<T>, keep: &dyn Fn(usize) -> bool) {
    let mut index = 0;
    list.retain(|_| {
        index += 1;
        keep(index - 1)
    });
}

fn without_apps(s: &mut Scenario, keep: &dyn Fn(usize) -> bool) {
    retain(&mut s.apps, keep);
    let apps = &s.apps;
    let known = |name: &str| apps.iter().any(|a| a.name.get_ref() == name);
    s.operations.retain(|op| known(op.app.get_ref()));
    s.traffic.retain(|t| known(t.app.get_ref()));
}

fn without_region(s: &mut Scenario, name: &str) {
    let gone = |target: &Target| target.region() == Some(name);
    s.topology.regions.get_mut().retain(|r| r != name);
    s.faults.retain(|f| {
        !gone(f.target.get_ref()) && !f.against.as_ref().is_some_and(|a| gone(a.get_ref()))
    });
    for app in &mut s.apps {
        app.regions.get_mut().retain(|r| r != name);
    }
    for traffic in &mut s.traffic {
        traffic.regions.get_mut().retain(|r| r != name);
    }
}

/// Faults of machines that are gone strike the first of their kind instead.
fn retarget(s: &mut Scenario) {
    let (hosts, gateways) = (*s.topology.hosts.get_ref(), *s.topology.gateways.get_ref());
    let settle = |target: &mut Target| match target {
        Target::Hosts(_, Some(n)) if *n >= hosts => *n = 0,
        Target::Gateways(_, Some(n)) if *n >= gateways => *n = 0,
        _ => {}
    };
    for fault in &mut s.faults {
        settle(fault.target.get_mut());
        if let Some(against) = &mut fault.against {
            settle(against.get_mut());
        }
    }
}
