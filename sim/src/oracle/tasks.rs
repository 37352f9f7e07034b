//! Guarantee 5: a task's effect happens once, whatever crashes between; a task is never
//! lost, and dead ones are listed.
//!
//! The durable tasks are deploys (a record that goes from step to step to one end), the
//! removal of projects, and the acknowledgements of edges. They are judged by what the
//! stores durably take, one commit at a time and in its order, whoever wrote it: which steps
//! follow each other, that each activation begins exactly one epoch and each epoch has one
//! activation, that no identifier is given twice, that no step is skipped, and that nothing
//! leaves a store before its work is done. That acknowledged deploys stay recorded is judged
//! by `durable`, that they end by `progress`.
//!
//! The oracle keeps its own account of what was written, and never reads what an actor
//! believes. It costs a few lookups for each write of these records, and one comparison for
//! any other.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_protocol::{
    AppKind, DeployRecord, DeployStep, Key, ProjectRecord, Record, SlotState, VersionSpec,
};

use super::Findings;
use crate::ledger::Written;

/// Versions of a project that stay recorded at the least.
const RECORDED_MIN: usize = 100;

#[derive(Debug, Default)]
pub struct Tasks {
    deploys: BTreeMap<u64, DeployRecord>,
    programs: BTreeSet<u64>,
    /// Highest version that was ever made.
    last_version: u64,
    /// Projects that are being removed.
    removing: BTreeSet<String>,
    /// Highest epoch that each name ever had.
    epochs: BTreeMap<String, u64>,
    /// Which version each epoch of a name sends traffic to.
    named: BTreeMap<(String, u64), u64>,
    /// Versions that some edge has acknowledged, and that ran somewhere, ever.
    acked: BTreeSet<u64>,
    ran: BTreeSet<u64>,
    /// Versions that each partition holds.
    held: BTreeSet<(usize, u64)>,
    pub checks: u64,
}

fn is_final(step: DeployStep) -> bool {
    use DeployStep::{Failed, Live, Ready, Superseded};
    matches!(step, Live | Ready | Superseded | Failed)
}

/// Whether a deploy may go from one step to another.
fn may_follow(from: DeployStep, to: DeployStep) -> bool {
    use DeployStep::{Distribute, Live, Prove, Ready};
    match from {
        Distribute => to != DeployStep::Unspecified,
        Prove => to == Prove || is_final(to),
        // Behind the latch, or left for another version: an activation brings it back.
        Live | Ready => to == from || to == Live,
        _ => to == from,
    }
}

impl Tasks {
    /// The main store took a commit.
    pub fn on_main(&mut self, commit: &[Written], findings: &mut Findings) {
        let mut wrong = Vec::new();
        for written in commit {
            match (&written.key, &written.before, &written.after) {
                (Key::Version(_), before, Some(Record::Version(spec))) => {
                    self.on_version(spec, before.as_ref(), &mut wrong);
                }
                (Key::Deploy(_), before, Some(Record::Deploy(deploy))) => {
                    let before = match before {
                        Some(Record::Deploy(before)) => Some(before),
                        _ => None,
                    };
                    self.on_deploy(deploy, before, commit, &mut wrong);
                }
                (Key::Deploy(id), Some(Record::Deploy(before)), None) => {
                    self.on_deploy_gone(*id, before, &mut wrong);
                }
                (Key::Project(_), before, Some(Record::Project(project))) => {
                    let before = match before {
                        Some(Record::Project(before)) => Some(before),
                        _ => None,
                    };
                    self.on_project(project, before, commit, &mut wrong);
                }
                (Key::Project(name), Some(Record::Project(before)), None) => {
                    self.on_project_gone(name, before, &mut wrong);
                }
                _ => {}
            }
        }
        for text in wrong {
            findings.violated(5, text);
        }
    }

    fn on_version(&mut self, spec: &VersionSpec, before: Option<&Record>, wrong: &mut Vec<String>) {
        self.checks += 1;
        if before.is_some() {
            wrong.push(format!("version {} was made a second time", spec.id));
        } else if spec.id <= self.last_version {
            wrong.push(format!(
                "version {} was made after version {}",
                spec.id, self.last_version
            ));
        }
        self.last_version = self.last_version.max(spec.id);
        if spec.kind() == AppKind::Program {
            self.programs.insert(spec.id);
        }
    }

    fn on_deploy(
        &mut self,
        deploy: &DeployRecord,
        before: Option<&DeployRecord>,
        commit: &[Written],
        wrong: &mut Vec<String>,
    ) {
        self.checks += 1;
        let (id, step) = (deploy.version, deploy.step());
        let name = step.as_str_name();
        match before {
            None => self.on_new_deploy(deploy, commit, wrong),
            Some(before) if !may_follow(before.step(), step) => wrong.push(format!(
                "deploy {id} went from step {} to {name}",
                before.step().as_str_name()
            )),
            Some(before) if before.step() == step && step != DeployStep::Live => {
                if before != deploy {
                    wrong.push(format!("deploy {id} changed within step {name}"));
                }
            }
            Some(before) => {
                self.on_step(deploy, before, wrong);
                if step == DeployStep::Live {
                    judge_activation(deploy, before, commit, wrong);
                }
                if step == DeployStep::Ready {
                    judge_latch(deploy, commit, wrong);
                }
            }
        }
        self.deploys.insert(id, deploy.clone());
    }

