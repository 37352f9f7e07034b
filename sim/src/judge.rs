//! When the oracles look at everything: every few seconds, when the world has to be well,
//! and at the end.

use tidegate_protocol::{AppKind, DeployStep, Key, NodeId, Record, SlotRecord, VersionSpec};

use crate::cells::{AnyCell, HOP_PORT};
use crate::driver::{behaviour_of, endpoint};
use crate::env::Env;
use crate::happening::Happening;
use crate::instance::Phase;
use crate::oracle::converged::{GatewayNode, Serving};
use crate::oracle::orphans::Running;
use crate::plan::Change;
use crate::scenario::Behaviour;
use crate::topology::{NodeKind, members};
use crate::world::{CHECKPOINT_NS, World};

impl World {
    pub(crate) fn on_checkpoint(&mut self) {
        self.env.after(CHECKPOINT_NS, Happening::Checkpoint);
        let env = &mut self.env;
        let oracles = &mut env.oracles;
        oracles.findings.at = env.now;
        oracles
            .durable
            .check(env.ledger.main(), &mut oracles.findings);
        self.judge_loads();
        if self.env.now < self.faults_end {
            return;
        }
        self.judge_orphans();
        if self.is_first_checkpoint_after(self.well_from) {
            self.judge_convergence();
        }
    }

    fn is_first_checkpoint_after(&self, moment: u64) -> bool {
        self.env.now >= moment && self.env.now - CHECKPOINT_NS < moment
    }

    pub(crate) fn judge_end(&mut self) {
        let env = &mut self.env;
        let oracles = &mut env.oracles;
        oracles.findings.at = env.now;
        oracles
            .durable
            .check(env.ledger.main(), &mut oracles.findings);
        // A bug file may end before everything has had the time to be well again.
        if self.duration >= self.well_from {
            let regions = &env.topology.regions;
            oracles
                .progress
                .check_regions(regions, &mut oracles.findings);
            self.judge_convergence();
        }
        self.judge_open_requests();
        self.judge_recovery();
    }

    fn judge_loads(&mut self) {
        for slot in &self.actors {
            let Some(cell) = &slot.cell else {
                continue;
            };
            let name = &self.env.topology.nodes[slot.node].name;
            let oracles = &mut self.env.oracles;
            let findings = &mut oracles.findings;
            oracles.overload.loaded(name, &cell.load(), findings);
        }
    }

    fn judge_recovery(&mut self) {
        for (stream, s) in (0..).zip(&self.streams) {
            let excused = self.operator.is_poisoned(s.app) || self.operator.is_removed(s.app);
            let host = &self.hosts[s.app as usize];
            let oracles = &mut self.env.oracles;
            let findings = &mut oracles.findings;
            oracles.overload.recovered(stream, host, excused, findings);
        }
    }

    fn judge_orphans(&mut self) {
        let bound = self.well_from - self.faults_end;
        let oracles = &mut self.env.oracles;
        let findings = &mut oracles.findings;
        let main = self.env.ledger.main();
        oracles.orphans.check_main(main, bound, findings);
        for region in 0..self.env.topology.regions.len() {
            let env = &mut self.env;
            let running: Vec<Running> = env
                .topology
                .of(region, NodeKind::Host)
                .flat_map(|host| {
                    let id = env.topology.nodes[host].id.0;
                    let alive = env.instances.alive(host).iter();
                    alive.map(move |i| (id, *i))
                })
                .map(|(host, i)| Running {
                    host,
                    instance: env.instances.get(i).reference,
                })
                .collect();
            let edges: Vec<NodeId> = gateway_nodes(env).map(|g| g.node).collect();
            let oracles = &mut env.oracles;
            let name = &env.topology.regions[region];
            let view = env.ledger.region(region);
            let findings = &mut oracles.findings;
            let orphans = &mut oracles.orphans;
            orphans.check(name, (&running, &edges), view, bound, findings);
        }
    }

