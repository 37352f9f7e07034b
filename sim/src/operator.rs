//! The operator: pushes, rolls back, promotes and removes, and asks until there is an answer.
//!
//! Each operation is a small sequence of calls of the API, every one of them repeated with
//! the same content until it is answered: a push by its idempotency key, an activation by
//! the number of its version. What is answered is remembered and must never be lost.

use tidegate_kernel::{Rng, Seed};
use tidegate_protocol::{
    Activate, Address, ApiError, ApiReply, ApiRequest, AppKind, Bytes, CreateVersion, DeployStep,
    EnvVariable, GetDeploy, InstanceInfo, ListInstances, ListVersions, LogData, Message, NodeId,
    RemoveProject, Role, SlotState, VersionSpec, VersionStatus, api_request::Call,
};

use crate::blob::push_artifact;
use crate::cells::DOMAIN;
use crate::clock::SimTime;
use crate::driver::{BEHAVIOUR, behaviour_name};
use crate::happening::Happening;
use crate::inspect::{Look, TRIES};
use crate::oracle::durable::Acknowledged;
use crate::scenario::{Action, App, Behaviour, Scenario};
use crate::topology::Topology;
use crate::world::World;

/// Between two tries of a call, and between two looks at a deploy.
const AGAIN_NS: u64 = 2_000_000_000;

/// The host name of an app.
pub fn host_of(app: &App) -> String {
    format!("{}.{DOMAIN}", app.name.get_ref())
}

#[derive(Clone, Debug, PartialEq)]
enum Stage {
    /// Not begun.
    Due,
    /// The call is repeated until it is answered.
    Asking(Box<Call>),
    /// The version is made; its deploy goes on.
    Watching {
        version: u64,
    },
    /// A host is asked for what instances of a version printed, so many times more.
    Reading {
        look: Look,
        tries: u32,
    },
    Done(String),
}

impl Stage {
    /// Whether a rollback or a promote was asked for.
    fn is_activating(&self) -> bool {
        matches!(self, Stage::Asking(call) if matches!(**call, Call::Activate(_)))
    }
}

#[derive(Debug)]
struct Operation {
    at: SimTime,
    action: Action,
    app: usize,
    behaviour: Behaviour,
    /// In each region, of the version that it pushes.
    instances_max: u32,
    stage: Stage,
    /// Identifies the answer that is waited for.
    request: u64,
}

#[derive(Debug)]
pub struct Operator {
    operations: Vec<Operation>,
    /// Versions pushed of each app, and whether one of them is poisoned.
    pushed: Vec<u32>,
    poisoned: Vec<bool>,
    removed: Vec<bool>,
    rng: Rng,
}

impl Operator {
    pub fn new(scenario: &Scenario, seed: Seed) -> Self {
        let first = scenario.apps.iter().enumerate().map(|(app, a)| Operation {
            at: a.deploy_at.nanos(),
            action: Action::Deploy,
            app,
            behaviour: a.behaviour,
            instances_max: *a.instances_max.get_ref(),
            stage: Stage::Due,
            request: 0,
        });
        let later = scenario.operations.iter().map(|op| {
            let apps = &scenario.apps;
            let app = apps
                .iter()
                .position(|a| a.name.get_ref() == op.app.get_ref())
                .unwrap_or_default();
            let scaled = op.instances_max.as_ref();
            Operation {
                at: op.at.get_ref().nanos(),
                action: op.what,
                app,
                behaviour: op.behaviour,
                instances_max: *scaled.unwrap_or(&apps[app].instances_max).get_ref(),
                stage: Stage::Due,
                request: 0,
            }
        });
        let mut operations: Vec<Operation> = first.chain(later).collect();
        operations.sort_by_key(|op| op.at);
        Self {
            operations,
            pushed: vec![0; scenario.apps.len()],
            poisoned: vec![false; scenario.apps.len()],
            removed: vec![false; scenario.apps.len()],
            rng: seed.derive("operator").rng(),
        }
    }

    /// When each operation begins.
    pub fn times(&self) -> Vec<(u32, SimTime)> {
        (0..)
            .zip(&self.operations)
            .map(|(i, op)| (i, op.at))
            .collect()
    }

    /// Whether a version was pushed that does something wrong.
    pub fn is_poisoned(&self, app: u32) -> bool {
        self.poisoned[app as usize]
    }

