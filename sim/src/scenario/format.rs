//! The scenario file, field by field. `scenarios/*.toml` show it in use.

use serde::{Deserialize, Serialize};
use tidegate_protocol::AppKind;
use toml::Spanned;

use super::{FaultKind, Span, Target};

/// One whole scenario, as written.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct Scenario {
    /// What `run` and `list` call it.
    pub name: Spanned<String>,
    /// What it is for, one sentence.
    pub about: String,
    /// Simulated time of the whole run.
    pub duration: Spanned<Span>,
    /// From here on nothing is broken any more.
    pub faults_end: Spanned<Span>,
    /// Time after `faults_end` within which everything has to be well again.
    #[serde(default = "liveness_within")]
    pub liveness_within: Spanned<Span>,
    /// Every message is encoded and decoded with prost on its way.
    #[serde(default)]
    pub encode_messages: bool,
    pub topology: Topology,
    #[serde(default)]
    pub network: Network,
    #[serde(default)]
    pub disks: Disks,
    #[serde(default)]
    pub clocks: Clocks,
    pub apps: Vec<App>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<Operation>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traffic: Vec<Traffic>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    pub random_faults: Option<RandomFaults>,
    pub bug: Option<Bug>,
}

/// What a bug file says beside its plan: a scenario whose faults and operations are all
/// explicit, so that it stays what it is when the code draws differently.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Bug {
    /// What happened, and what was wrong.
    pub showed: String,
    /// Seeds with which it happened, the one that showed it first.
    pub seeds: Spanned<Vec<u64>>,
    /// The guarantee that was broken, by its number in the design; 0: an actor found its own
    /// state impossible.
    pub guarantee: Option<u8>,
    /// When it was broken.
    pub at: Option<Span>,
    /// Events up to there.
    pub events: Option<u64>,
    /// Of the program that found it.
    pub commit: Option<String>,
    /// What the plan was drawn from.
    pub drawn_from: Option<String>,
    /// For the corpus: requests that may be refused or fail.
    pub lost_max: Option<u64>,
}

/// How many machines of what.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    pub regions: Spanned<Vec<String>>,
    /// In each region.
    pub hosts: Spanned<u32>,
    /// Instances that one host can hold.
    #[serde(default = "host_capacity")]
    pub host_capacity: Spanned<u32>,
    /// Over which the hosts of a region are spread.
    #[serde(default = "one")]
    pub zones: Spanned<u32>,
    /// Gateway nodes in each region.
    pub gateways: Spanned<u32>,
    /// Gateway actors (worker threads) on each gateway node.
    #[serde(default = "one")]
    pub gateway_actors: Spanned<u32>,
}

/// What the network does when nothing is wrong with it. Delays are one way.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    pub within_region: Span,
    /// Least and most; drawn once for each pair of regions.
    pub between_regions: [Span; 2],
    /// Mean of the exponential part of each delay.
    pub jitter: Span,
    pub loss_per_million: u32,
    pub duplication_per_million: u32,
    /// Messages between two nodes may overtake each other.
    pub reordering: bool,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            within_region: Span::micros(250),
            between_regions: [Span::millis(10), Span::millis(90)],
            jitter: Span::micros(50),
            loss_per_million: 0,
            duplication_per_million: 0,
            reordering: false,
        }
    }
}

/// What a store's disk does when nothing is wrong with it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Disks {
    /// Least and most time until a commit is durable.
    pub fsync: [Span; 2],
}

impl Default for Disks {
    fn default() -> Self {
        Self {
            fsync: [Span::micros(200), Span::micros(2_000)],
        }
    }
}

/// How far the machines' clocks are from the truth from the beginning.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Clocks {
    /// Each wall clock is off by up to this, either way.
    pub offset: Span,
    /// Each clock is fast or slow by up to this many parts per million.
    pub drift_ppm: u32,
}

impl Default for Clocks {
    fn default() -> Self {
        Self {
            offset: Span::millis(500),
            drift_ppm: 100,
        }
    }
}