    fn judge_convergence(&mut self) {
        let serving = self.serving();
        let full_hosts = self.struck_hosts(|change| change == Change::FullDisk);
        let slow_hosts = self.struck_hosts(|change| matches!(change, Change::SlowHost(_)));
        let gateways: Vec<GatewayNode> = gateway_nodes(&self.env).collect();
        let env = &mut self.env;
        let oracles = &mut env.oracles;
        let findings = &mut oracles.findings;
        let main = env.ledger.main();
        oracles.progress.check_deploys(main, findings);
        for (key, record) in main.iter() {
            if let (Key::Deploy(version), Record::Deploy(deploy)) = (key, record)
                && deploy.step() == DeployStep::Failed
                && main.project(&deploy.project).is_some_and(|p| !p.removed)
                && main.version(*version).is_some_and(is_healthy)
            {
                let (project, reason) = (&deploy.project, &deploy.reason);
                // One host that has no room for the artifact, or is too slow to start the
                // app in time, says so and ends the deploy.
                let lacked = ["its artifact did not arrive", "its files are not here"];
                let lacked = lacked.iter().any(|why| reason.contains(why));
                let late = reason.contains("it did not become healthy");
                if full_hosts && lacked || slow_hosts && late {
                    continue;
                }
                oracles.progress.failed(project, reason, findings);
            }
        }
        for outcome in self.operator.outcomes(&env.scenario) {
            if outcome.result.is_none() && outcome.at < self.faults_end {
                oracles.progress.unanswered(&outcome.what, findings);
            }
        }
        let converged = &mut oracles.converged;
        for (region, name) in env.topology.regions.iter().enumerate() {
            let view = env.ledger.region(region);
            converged.check_partition(name, main, view, findings);
            converged.check_peers(name, &gateways, view, findings);
        }
        oracles.converged.check_gateways(main, &serving, findings);
    }

    /// The store holds that a slot was taken back from an instance that ran.
    pub(crate) fn judge_taken_back(&mut self, region: usize, slot: &SlotRecord) {
        let env = &mut self.env;
        let seemed_dead = self.excuses.hosts(1 << region, env.now);
        let host = env.topology.index(NodeId(slot.host));
        let serves = host.filter(|host| env.nodes[*host].up).is_some_and(|host| {
            let instance = env.instances.find(host, slot.instance());
            instance.is_some_and(|i| env.instances.get(i).phase == Phase::Ready)
        });
        let oracles = &mut env.oracles;
        let (orphans, findings) = (&mut oracles.orphans, &mut oracles.findings);
        orphans.taken_back(slot.instance(), serves && !seemed_dead, findings);
    }

    /// Whether a host was struck by such a fault.
    fn struck_hosts(&self, by: impl Fn(Change) -> bool) -> bool {
        let nodes = &self.env.topology.nodes;
        self.faults
            .iter()
            .zip(&self.struck)
            .filter(|(fault, _)| by(fault.change))
            .any(|(_, set)| members(*set).any(|n| nodes[n].kind == NodeKind::Host))
    }

    /// What every gateway actor serves of every app.
    fn serving(&self) -> Vec<Serving> {
        let mut all = Vec::new();
        for slot in &self.actors {
            let Some(AnyCell::Gateway(cell)) = &slot.cell else {
                continue;
            };
            for app in &self.env.scenario.apps {
                let project = app.name.get_ref().clone();
                all.push(Serving {
                    gateway: self.env.topology.nodes[slot.node].name.clone(),
                    serves: cell.actor().serving(&project),
                    project,
                });
            }
        }
        all
    }

    /// Programs and static sites of the scenario, for people.
    pub(crate) fn app_kinds(&self) -> (usize, usize) {
        let apps = &self.env.scenario.apps;
        let programs = apps
            .iter()
            .filter(|a| a.kind.app_kind() == AppKind::Program);
        let programs = programs.count();
        (programs, apps.len() - programs)
    }
}

/// The gateway machines that live.
fn gateway_nodes(env: &Env) -> impl Iterator<Item = GatewayNode> + '_ {
    let topology = &env.topology;
    let alive = topology
        .all_of(NodeKind::Gateway)
        .filter(|n| env.nodes[*n].up);
    alive.map(|n| &topology.nodes[n]).map(|node| GatewayNode {
        region: topology.regions[node.region.unwrap_or_default()].clone(),
        node: node.id,
        hop_endpoint: endpoint(node.id, HOP_PORT),
    })
}

/// Whether the platform alone decides if a version starts.
fn is_healthy(spec: &VersionSpec) -> bool {
    !matches!(
        behaviour_of(spec),
        Behaviour::CrashesAtStart | Behaviour::Hangs
    )
}