    /// Whether the removal of an app was asked for, answered or not.
    pub fn is_removed(&self, app: u32) -> bool {
        self.removed[app as usize]
    }

    /// What each operation came to.
    pub fn outcomes<'a>(&'a self, scenario: &'a Scenario) -> impl Iterator<Item = Outcome> + 'a {
        self.operations.iter().map(|op| Outcome {
            at: op.at,
            what: name_of(op, scenario),
            result: match &op.stage {
                Stage::Done(result) => Some(result.clone()),
                _ => None,
            },
        })
    }
}

/// What an operation came to; no result: it is still asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub at: SimTime,
    pub what: String,
    pub result: Option<String>,
}

fn name_of(op: &Operation, scenario: &Scenario) -> String {
    let action = match op.action {
        Action::Deploy => "deploy",
        Action::Rollback => "rollback",
        Action::Promote => "promote",
        Action::Remove => "remove",
        Action::Inspect => "inspect",
    };
    let bad = match op.behaviour {
        Behaviour::Healthy => String::new(),
        other => format!(" ({})", behaviour_name(other)),
    };
    format!("{action} {}{bad}", scenario.apps[op.app].name.get_ref())
}

impl World {
    pub(crate) fn on_operator(&mut self, operation: u32) {
        let index = operation as usize;
        let call = match &self.operator.operations[index].stage {
            Stage::Done(_) => return,
            Stage::Due if self.waits_for_a_push(index) => {
                return self.env.after(AGAIN_NS, Happening::Operator { operation });
            }
            Stage::Due => {
                let call = self.first_call(index);
                self.operator.operations[index].stage = Stage::Asking(Box::new(call.clone()));
                call
            }
            Stage::Asking(call) => (**call).clone(),
            Stage::Watching { version } => Call::GetDeploy(GetDeploy { version: *version }),
            Stage::Reading { look, tries } => {
                let (look, tries) = (*look, *tries);
                return self.read_again(index, look, tries);
            }
        };
        self.ask(index, call);
        self.env.after(AGAIN_NS, Happening::Operator { operation });
    }

    fn read_again(&mut self, index: usize, look: Look, tries: u32) {
        let op = &mut self.operator.operations[index];
        let Some(left) = tries.checked_sub(1) else {
            let what = name_of(op, &self.env.scenario);
            self.judge_silence(&what, look.host);
            let silent = format!("node {} shows nothing", look.host.0);
            return self.enter(index, Stage::Done(silent));
        };
        // One name for all tries, so that an answer that is late is known as well.
        if tries == TRIES {
            op.request = self.operator.rng.u64();
        }
        op.stage = Stage::Reading { look, tries: left };
        let id = op.request;
        self.read_log(id, look);
        let operation = index as u32;
        self.env.after(AGAIN_NS, Happening::Operator { operation });
    }

    /// Nobody removes an app while a push of it is unanswered: it might come after the removal,
    /// and make the app anew.
    fn waits_for_a_push(&self, index: usize) -> bool {
        let op = &self.operator.operations[index];
        op.action == Action::Remove
            && self.operator.operations.iter().any(|other| {
                other.app == op.app
                    && other.action == Action::Deploy
                    && matches!(other.stage, Stage::Asking(_))
            })
    }

    fn ask(&mut self, index: usize, call: Call) {
        let id = self.operator.rng.u64();
        self.operator.operations[index].request = id;
        let node = |n: usize| self.env.topology.nodes[n].id;
        let me = Address::new(node(Topology::OPERATOR), Role::Client, 0);
        let control = Address::new(node(Topology::CONTROL), Role::Control, 0);
        let request = Message::ApiRequest(ApiRequest {
            id,
            call: Some(call),
        });
        self.env.transmit(Topology::OPERATOR, me, control, request);
    }

    fn first_call(&mut self, index: usize) -> Call {
        let op = &self.operator.operations[index];
        let app = &self.env.scenario.apps[op.app];
        let project = app.name.get_ref().clone();
        match op.action {
            Action::Deploy => self.push(index),
            Action::Rollback | Action::Promote => Call::ListVersions(ListVersions { project }),
            Action::Inspect => Call::ListInstances(ListInstances { project }),
            Action::Remove => {
                self.operator.removed[op.app] = true;
                self.env.oracles.durable.end(&project);
                Call::RemoveProject(RemoveProject { project })
            }
        }
    }