/// A tenant's app, with the version that is deployed first.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct App {
    pub name: Spanned<String>,
    /// So many apps like this one, called `name-0` and on. Traffic of `name` is theirs, and an
    /// operation on it strikes one of them, drawn.
    pub tenants: Option<Spanned<u32>>,
    #[serde(default)]
    pub kind: Kind,
    /// First deploy.
    #[serde(default = "deploy_at")]
    pub deploy_at: Span,
    /// Where it may run; empty: everywhere.
    #[serde(default = "everywhere")]
    pub regions: Spanned<Vec<String>>,
    /// In each region.
    #[serde(default = "instances_max")]
    pub instances_max: Spanned<u32>,
    /// Requests in flight that one gateway actor gives an instance.
    #[serde(default = "concurrency")]
    pub concurrency: Spanned<u32>,
    /// Requests that an instance works on at once; more wait inside it.
    #[serde(default = "workers")]
    pub workers: Spanned<u32>,
    /// Mean service time: a fixed half and an exponential half.
    #[serde(default = "service")]
    pub service: Span,
    /// From the start of its process until it answers, drawn from ¾ to 1½ of this.
    #[serde(default = "boot")]
    pub boot: Span,
    #[serde(default = "idle")]
    pub idle: Span,
    #[serde(default = "lifetime_min")]
    pub lifetime_min: Span,
    #[serde(default = "start_timeout")]
    pub start_timeout: Span,
    #[serde(default = "stop_grace")]
    pub stop_grace: Span,
    #[serde(default)]
    pub behaviour: Behaviour,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    #[default]
    Program,
    Static,
}

impl Kind {
    pub fn app_kind(self) -> AppKind {
        match self {
            Kind::Program => AppKind::Program,
            Kind::Static => AppKind::Static,
        }
    }
}

/// What a version of an app does wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Behaviour {
    #[default]
    Healthy,
    /// Its process ends right after it was started.
    CrashesAtStart,
    /// Runs, never answers.
    Hangs,
    /// Has to be killed.
    IgnoresSigterm,
    /// Ends by itself after about a thousand requests.
    CrashesSometimes,
    /// Loses memory with each request: it answers more and more slowly, and after a thousand
    /// it has run out.
    Leaks,
}

/// Something that the operator does.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    pub at: Spanned<Span>,
    /// The beginning is drawn from `at` to `at + jitter`.
    #[serde(default, skip_serializing_if = "Span::is_zero")]
    pub jitter: Span,
    #[serde(rename = "do")]
    pub what: Action,
    pub app: Spanned<String>,
    /// Of the new version.
    #[serde(default)]
    pub behaviour: Behaviour,
    /// Of the new version, in each region; the app's own when absent.
    pub instances_max: Option<Spanned<u32>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Push a new version.
    Deploy,
    /// Back to the version before.
    Rollback,
    /// Forward to the newest version that is ready.
    Promote,
    /// Remove the project.
    Remove,
    /// List the instances, and read what one of them printed.
    Inspect,
}

/// Clients of an app, in each region.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    pub app: Spanned<String>,
    /// Over all regions together.
    pub per_second: Spanned<f64>,
    /// Where the clients are; empty: everywhere.
    #[serde(default = "everywhere")]
    pub regions: Spanned<Vec<String>>,
    pub from: Spanned<Span>,
    pub until: Option<Spanned<Span>>,
    #[serde(default, skip_serializing_if = "Arrivals::is_poisson")]
    pub arrivals: Arrivals,
    /// Of closed arrivals: how many there are, over all regions together.
    pub clients: Option<Spanned<u32>>,
    /// Of on-off arrivals: mean lengths of bursts, and of the silence between them.
    pub on: Option<Spanned<Span>>,
    pub off: Option<Spanned<Span>>,
    /// Of diurnal arrivals: length of a day.
    pub period: Option<Spanned<Span>>,
    /// How uneven the popularity of tenants is: the `k`th gets a share of `1 / k^zipf`.
    pub zipf: Option<Spanned<f64>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spikes: Vec<Spike>,
    /// How often a client sends again what was refused with 503 or failed.
    #[serde(default = "none", skip_serializing_if = "is_zero")]
    pub retries: Spanned<u32>,
    /// Retries wait for as long as Retry-After says, else they come at once.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub honours_retry_after: bool,
}