    fn on_new_deploy(&self, deploy: &DeployRecord, commit: &[Written], wrong: &mut Vec<String>) {
        let id = deploy.version;
        if deploy.step() != DeployStep::Distribute {
            let step = deploy.step().as_str_name();
            wrong.push(format!("deploy {id} began in step {step}"));
        }
        let made = |w: &Written| w.key == Key::Version(id) && w.after.is_some();
        if !commit.iter().any(made) {
            wrong.push(format!("deploy {id} began without its version"));
        }
        let key = &deploy.idempotency_key;
        let same = |d: &&DeployRecord| d.project == deploy.project && d.idempotency_key == *key;
        if !key.is_empty()
            && let Some(other) = self.deploys.values().find(same)
        {
            wrong.push(format!(
                "one push made the versions {} and {id} of {}",
                other.version, deploy.project
            ));
        }
    }

    /// A deploy goes on to another step.
    fn on_step(&self, deploy: &DeployRecord, before: &DeployRecord, wrong: &mut Vec<String>) {
        let id = deploy.version;
        let step = deploy.step();
        match step {
            DeployStep::Failed | DeployStep::Superseded if deploy.reason.is_empty() => {
                let step = step.as_str_name();
                wrong.push(format!("deploy {id} ended as {step} and says not why"));
            }
            DeployStep::Superseded if self.later(deploy).next().is_none() => {
                wrong.push(format!("deploy {id} was superseded by nothing"));
            }
            DeployStep::Prove | DeployStep::Live | DeployStep::Ready
                if !self.acked.contains(&id) =>
            {
                wrong.push(format!("deploy {id} went on before any edge held it"));
            }
            DeployStep::Live | DeployStep::Ready if !is_final(before.step()) => {
                if self.programs.contains(&id) && !self.ran.contains(&id) {
                    wrong.push(format!("deploy {id} arrived, and never ran"));
                }
                let stands = |d: &&DeployRecord| d.step() != DeployStep::Failed;
                if let Some(newer) = self.later(deploy).find(stands) {
                    let newer = newer.version;
                    wrong.push(format!("deploy {id} arrived after {newer} was pushed"));
                }
            }
            _ => {}
        }
    }

    /// Later pushes of the same project.
    fn later<'a>(&'a self, deploy: &'a DeployRecord) -> impl Iterator<Item = &'a DeployRecord> {
        let later = self.deploys.range(deploy.version + 1..);
        let later = later.map(|(_, d)| d);
        later.filter(|d| d.project == deploy.project)
    }

    fn on_deploy_gone(&mut self, id: u64, before: &DeployRecord, wrong: &mut Vec<String>) {
        self.checks += 1;
        let project = &before.project;
        let of_project = |d: &&DeployRecord| d.project == *project;
        let recorded = self.deploys.values().filter(of_project).count();
        let expected = self.removing.contains(project) || recorded > RECORDED_MIN;
        if !is_final(before.step()) || !expected {
            let step = before.step().as_str_name();
            wrong.push(format!("deploy {id} of {project} was lost in step {step}"));
        }
        self.deploys.remove(&id);
    }

    fn on_project(
        &mut self,
        project: &ProjectRecord,
        before: Option<&ProjectRecord>,
        commit: &[Written],
        wrong: &mut Vec<String>,
    ) {
        self.checks += 1;
        let name = &project.name;
        let was = before.map_or(project.epoch, |b| b.epoch);
        let was_active = before.map_or(0, |b| b.active);
        if !(was..=was + 1).contains(&project.epoch) {
            let epoch = project.epoch;
            wrong.push(format!("{name} went from epoch {was} to {epoch}"));
        }
        if before.is_none() && self.epochs.get(name).is_some_and(|e| project.epoch < *e) {
            wrong.push(format!("the epochs of {name} began anew"));
        }
        if project.active != was_active {
            self.judge_switch(project, was, commit, wrong);
        }
        if before.is_some_and(|b| b.removed && !project.removed) {
            wrong.push(format!("{name} came back while it was being removed"));
        }
        if project.removed {
            self.removing.insert(name.clone());
        }
        let highest = self.epochs.entry(name.clone()).or_default();
        *highest = project.epoch.max(*highest);
        let named = (name.clone(), project.epoch);
        self.named.insert(named, project.active);
    }

