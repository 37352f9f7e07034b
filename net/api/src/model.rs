//! What the API speaks: JSON bodies, shared by server and client.

use serde::{Deserialize, Serialize};
use tidegate_protocol::{
    AppKind, DeployStep, EnvVariable, InstanceInfo, ProjectRecord, SlotState, VersionSpec,
    VersionStatus,
};

/// Body of `POST /v1/projects/{project}/versions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewVersion {
    pub kind: Kind,
    /// Digest of the uploaded manifest, hexadecimal.
    pub artifact: String,
    #[serde(default)]
    pub command: Vec<String>,
    /// Name and value of each variable.
    #[serde(default)]
    pub env: std::collections::BTreeMap<String, String>,
    /// Empty: every region.
    #[serde(default)]
    pub regions: Vec<String>,
    /// Empty: `{project}.{domain}`.
    #[serde(default)]
    pub hosts: Vec<String>,
    pub scaling: Scaling,
    #[serde(default)]
    pub health_path: String,
    /// A repeated request with the same key makes one version.
    #[serde(default)]
    pub idempotency_key: String,
}

/// What an app is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Files served from the edge; no instance.
    Static,
    /// A program that listens on `$PORT`.
    Program,
}

/// How many instances run, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scaling {
    /// Instances in each region.
    pub instances_max: u32,
    /// Requests in flight that one instance is given by each gateway thread.
    pub concurrency: u32,
    /// Time without requests after which instances stop; 0: never.
    pub idle_ms: u64,
    /// Shortest life of an instance.
    pub lifetime_min_ms: u64,
    /// Time in which an instance has to become healthy.
    pub start_timeout_ms: u64,
    /// Time between SIGTERM and SIGKILL.
    pub stop_grace_ms: u64,
}

impl Default for Scaling {
    fn default() -> Self {
        Self {
            instances_max: 3,
            concurrency: 100,
            idle_ms: 10 * 60_000,
            lifetime_min_ms: 2 * 60_000,
            start_timeout_ms: 60_000,
            stop_grace_ms: 30_000,
        }
    }
}

impl NewVersion {
    /// The request as control takes it. `None`: the digest is malformed.
    pub(crate) fn spec(&self, project: &str) -> Option<VersionSpec> {
        let digest: tidegate_protocol::Digest = self.artifact.parse().ok()?;
        let kind = match self.kind {
            Kind::Static => AppKind::Static,
            Kind::Program => AppKind::Program,
        };
        let variable = |(name, value): (&String, &String)| EnvVariable {
            name: name.clone(),
            value: value.clone(),
        };
        Some(VersionSpec {
            project: project.to_owned(),
            kind: kind.into(),
            artifact: digest.into(),
            command: self.command.clone(),
            env: self.env.iter().map(variable).collect(),
            regions: self.regions.clone(),
            instances_max: self.scaling.instances_max,
            concurrency: self.scaling.concurrency,
            idle_ms: self.scaling.idle_ms,
            lifetime_min_ms: self.scaling.lifetime_min_ms,
            start_timeout_ms: self.scaling.start_timeout_ms,
            stop_grace_ms: self.scaling.stop_grace_ms,
            health_path: self.health_path.clone(),
            ..VersionSpec::default()
        })
    }
}

/// Body of `POST /v1/projects/{project}/activate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Activation {
    /// 0: the version before the active one.
    #[serde(default)]
    pub number: u32,
    /// A rollback holds back later deploys until a promote; a promote lets them go live.
    pub rollback: bool,
}

/// A project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    pub name: String,
    /// Number of the version that takes traffic; 0: none yet.
    pub active: u32,
    /// What the active version is; absent before the first cutover.
    pub kind: Option<Kind>,
    /// Counts cutovers.
    pub epoch: u64,
    /// A rollback holds new versions back.
    pub latched: bool,
    pub hosts: Vec<String>,
    /// Where it answers.
    pub urls: Vec<String>,
}

/// A version and how far its deploy is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    pub id: u64,
    pub project: String,
    pub number: u32,
    pub kind: Kind,
    pub artifact: String,
    pub command: Vec<String>,
    pub created_unix_ms: u64,
    pub active: bool,
    pub step: Step,
    /// Why it is where it is; empty when all is well.
    pub reason: String,
    /// Last output of an instance that died at start.
    pub log_tail: String,
}

