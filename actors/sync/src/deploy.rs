//! How a deploy goes on: an explicit machine of steps, decided as a pure function.
//!
//! DISTRIBUTE until every edge that can be reached holds the artifact, PROVE until one
//! instance of a program is healthy, then the cutover. Each step is one commit to the main
//! store, so a crash between two of them loses nothing; what is kept beside the record (when
//! the step began, what the scheduler answered) begins anew with a new life of sync, which
//! only makes a deadline later. An edge or a region that cannot be reached is not waited
//! for: it guards itself, by adopting no route whose version it has not verified.
//!
//! Every deploy ends: each step has a deadline, and a newer push, or the removal of the
//! project, ends it at once.

use serde::{Deserialize, Serialize};
use tidegate_kernel::{Duration, Now, Time};
use tidegate_protocol::{
    Address, AppKind, DeployRecord, DeployStep, Key, ProjectRecord, Record, VersionSpec,
    WakeOutcome, WakeReply, limits,
};

use crate::main_view::{MainView, is_final};
use crate::projection::{is_projected, may_run_in};
use crate::region::Region;

/// How long the steps may take, and how often the scheduler is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) distribute_timeout: Duration,
    pub(crate) prove_timeout: Duration,
    pub(crate) wake_every: Duration,
    pub(crate) region_grace: Duration,
}

/// Wakes without success to one region before the next one is tried.
const WAKES_PER_REGION: u32 = 3;
/// Beyond an instance's own start timeout, what its placement and health check may take.
const PROVE_MARGIN: Duration = Duration::from_secs(30);

/// What is known of a deploy besides its record; lost in a crash.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) step: DeployStep,
    /// When this life first saw the step.
    since: Time,
    wake_at: Time,
    /// Which of the regions that may run it is asked.
    turn: usize,
    /// Wakes in a row that brought no instance on its way.
    unsuccessful: u32,
    answered: Option<WakeOutcome>,
    failed: Option<(String, String)>,
    /// Why the last start did not get as far as running its program.
    kept_from: Option<String>,
}

/// What to do with a deploy now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    Wait,
    /// Ask this scheduler for one instance.
    Wake(Address),
    Step {
        step: DeployStep,
        reason: String,
        log_tail: String,
    },
    /// LIVE with the traffic, or READY behind the latch.
    CutOver,
}

impl Action {
    fn step(step: DeployStep, reason: impl Into<String>) -> Self {
        Action::Step {
            step,
            reason: reason.into(),
            log_tail: String::new(),
        }
    }
}

impl Progress {
    pub(crate) fn new(now: Now, step: DeployStep) -> Self {
        Self {
            step,
            since: now.mono,
            wake_at: now.mono,
            turn: 0,
            unsuccessful: 0,
            answered: None,
            failed: None,
            kept_from: None,
        }
    }

    pub(crate) fn on_wake_reply(&mut self, reply: WakeReply) {
        let outcome = reply.outcome();
        self.answered = Some(outcome);
        // What failed before the program ran says nothing about the version: another start
        // may do better, until the time to prove it is over.
        if outcome == WakeOutcome::Failed && reply.before_start {
            self.kept_from = Some(bounded(&reply.reason, REASON_BYTES_MAX));
        } else if outcome == WakeOutcome::Failed {
            let reason = bounded(&reply.reason, REASON_BYTES_MAX);
            let log_tail = bounded(&reply.log_tail, limits::LOG_TAIL_BYTES_MAX);
            self.failed = Some((reason, log_tail));
        }
    }

    /// Chooses the region for the next wake.
    fn count_wake(&mut self) {
        match self.answered.take() {
            Some(WakeOutcome::Coming | WakeOutcome::Full) => self.unsuccessful = 0,
            Some(WakeOutcome::NoCapacity) => self.next_region(),
            _ => {
                self.unsuccessful += 1;
                if self.unsuccessful > WAKES_PER_REGION {
                    self.next_region();
                }
            }
        }
    }

