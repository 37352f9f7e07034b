//! Guarantee 2: no request reaches a version that its host name did not resolve to in some
//! whole epoch.
//!
//! Judged where requests arrive: at the instance, or at the files that answer them. And at
//! each gateway actor: what it adopts must be an epoch of the main store, never an older one
//! than before, and what it decides about a request must be what it has adopted, so that no
//! request sees a mixture of two epochs.

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

use super::Findings;
use crate::clock::SimTime;

/// One epoch of an app: which version it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    pub epoch: u64,
    pub version: u64,
}

#[derive(Clone, Debug)]
struct Adopted {
    epoch: Epoch,
    at: SimTime,
    /// Versions of the epochs that it served just before, in the same step.
    former: Vec<u64>,
}

impl Adopted {
    /// Whether the gateway may decide for a version. In the step in which it adopts an
    /// epoch, it may have decided for the former one just before.
    fn allows(&self, version: u64, now: SimTime) -> bool {
        self.epoch.version == version || self.at == now && self.former.contains(&version)
    }
}

#[derive(Debug, Default)]
pub struct RightVersion {
    /// What each gateway actor has adopted of each app.
    adopted: IndexMap<(u32, u32), Adopted, FxBuildHasher>,
    pub checks: u64,
}

impl RightVersion {
    /// A gateway actor adopts an epoch of an app; `named` is the version that the main store
    /// gave that epoch.
    pub fn adopts(
        &mut self,
        gateway: u32,
        app: u32,
        epoch: Epoch,
        named: Option<u64>,
        findings: &mut Findings,
    ) {
        self.checks += 1;
        let Epoch { epoch: e, version } = epoch;
        if named != Some(version) {
            findings.violated(
                2,
                format!("a gateway adopted version {version} as epoch {e}, which names {named:?}"),
            );
        }
        let mut former = Vec::new();
        if let Some(served) = self.adopted.swap_remove(&(gateway, app)) {
            if served.epoch.epoch >= e {
                findings.violated(
                    2,
                    format!(
                        "a gateway went back from epoch {} to {e}",
                        served.epoch.epoch
                    ),
                );
            }
            if served.at == findings.at {
                former = served.former;
            }
            former.push(served.epoch.version);
        }
        let at = findings.at;
        self.adopted
            .insert((gateway, app), Adopted { epoch, at, former });
    }

    /// A gateway actor sends a request for an app to a version, for the first time.
    #[inline]
    pub fn decided(
        &mut self,
        gateway: u32,
        app: u32,
        host: &str,
        version: u64,
        findings: &mut Findings,
    ) {
        self.checks += 1;
        let adopted = self.adopted.get(&(gateway, app));
        if !adopted.is_some_and(|a| a.allows(version, findings.at)) {
            let serves = adopted.map(|a| a.epoch.version);
            findings.violated(
                2,
                format!(
                    "a request for {host} was sent to version {version} by a gateway that serves {serves:?}"
                ),
            );
        }
    }

    /// Somebody who asked for the instances of a project is shown one of a version; `of`: whose
    /// version that is, when it is known still.
    pub fn shown(
        &mut self,
        (project, version): (&str, u64),
        of: Option<&str>,
        findings: &mut Findings,
    ) {
        self.checks += 1;
        if let Some(other) = of.filter(|of| *of != project) {
            findings.violated(
                2,
                format!("a list of {project} shows version {version} of {other}"),
            );
        }
    }

    /// Somebody who asked for what a version of a project printed reads a line.
    pub fn read(
        &mut self,
        project: &str,
        version: u64,
        printed_by: Option<u64>,
        findings: &mut Findings,
    ) {
        self.checks += 1;
        if printed_by != Some(version) {
            findings.violated(
                2,
                format!(
                    "who reads version {version} of {project} is shown a line of {printed_by:?}"
                ),
            );
        }
    }

    /// Whether a gateway actor has adopted an epoch of the app in this life.
    pub fn has_adopted(&self, gateway: u32, app: u32) -> bool {
        self.adopted.contains_key(&(gateway, app))
    }

    /// A gateway actor was started anew.
    pub fn forget_gateway(&mut self, gateway: u32) {
        self.adopted.retain(|(g, _), _| *g != gateway);
    }

    /// A request for a host name is answered by a version.
    #[inline]
    pub fn reached(&mut self, host: &str, version: u64, resolved: bool, findings: &mut Findings) {
        self.checks += 1;
        if !resolved {
            findings.violated(
                2,
                format!(
                    "a request for {host} reached version {version}, which no epoch of it names"
                ),
            );
        }
    }

    /// The artifact that a gateway answers from must be the version's own.
    pub fn answered_from(&mut self, version: u64, own: bool, findings: &mut Findings) {
        self.checks += 1;
        if !own {
            findings.violated(
                2,
                format!("version {version} was answered from another artifact"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stray_request_is_found() {
        let (mut oracle, mut findings) = (RightVersion::default(), Findings::default());
        oracle.reached("a.example", 1, true, &mut findings);
        oracle.answered_from(1, true, &mut findings);
        assert_eq!(findings.count(2), 0);
        oracle.reached("a.example", 2, false, &mut findings);
        oracle.answered_from(1, false, &mut findings);
        assert_eq!(findings.count(2), 2);
    }

    #[test]
    fn what_is_shown_of_another_app_is_found() {
        let (mut oracle, mut findings) = (RightVersion::default(), Findings::default());
        oracle.shown(("shop", 4), Some("shop"), &mut findings);
        oracle.shown(("shop", 4), None, &mut findings);
        oracle.read("shop", 4, Some(4), &mut findings);
        assert_eq!(findings.count(2), 0);
        oracle.shown(("shop", 4), Some("shops"), &mut findings);
        oracle.read("shop", 4, Some(5), &mut findings);
        oracle.read("shop", 4, None, &mut findings);
        assert_eq!(findings.count(2), 3);
    }

    #[test]
    fn mixtures_and_steps_back_are_found() {
        let at = |epoch, version| Epoch { epoch, version };
        let check = |expected: u64, history: fn(&mut RightVersion, &mut Findings)| {
            let (mut oracle, mut findings) = (RightVersion::default(), Findings::default());
            oracle.adopts(1, 0, at(4, 7), Some(7), &mut findings);
            history(&mut oracle, &mut findings);
            assert_eq!(findings.count(2), expected, "{:?}", findings.kept());
        };
        check(0, |o, f| o.decided(1, 0, "a.example", 7, f));
        check(1, |o, f| o.decided(1, 0, "a.example", 6, f));
        check(1, |o, f| o.decided(2, 0, "a.example", 7, f));
        check(1, |o, f| {
            let older = Epoch {
                epoch: 3,
                version: 6,
            };
            o.adopts(1, 0, older, Some(6), f);
        });
        check(1, |o, f| {
            let invented = Epoch {
                epoch: 5,
                version: 8,
            };
            o.adopts(1, 0, invented, Some(7), f);
        });
    }

    #[test]
    fn a_step_that_adopts_may_have_decided_just_before() {
        for (now, expected) in [(0, 0), (1, 2)] {
            let (mut oracle, mut findings) = (RightVersion::default(), Findings::default());
            for (epoch, version) in [(4, 7), (5, 8), (6, 9)] {
                let adopted = Epoch { epoch, version };
                oracle.adopts(1, 0, adopted, Some(version), &mut findings);
            }
            findings.at = now;
            for version in [7, 8, 9] {
                oracle.decided(1, 0, "a.example", version, &mut findings);
            }
            assert_eq!(findings.count(2), expected);
        }
    }
}