    /// Uploads the artifact, and makes the call that creates its version.
    fn push(&mut self, index: usize) -> Call {
        let op = &self.operator.operations[index];
        let (app_index, behaviour) = (op.app, op.behaviour);
        let app = &self.env.scenario.apps[app_index];
        self.operator.pushed[app_index] += 1;
        self.operator.poisoned[app_index] |= behaviour != Behaviour::Healthy;
        let number = self.operator.pushed[app_index];
        let blobs = &mut self.env.nodes[Topology::CONTROL].blobs;
        let name = app.name.get_ref();
        let artifact = push_artifact(blobs, name, number, &mut self.operator.rng);
        let program = app.kind.app_kind() == AppKind::Program;
        let variable = EnvVariable {
            name: BEHAVIOUR.into(),
            value: behaviour_name(behaviour).into(),
        };
        let spec = VersionSpec {
            project: name.clone(),
            kind: app.kind.app_kind().into(),
            artifact: Bytes::from(artifact),
            command: if program {
                vec!["./app.js".into()]
            } else {
                Vec::new()
            },
            env: if program { vec![variable] } else { Vec::new() },
            regions: app.regions.get_ref().clone(),
            instances_max: op.instances_max,
            concurrency: *app.concurrency.get_ref(),
            idle_ms: app.idle.as_millis(),
            lifetime_min_ms: app.lifetime_min.as_millis(),
            start_timeout_ms: app.start_timeout.as_millis(),
            stop_grace_ms: app.stop_grace.as_millis(),
            health_path: String::new(),
            ..VersionSpec::default()
        };
        Call::CreateVersion(CreateVersion {
            spec: Some(spec),
            hosts: vec![host_of(app)],
            idempotency_key: format!("{name}-{number}"),
        })
    }

    /// An answer of the API, or of a host.
    pub(crate) fn on_reply(&mut self, body: Message) {
        let id = match &body {
            Message::ApiReply(reply) => reply.id,
            Message::LogData(data) => data.id,
            _ => return,
        };
        let asked = |op: &Operation| op.request == id && !matches!(op.stage, Stage::Done(_));
        let Some(index) = self.operator.operations.iter().position(asked) else {
            return;
        };
        let stage = match body {
            Message::ApiReply(reply) => self.next_stage(index, reply),
            Message::LogData(data) => self.was_read(index, &data),
            _ => None,
        };
        if let Some(stage) = stage {
            self.enter(index, stage);
        }
    }

    fn enter(&mut self, index: usize, stage: Stage) {
        let op = &mut self.operator.operations[index];
        if let Stage::Done(result) = &stage {
            let name = name_of(op, &self.env.scenario);
            self.env
                .stats
                .tell(self.env.now, format!("operator: {name}: {result}"));
        }
        let asks_again = matches!(stage, Stage::Asking(_) | Stage::Reading { .. });
        op.stage = stage;
        if asks_again {
            let operation = index as u32;
            self.env.after(0, Happening::Operator { operation });
        }
    }

    fn was_read(&mut self, index: usize, data: &LogData) -> Option<Stage> {
        let op = &self.operator.operations[index];
        let Stage::Reading { look, .. } = op.stage else {
            return None;
        };
        let project = self.env.scenario.apps[op.app].name.get_ref().clone();
        self.judge_log(&project, look, data);
        Some(Stage::Done(format!("read {} lines", data.lines.len())))
    }

    /// Which of the listed instances is looked at.
    fn choose_listed(&mut self, listed: &[InstanceInfo]) -> Stage {
        let chosen = self.operator.rng.below(listed.len().max(1) as u64) as usize;
        match listed.get(chosen).and_then(|info| info.slot.as_ref()) {
            Some(slot) => Stage::Reading {
                look: Look {
                    host: NodeId(slot.host),
                    version: slot.version,
                    runs: slot.state() == SlotState::Running,
                },
                tries: TRIES,
            },
            None => Stage::Done("no instance is there".into()),
        }
    }