    fn next_region(&mut self) {
        self.turn += 1;
        self.unsuccessful = 1;
    }
}

/// What decisions are made from.
pub(crate) struct Situation<'a> {
    pub(crate) now: Now,
    pub(crate) main: &'a MainView,
    pub(crate) regions: &'a [&'a Region],
    pub(crate) pace: Pace,
}

impl Situation<'_> {
    pub(crate) fn decide(&self, deploy: &DeployRecord, progress: &mut Progress) -> Action {
        let project = self.main.projects.get(&deploy.project);
        if project.is_none_or(|p| p.removed) {
            return Action::step(DeployStep::Failed, "the project was removed");
        }
        let Some(spec) = self.main.versions.get(&deploy.version) else {
            return Action::step(DeployStep::Failed, "its version is gone");
        };
        if let Some(newer) = self.newer(spec) {
            let reason = format!("{}@{newer} was deployed after it", spec.project);
            return Action::step(DeployStep::Superseded, reason);
        }
        let age = self.now.mono.since(progress.since);
        match deploy.step() {
            DeployStep::Distribute => self.distribute(spec, age),
            _ => self.prove(spec, progress, age),
        }
    }

    /// A later version of the project that did not fail. It has the last word, whether or
    /// not it has arrived, and whatever was activated since.
    fn newer(&self, spec: &VersionSpec) -> Option<u32> {
        let newest_first = self.main.numbers_of(&spec.project).rev();
        let mut later = newest_first.take_while(|(number, _)| *number > spec.number);
        let (number, _) = later.find(|(_, id)| self.main.step_of(*id) != DeployStep::Failed)?;
        Some(number)
    }

    fn distribute(&self, spec: &VersionSpec, age: Duration) -> Action {
        match self.lacking(spec) {
            None if spec.kind() == AppKind::Program => Action::step(DeployStep::Prove, ""),
            None => Action::CutOver,
            Some(reason) if age >= self.pace.distribute_timeout => {
                Action::step(DeployStep::Failed, reason)
            }
            Some(_) => Action::Wait,
        }
    }

    /// What keeps the version from being everywhere that can be reached.
    fn lacking(&self, spec: &VersionSpec) -> Option<String> {
        let mut acked = false;
        for region in self.regions {
            if !region.live {
                let known_for = self.now.mono.since(region.known_since);
                if !region.mirror.is_loaded() && known_for < self.pace.region_grace {
                    return Some(format!("region {} was not reached", region.name));
                }
                continue;
            }
            if !is_projected(&region.view, &region.name, spec) {
                return Some(format!(
                    "the store of region {} did not take it",
                    region.name
                ));
            }
            for (node, edge) in region.view.live_gateways() {
                if !region.view.has_acked(node, spec) {
                    return Some(format!("edge {} did not fetch the artifact", edge.name));
                }
                acked = true;
            }
        }
        (!acked).then(|| "no edge could be reached".to_owned())
    }

    fn prove(&self, spec: &VersionSpec, progress: &mut Progress, age: Duration) -> Action {
        if self.regions.iter().any(|r| is_running(r, spec.id)) {
            return Action::CutOver;
        }
        if let Some((reason, log_tail)) = progress.failed.clone() {
            return Action::Step {
                step: DeployStep::Failed,
                reason,
                log_tail,
            };
        }
        let own = Duration::from_millis(2 * spec.start_timeout_ms) + PROVE_MARGIN;
        if age >= self.pace.prove_timeout.max(own) {
            let reason = progress.kept_from.take();
            return Action::step(
                DeployStep::Failed,
                reason.unwrap_or_else(|| self.unproved(spec)),
            );
        }
        if self.now.mono < progress.wake_at {
            return Action::Wait;
        }
        progress.wake_at = self.now.mono + self.pace.wake_every;
        progress.count_wake();
        let schedulers = self.schedulers(spec);
        match schedulers.len() {
            0 => Action::Wait,
            len => Action::Wake(schedulers[progress.turn % len]),
        }
    }

    fn unproved(&self, spec: &VersionSpec) -> String {
        let reached = self
            .regions
            .iter()
            .any(|r| r.live && may_run_in(spec, &r.name));
        if reached {
            "did not become healthy in time".to_owned()
        } else {
            "no region that may run it could be reached".to_owned()
        }
    }

    /// Active schedulers of the live regions that may run it: in the order of the version's
    /// regions, else by name.
    fn schedulers(&self, spec: &VersionSpec) -> Vec<Address> {
        let able = |r: &&&Region| r.live && may_run_in(spec, &r.name);
        let mut regions: Vec<&Region> = self.regions.iter().filter(able).copied().collect();
        regions.sort_by_key(|r| spec.regions.iter().position(|name| *name == r.name));
        regions.iter().filter_map(|r| r.view.scheduler()).collect()
    }
}