/// How the moments come about at which clients send. `per_second` is the mean rate of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrivals {
    /// Many clients that know nothing of each other.
    #[default]
    Poisson,
    /// A fixed number of clients; each waits for its answer, thinks, and sends again. They
    /// send `per_second` if answers came at once, and less when these are slow.
    Closed,
    /// Bursts and silence, with lengths of a heavy-tailed (Pareto) distribution.
    OnOff,
    /// The rate rises and falls with the time of the day.
    Diurnal,
}

impl Arrivals {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde asks with a reference"
    )]
    fn is_poisson(&self) -> bool {
        *self == Arrivals::Poisson
    }

    pub const fn name(self) -> &'static str {
        match self {
            Arrivals::Poisson => "poisson",
            Arrivals::Closed => "closed",
            Arrivals::OnOff => "on-off",
            Arrivals::Diurnal => "diurnal",
        }
    }
}

/// Load multiplied for a while.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Spike {
    pub at: Spanned<Span>,
    #[serde(rename = "for")]
    pub length: Span,
    pub times: f64,
}

/// One planned fault. Which fields a kind needs, `check.rs` says.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    pub kind: Spanned<FaultKind>,
    pub at: Spanned<Span>,
    /// The beginning is drawn from `at` to `at + jitter`.
    #[serde(default, skip_serializing_if = "Span::is_zero")]
    pub jitter: Span,
    #[serde(rename = "for")]
    pub length: Span,
    pub target: Spanned<Target>,
    /// The other side, for faults of the network; everything else when absent.
    pub against: Option<Spanned<Target>>,
    /// Only what `target` sends is lost.
    #[serde(default, skip_serializing_if = "is_false")]
    pub one_way: bool,
    pub per_million: Option<u32>,
    /// Added delay (of slow clients the mean), or how far a clock jumps.
    pub by: Option<Span>,
    /// A clock jumps back instead of forward.
    #[serde(default, skip_serializing_if = "is_false")]
    pub backwards: bool,
    pub ppm: Option<u32>,
    /// How many times slower.
    pub times: Option<u32>,
    /// Time between two resets.
    pub every: Option<Span>,
    /// Which point of the actors, as `buggify.rs` lists them.
    pub point: Option<String>,
}

/// Faults drawn from the seed; each kind is left out in half the runs.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RandomFaults {
    pub count: Spanned<u32>,
    pub from: Spanned<Span>,
    pub longest: Spanned<Span>,
    pub kinds: Vec<FaultKind>,
}

fn liveness_within() -> Spanned<Span> {
    Spanned::new(0..0, Span::seconds(120))
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks with a reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks with a reference"
)]
fn is_true(value: &bool) -> bool {
    *value
}

fn yes() -> bool {
    true
}

fn is_zero(value: &Spanned<u32>) -> bool {
    *value.get_ref() == 0
}

fn none() -> Spanned<u32> {
    Spanned::new(0..0, 0)
}

fn everywhere() -> Spanned<Vec<String>> {
    Spanned::new(0..0, Vec::new())
}

fn one() -> Spanned<u32> {
    Spanned::new(0..0, 1)
}

fn host_capacity() -> Spanned<u32> {
    Spanned::new(0..0, 16)
}

fn deploy_at() -> Span {
    Span::seconds(15)
}

fn instances_max() -> Spanned<u32> {
    Spanned::new(0..0, 4)
}

fn concurrency() -> Spanned<u32> {
    Spanned::new(0..0, 20)
}

fn workers() -> Spanned<u32> {
    Spanned::new(0..0, 64)
}

fn service() -> Span {
    Span::millis(10)
}

fn boot() -> Span {
    Span::millis(400)
}

fn idle() -> Span {
    Span::seconds(300)
}

fn lifetime_min() -> Span {
    Span::seconds(60)
}

fn start_timeout() -> Span {
    Span::seconds(30)
}

fn stop_grace() -> Span {
    Span::seconds(10)
}