    /// What an answer changes; `None`: the same is asked again.
    fn next_stage(&mut self, index: usize, reply: ApiReply) -> Option<Stage> {
        let op = &self.operator.operations[index];
        let project = self.env.scenario.apps[op.app].name.get_ref().clone();
        match reply.error() {
            ApiError::Unspecified => {}
            // A refusal of the content is final; anything else may pass.
            ApiError::Invalid | ApiError::NotFound => {
                return Some(Stage::Done(format!("refused: {}", reply.reason)));
            }
            // So is that a version is not kept any more.
            ApiError::Conflict if op.stage.is_activating() => {
                return Some(Stage::Done(format!("refused: {}", reply.reason)));
            }
            ApiError::Conflict | ApiError::Unavailable => return None,
        }
        let call = match &op.stage {
            Stage::Asking(call) => (**call).clone(),
            Stage::Watching { version } => return watched(&reply, *version),
            Stage::Due | Stage::Reading { .. } | Stage::Done(_) => return None,
        };
        let durable = &mut self.env.oracles.durable;
        match call {
            Call::CreateVersion(_) => {
                let version = reply.versions.first()?.spec.as_ref()?.id;
                durable.acknowledge(Acknowledged::Created { project, version });
                Some(Stage::Watching { version })
            }
            Call::ListVersions(_) => Some(match chosen(op.action, &reply.versions) {
                Some(number) => Stage::Asking(Box::new(Call::Activate(Activate {
                    project,
                    number,
                    rollback: op.action == Action::Rollback,
                }))),
                None => Stage::Done("there is no version to go to".into()),
            }),
            Call::Activate(activate) => {
                if let Some(record) = reply.projects.first() {
                    let epoch = record.epoch;
                    durable.acknowledge(Acknowledged::Activated { project, epoch });
                }
                Some(Stage::Done(format!(
                    "{}@{} is active",
                    activate.project, activate.number
                )))
            }
            Call::ListInstances(_) => {
                self.judge_listed(&project, &reply.instances);
                Some(self.choose_listed(&reply.instances))
            }
            _ => Some(Stage::Done("done".into())),
        }
    }
}

fn watched(reply: &ApiReply, version: u64) -> Option<Stage> {
    let status = reply
        .versions
        .iter()
        .find(|v| v.spec.as_ref().is_some_and(|s| s.id == version))?;
    let deploy = status.deploy.as_ref()?;
    let step = match deploy.step() {
        DeployStep::Live => "live",
        DeployStep::Ready => "ready",
        DeployStep::Superseded => "superseded",
        DeployStep::Failed => "failed",
        DeployStep::Unspecified | DeployStep::Distribute | DeployStep::Prove => return None,
    };
    let why = if deploy.reason.is_empty() {
        String::new()
    } else {
        format!(" ({})", deploy.reason)
    };
    let spec = status.spec.as_ref()?;
    Some(Stage::Done(format!(
        "{}@{} {step}{why}",
        spec.project, spec.number
    )))
}

/// The number that a rollback or a promote goes to.
fn chosen(action: Action, versions: &[VersionStatus]) -> Option<u32> {
    let number = |v: &VersionStatus| v.spec.as_ref().map_or(0, |s| s.number);
    let able = |v: &&VersionStatus| {
        let step = v.deploy.as_ref().map(|d| d.step());
        matches!(step, Some(DeployStep::Live | DeployStep::Ready))
    };
    let active = versions.iter().find(|v| v.active).map_or(0, number);
    let able = versions.iter().filter(able).map(number);
    match action {
        Action::Rollback => able.filter(|n| *n < active).max(),
        _ => able.max(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_protocol::DeployRecord;

    fn version(number: u32, step: DeployStep, active: bool) -> VersionStatus {
        VersionStatus {
            spec: Some(VersionSpec {
                number,
                ..VersionSpec::default()
            }),
            deploy: Some(DeployRecord {
                step: step.into(),
                ..DeployRecord::default()
            }),
            active,
        }
    }

    #[test]
    fn a_rollback_goes_to_the_version_before_and_a_promote_to_the_newest() {
        let versions = [
            version(1, DeployStep::Live, false),
            version(2, DeployStep::Failed, false),
            version(3, DeployStep::Live, true),
            version(4, DeployStep::Ready, false),
        ];
        assert_eq!(chosen(Action::Rollback, &versions), Some(1));
        assert_eq!(chosen(Action::Promote, &versions), Some(4));
        assert_eq!(chosen(Action::Rollback, &versions[2..]), None);
    }
}