fn is_running(region: &Region, version: u64) -> bool {
    let running = tidegate_protocol::SlotState::Running;
    region.mirror.is_loaded() && region.view.slots_of(version).any(|s| s.state() == running)
}

/// What a step writes to the main store.
pub(crate) fn step_records(
    deploy: &DeployRecord,
    step: DeployStep,
    reason: String,
    log_tail: String,
) -> Vec<(Key, Option<Record>)> {
    let record = DeployRecord {
        step: step.into(),
        reason,
        log_tail,
        ..deploy.clone()
    };
    vec![(Key::Deploy(deploy.version), Some(Record::Deploy(record)))]
}

/// What the cutover writes. Behind the latch the project is written as it is: whoever
/// activates something meanwhile has to see that there is one more version.
pub(crate) fn cutover_records(
    deploy: &DeployRecord,
    project: &ProjectRecord,
) -> Vec<(Key, Option<Record>)> {
    let mut project = project.clone();
    let mut deploy = deploy.clone();
    if project.latched {
        deploy.step = DeployStep::Ready.into();
    } else {
        project.active = deploy.version;
        project.epoch += 1;
        deploy.step = DeployStep::Live.into();
        deploy.epoch = project.epoch;
    }
    debug_assert!(is_final(deploy.step()));
    vec![
        (Key::Deploy(deploy.version), Some(Record::Deploy(deploy))),
        (
            Key::Project(project.name.clone()),
            Some(Record::Project(project)),
        ),
    ]
}

/// Bytes of a reason that is stored.
const REASON_BYTES_MAX: usize = 1024;

/// The end of a text, at most so many bytes.
fn bounded(text: &str, bytes_max: usize) -> String {
    let mut start = text.len().saturating_sub(bytes_max);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_keeps_its_end_and_whole_characters() {
        assert_eq!(bounded("ab", 2), "ab");
        assert_eq!(bounded("ab", 1), "b");
        assert_eq!(bounded("aéb", 2), "b");
        assert_eq!(bounded("aé", 1), "");
    }

    #[test]
    fn the_next_region_is_asked_when_this_one_has_no_room_or_stays_silent() {
        let mut progress = Progress::new(Now::at_ms(0), DeployStep::Prove);
        let mut after = |answered| {
            progress.answered = answered;
            progress.count_wake();
            (progress.turn, progress.unsuccessful)
        };
        for unsuccessful in 1..=WAKES_PER_REGION {
            assert_eq!(after(None), (0, unsuccessful));
        }
        assert_eq!(after(Some(WakeOutcome::Coming)), (0, 0));
        for unsuccessful in 1..=WAKES_PER_REGION {
            assert_eq!(after(None), (0, unsuccessful));
        }
        assert_eq!(after(None), (1, 1));
        assert_eq!(after(Some(WakeOutcome::Full)), (1, 0));
        assert_eq!(after(Some(WakeOutcome::NoCapacity)), (2, 1));
    }
}
