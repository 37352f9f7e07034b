//! When the oracles look at everything: every few seconds, when the world has to be well,
//! and at the end.

use tidegate_protocol::AppKind;

use crate::cells::AnyCell;
use crate::happening::Happening;
use crate::oracle::converged::Serving;
use crate::oracle::orphans::Running;
use crate::topology::NodeKind;
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
        if env.now < self.faults_end {
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
        let regions = &env.topology.regions;
        oracles
            .progress
            .check_regions(regions, &mut oracles.findings);
        self.judge_convergence();
        self.judge_open_requests();
    }

    fn judge_orphans(&mut self) {
        let bound = self.well_from - self.faults_end;
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
            let oracles = &mut env.oracles;
            let name = &env.topology.regions[region];
            let view = env.ledger.region(region);
            let findings = &mut oracles.findings;
            oracles.orphans.check(name, &running, view, bound, findings);
        }
    }

    fn judge_convergence(&mut self) {
        let serving = self.serving();
        let env = &mut self.env;
        let oracles = &mut env.oracles;
        let findings = &mut oracles.findings;
        let main = env.ledger.main();
        oracles.progress.check_deploys(main, findings);
        for outcome in self.operator.outcomes(&env.scenario) {
            if outcome.result.is_none() && outcome.at < self.faults_end {
                oracles.progress.unanswered(&outcome.what, findings);
            }
        }
        for (region, name) in env.topology.regions.iter().enumerate() {
            let view = env.ledger.region(region);
            oracles
                .converged
                .check_partition(name, main, view, findings);
        }
        oracles.converged.check_gateways(main, &serving, findings);
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