/// Where a deploy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Its files go to every live edge.
    Distributing,
    /// One instance has to become healthy.
    Proving,
    /// It took the traffic.
    Live,
    /// Complete, but held back by a rollback.
    Ready,
    /// A newer deploy overtook it.
    Superseded,
    Failed,
}

impl Step {
    /// Whether the deploy has ended.
    pub fn is_final(self) -> bool {
        !matches!(self, Step::Distributing | Step::Proving)
    }

    pub fn name(self) -> &'static str {
        match self {
            Step::Distributing => "distributing",
            Step::Proving => "proving",
            Step::Live => "live",
            Step::Ready => "ready",
            Step::Superseded => "superseded",
            Step::Failed => "failed",
        }
    }
}

/// A slot of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    pub project: String,
    pub number: u32,
    pub region: String,
    pub slot: u32,
    pub epoch: u64,
    pub state: State,
    /// Name of the host; empty while the slot is free.
    pub host: String,
    pub endpoint: String,
}

/// State of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Free,
    Starting,
    Running,
    Stopping,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Free => "asleep",
            State::Starting => "starting",
            State::Running => "running",
            State::Stopping => "stopping",
        }
    }
}

/// One line of output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub unix_ms: u64,
    pub number: u32,
    pub slot: u32,
    pub text: String,
}

/// Answer of `GET /v1/projects/{project}/logs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logs {
    pub lines: Vec<Line>,
    /// To be sent back for what comes after these lines.
    pub cursor: String,
}

/// Body of every answer that is no success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `invalid`, `not_found`, `conflict`, `unavailable`, `unauthorized` or `internal`.
    pub error: String,
    /// What is wrong and what to do, for people.
    pub reason: String,
}

/// Shows hosts as addresses that a client can open.
#[derive(Clone, Debug)]
pub struct PublicUrls {
    /// Port on which gateways listen.
    pub port: u16,
}

impl PublicUrls {
    pub(crate) fn of(&self, host: &str) -> String {
        match self.port {
            80 => format!("http://{host}/"),
            port => format!("http://{host}:{port}/"),
        }
    }

    pub(crate) fn project(&self, record: &ProjectRecord, active: Option<&VersionSpec>) -> Project {
        Project {
            name: record.name.clone(),
            active: active.map_or(0, |spec| spec.number),
            kind: active.map(kind),
            epoch: record.epoch,
            latched: record.latched,
            urls: record.hosts.iter().map(|h| self.of(h)).collect(),
            hosts: record.hosts.clone(),
        }
    }
}

fn kind(spec: &VersionSpec) -> Kind {
    match spec.kind() {
        AppKind::Static => Kind::Static,
        AppKind::Program | AppKind::Unspecified => Kind::Program,
    }
}

/// `None`: the record is incomplete.
pub(crate) fn version(status: VersionStatus) -> Option<Version> {
    let (spec, deploy) = (status.spec?, status.deploy?);
    let digest = tidegate_protocol::Digest::try_from(&spec.artifact).ok()?;
    let kind = kind(&spec);
    let step = match deploy.step() {
        DeployStep::Prove => Step::Proving,
        DeployStep::Live => Step::Live,
        DeployStep::Ready => Step::Ready,
        DeployStep::Superseded => Step::Superseded,
        DeployStep::Failed => Step::Failed,
        DeployStep::Distribute | DeployStep::Unspecified => Step::Distributing,
    };
    Some(Version {
        id: spec.id,
        number: spec.number,
        kind,
        artifact: digest.to_string(),
        created_unix_ms: spec.created_wall_ms,
        active: status.active,
        step,
        reason: deploy.reason,
        log_tail: deploy.log_tail,
        project: spec.project,
        command: spec.command,
    })
}

pub(crate) fn instance(info: InstanceInfo) -> Option<Instance> {
    let slot = info.slot?;
    Some(Instance {
        state: match slot.state() {
            SlotState::Starting => State::Starting,
            SlotState::Running => State::Running,
            SlotState::Stopping => State::Stopping,
            SlotState::Free | SlotState::Unspecified => State::Free,
        },
        project: info.project,
        number: info.number,
        region: info.region,
        slot: slot.index,
        epoch: slot.epoch,
        host: info.host_name,
        endpoint: slot.endpoint,
    })
}