    /// The traffic of a project goes to another version.
    fn judge_switch(
        &self,
        project: &ProjectRecord,
        was: u64,
        commit: &[Written],
        wrong: &mut Vec<String>,
    ) {
        let ProjectRecord {
            name,
            active,
            epoch,
            ..
        } = project;
        if *epoch != was + 1 {
            wrong.push(format!(
                "{name} went to version {active} within epoch {was}"
            ));
        }
        let own = |w: &Written| match &w.after {
            Some(Record::Deploy(d)) => {
                d.version == *active && d.step() == DeployStep::Live && d.epoch == *epoch
            }
            _ => false,
        };
        let due = if *active == 0 {
            project.removed
        } else {
            commit.iter().any(own)
        };
        if !due {
            wrong.push(format!(
                "{name} went to version {active} in epoch {epoch} without its deploy"
            ));
        }
    }

    fn on_project_gone(&mut self, name: &str, before: &ProjectRecord, wrong: &mut Vec<String>) {
        self.checks += 1;
        if !before.removed {
            wrong.push(format!("{name} was lost, and nobody removed it"));
        }
        if let Some(left) = self.deploys.values().find(|d| d.project == name) {
            let id = left.version;
            wrong.push(format!("{name} left the store before its deploy {id}"));
        }
        self.removing.remove(name);
    }

    /// A region's partition took a write.
    pub fn on_partition(&mut self, region: usize, written: &Written, findings: &mut Findings) {
        match (&written.key, &written.before, &written.after) {
            (Key::Version(id), _, after) => {
                match after {
                    Some(_) => self.held.insert((region, *id)),
                    None => self.held.remove(&(region, *id)),
                };
            }
            (Key::Ack { version, .. }, _, Some(_)) => {
                self.checks += 1;
                self.acked.insert(*version);
                if !self.held.contains(&(region, *version)) {
                    let text = format!("version {version} was acknowledged where it is gone");
                    findings.violated(5, text);
                }
            }
            (Key::Slot { version, .. }, _, Some(Record::Slot(slot)))
                if slot.state() == SlotState::Running =>
            {
                self.ran.insert(*version);
            }
            (Key::Slot { version, .. }, Some(Record::Slot(slot)), None) => {
                self.checks += 1;
                let wanted = self.held.contains(&(region, *version));
                if slot.state() != SlotState::Free || wanted {
                    let text = format!("{} was deleted while it was in use", written.key);
                    findings.violated(5, text);
                }
            }
            (Key::Route(_), before, Some(Record::Route(route))) => {
                self.checks += 1;
                let named = self.named.get(&(route.project.clone(), route.epoch));
                if named != Some(&route.version) {
                    findings.violated(
                        5,
                        format!(
                            "{} was routed to version {} in epoch {}, which names {named:?}",
                            route.project, route.version, route.epoch
                        ),
                    );
                }
                if let Some(Record::Route(before)) = before
                    && before.epoch >= route.epoch
                    && before != route
                {
                    let (name, was, is) = (&route.project, before.epoch, route.epoch);
                    let text = format!("the route of {name} went from epoch {was} to {is}");
                    findings.violated(5, text);
                }
            }
            _ => {}
        }
    }
}

/// What a commit makes of a project: before, and after.
fn project_in<'a>(
    commit: &'a [Written],
    name: &str,
) -> Option<(&'a ProjectRecord, &'a ProjectRecord)> {
    commit.iter().find_map(|w| match (&w.before, &w.after) {
        (Some(Record::Project(before)), Some(Record::Project(after))) if after.name == name => {
            Some((before, after))
        }
        _ => None,
    })
}

/// A deploy becomes, or is again, the one with the traffic: it begins an epoch of its own.
fn judge_activation(
    deploy: &DeployRecord,
    before: &DeployRecord,
    commit: &[Written],
    wrong: &mut Vec<String>,
) {
    if before == deploy {
        return;
    }
    let id = deploy.version;
    if before.epoch >= deploy.epoch {
        let (was, is) = (before.epoch, deploy.epoch);
        wrong.push(format!("deploy {id} went from epoch {was} to {is}"));
    }
    match project_in(commit, &deploy.project) {
        Some((was, is)) if is.active == id && is.epoch == deploy.epoch && is.epoch > was.epoch => {
            if was.latched && !is_final(before.step()) {
                wrong.push(format!("deploy {id} took the traffic behind the latch"));
            }
        }
        _ => wrong.push(format!("deploy {id} is live, and no epoch began with it")),
    }
}

/// A deploy arrives behind the latch: nothing else changes, and whoever decided meanwhile
/// has to see it.
fn judge_latch(deploy: &DeployRecord, commit: &[Written], wrong: &mut Vec<String>) {
    let latched = project_in(commit, &deploy.project)
        .is_some_and(|(before, after)| after.latched && before == after);
    if !latched {
        let id = deploy.version;
        wrong.push(format!(
            "deploy {id} is ready, and the project was not latched"
        ));
    }
}

#[cfg(test)]
mod tests;
