//! The instance driver of each simulated host, and what happens to instances.

use tidegate_kernel::{DriverCommand, DriverInstance, DriverReport};
use tidegate_protocol::{Digest, InstanceRef, NodeId, VersionSpec};

use crate::env::{Env, Stepped};
use crate::happening::{Happening, InstanceStep};
use crate::instance::Phase;
use crate::scenario::Behaviour;

const MS: u64 = 1_000_000;
/// A health check that nobody answers.
const CHECK_TIMEOUT_NS: u64 = 2_000 * MS;

/// Name of the environment variable that tells a simulated app what to do wrong.
pub const BEHAVIOUR: &str = "SIM_BEHAVIOUR";

/// Where gateways reach a port of a node.
pub fn endpoint(node: NodeId, port: u16) -> String {
    let [_, a, b, c] = node.0.to_be_bytes();
    format!("10.{a}.{b}.{c}:{port}")
}

/// The node of an address that [`endpoint`] made.
#[inline]
pub fn node_of(address: core::net::SocketAddr) -> Option<NodeId> {
    let core::net::IpAddr::V4(ip) = address.ip() else {
        return None;
    };
    let [ten, a, b, c] = ip.octets();
    (ten == 10).then(|| NodeId(u32::from_be_bytes([0, a, b, c])))
}

pub fn behaviour_name(behaviour: Behaviour) -> &'static str {
    match behaviour {
        Behaviour::Healthy => "healthy",
        Behaviour::CrashesAtStart => "crashes-at-start",
        Behaviour::Hangs => "hangs",
        Behaviour::IgnoresSigterm => "ignores-sigterm",
        Behaviour::CrashesSometimes => "crashes-sometimes",
        Behaviour::Leaks => "leaks",
    }
}

pub fn behaviour_of(spec: &VersionSpec) -> Behaviour {
    let name = spec.env.iter().find(|v| v.name == BEHAVIOUR);
    [
        Behaviour::CrashesAtStart,
        Behaviour::Hangs,
        Behaviour::IgnoresSigterm,
        Behaviour::CrashesSometimes,
        Behaviour::Leaks,
    ]
    .into_iter()
    .find(|b| name.is_some_and(|v| v.value == behaviour_name(*b)))
    .unwrap_or(Behaviour::Healthy)
}

impl Env {
    /// Carries out a command of a metald.
    pub fn drive(&mut self, by: Stepped, command: DriverCommand) {
        let slow = self.nodes[by.node].slow;
        let quick = (MS + self.driver_rng.below(2 * MS)) * slow;
        match command {
            DriverCommand::Inventory => {
                let id = self.topology.nodes[by.node].id;
                let found = self.instances.alive(by.node).iter().map(|i| {
                    let i = self.instances.get(*i);
                    DriverInstance {
                        instance: i.reference,
                        endpoint: endpoint(id, i.port),
                    }
                });
                let report = DriverReport::Inventory(found.collect());
                self.report(by, quick, report);
            }
            DriverCommand::Start { instance, spec } => self.start(by, instance, &spec),
            DriverCommand::Check { instance, .. } => self.check_health(by, instance, quick),
            DriverCommand::Terminate { instance } => self.terminate(by.node, instance),
            DriverCommand::Kill { instance } => self.kill(by.node, instance),
            DriverCommand::ReadLog {
                request,
                version,
                cursor,
                bytes_max,
            } => {
                let lines = self.nodes[by.node].printed.read(version, bytes_max);
                let report = DriverReport::Log {
                    request,
                    cursor,
                    lines,
                };
                self.report(by, quick, report);
            }
        }
    }

    fn start(&mut self, by: Stepped, instance: InstanceRef, spec: &VersionSpec) {
        let quick = MS + self.driver_rng.below(4 * MS);
        let app = self
            .scenario
            .apps
            .iter()
            .position(|app| *app.name.get_ref() == spec.project);
        let whole = Digest::try_from(&spec.artifact)
            .is_ok_and(|artifact| self.nodes[by.node].blobs.copy_out(artifact));
        let refused = match app {
            _ if self.instances.find(by.node, instance).is_some() => Some("it runs already"),
            None => Some("there is no such program"),
            Some(_) if !whole => Some("its files are not here"),
            Some(_) => None,
        };
        if let Some(reason) = refused {
            let reason = reason.to_owned();
            let report = DriverReport::StartFailed { instance, reason };
            return self.report(by, quick, report);
        }
        self.judge_start(by.node, instance);
        self.print(by.node, instance, "starts");
        let app = &self.scenario.apps[app.unwrap_or_default()];
        let behaviour = behaviour_of(spec);
        let boot = app.boot.nanos();
        let index = self.instances.start(by.node, instance, app, behaviour);
        let slow = self.nodes[by.node].slow;
        let made = (5 * MS + self.driver_rng.below(20 * MS)) * slow;
        let boot = self.driver_rng.between(boot * 3 / 4, boot * 3 / 2) * slow;
        let port = self.instances.get(index).port;
        let endpoint = endpoint(self.topology.nodes[by.node].id, port);
        self.report(by, made, DriverReport::Started { instance, endpoint });
        let (delay, step) = match behaviour {
            Behaviour::CrashesAtStart => (made + boot / 4, InstanceStep::Crash),
            _ => (made + boot, InstanceStep::Ready),
        };
        let instance = index;
        self.after(delay, Happening::Instance { instance, step });
    }

    fn print(&mut self, node: usize, instance: InstanceRef, text: &str) {
        let wall_ms = self.nodes[node].clock.now(self.now).wall.unix_ms;
        self.nodes[node].printed.print(wall_ms, instance, text);
    }

    fn judge_start(&mut self, node: usize, instance: InstanceRef) {
        let Some(region) = self.topology.nodes[node].region else {
            return;
        };
        let beside = self.instances.beside(node, instance);
        let id = self.topology.nodes[node].id.0;
        let oracles = &mut self.oracles;
        oracles
            .one_owner
            .started(region, id, instance, beside, &mut oracles.findings);
    }

    fn check_health(&mut self, by: Stepped, instance: InstanceRef, quick: u64) {
        let phase = self
            .instances
            .find(by.node, instance)
            .map(|i| self.instances.get(i).phase);
        let (delay, healthy) = match phase {
            Some(Phase::Ready | Phase::Draining) => (quick, true),
            Some(Phase::Hung) => (CHECK_TIMEOUT_NS, false),
            Some(Phase::Booting | Phase::Dead) | None => (quick, false),
        };
        self.report(by, delay, DriverReport::Checked { instance, healthy });
    }

    fn terminate(&mut self, node: usize, instance: InstanceRef) {
        let Some(index) = self.instances.find(node, instance) else {
            return;
        };
        let now = self.now;
        let i = self.instances.get_mut(index);
        i.terminated_at.get_or_insert(now);
        if i.behaviour == Behaviour::IgnoresSigterm || i.phase == Phase::Hung {
            return;
        }
        let booting = i.phase == Phase::Booting;
        if i.phase == Phase::Ready {
            i.phase = Phase::Draining;
        }
        if booting || i.is_drained() {
            self.exit_soon(index, 5 * MS);
        }
    }

    fn kill(&mut self, node: usize, instance: InstanceRef) {
        let Some(index) = self.instances.find(node, instance) else {
            return;
        };
        let i = self.instances.get(index);
        let graced = i
            .terminated_at
            .is_some_and(|at| self.now + 50 * MS >= at + i.stop_grace_ns);
        let answers = matches!(i.phase, Phase::Ready | Phase::Draining);
        if answers && !graced && self.nodes[node].slow == 1 {
            let (name, requests) = (i.reference.to_string(), i.in_flight());
            let oracles = &mut self.oracles;
            oracles
                .answered
                .killed(&name, requests, &mut oracles.findings);
        }
        self.exit_soon(index, 2 * MS);
    }

    pub fn exit_soon(&mut self, instance: u32, delay: u64) {
        let step = InstanceStep::Exit;
        self.after(delay, Happening::Instance { instance, step });
    }

    /// An instance is gone; its host's metald hears of it if it is there.
    pub fn instance_gone(&mut self, index: u32, metald: Option<Stepped>, reason: &str) {
        let instance = self.instances.get(index).reference;
        self.print(self.instances.get(index).host, instance, reason);
        self.instances.die(index);
        if let Some(metald) = metald {
            let report = DriverReport::Exited {
                instance,
                reason: reason.to_owned(),
                log_tail: format!("{instance} says: {reason}"),
            };
            self.report(metald, MS, report);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_leads_back_to_its_node() {
        for id in [1, 77, 0x00ff_fffe] {
            let text = endpoint(NodeId(id), 20_007);
            let address: core::net::SocketAddr = text.parse().unwrap();
            assert_eq!(
                (node_of(address), address.port()),
                (Some(NodeId(id)), 20_007)
            );
        }
    }
}
