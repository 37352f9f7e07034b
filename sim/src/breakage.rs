//! How planned faults strike the world, and how what they struck comes back.

use tidegate_kernel::EngineReply;
use tidegate_protocol::{Key, Record};

use crate::env::Stepped;
use crate::happening::{Happening, InstanceStep};
use crate::instance::Phase;
use crate::plan::{Change, Struck};
use crate::scenario::Behaviour;
use crate::topology::{NodeKind, NodeSet, members};
use crate::world::World;

/// Counts a fault of a kind in, or out.
fn count(faults: &mut u32, begin: bool) {
    *faults = if begin { *faults + 1 } else { *faults - 1 };
}

impl World {
    pub(crate) fn on_fault(&mut self, fault: usize, begin: bool) {
        let planned = self.faults[fault].clone();
        if begin {
            self.struck[fault] = match planned.target {
                Struck::Nodes(set) => set,
                Struck::ActiveScheduler { region } => self.active_scheduler(region),
            };
        }
        let set = self.struck[fault];
        let topology = &self.env.topology;
        self.excuses
            .change(&planned, set, begin, self.env.now, topology);
        let names: Vec<&str> = members(set)
            .map(|n| self.env.topology.nodes[n].name.as_str())
            .collect();
        let word = if begin { "begins" } else { "ends" };
        let text = format!("{} {word}: {}", planned.kind.name(), names.join(" "));
        self.env.stats.tell(self.env.now, text);
        if let Change::Link(change) = planned.change {
            let network = &mut self.env.network;
            network.change(set, planned.against, change, begin);
            if !planned.one_way {
                for node in members(planned.against & !set) {
                    network.change(1 << node, set, change, begin);
                }
            }
            return;
        }
        match planned.change {
            Change::Reset if begin => return self.reset(set, planned.against),
            Change::SlowClients(by) => return self.slow_clients(set, by, begin),
            _ => {}
        }
        for node in members(set) {
            self.strike(node, planned.change, begin);
        }
    }

    fn slow_clients(&mut self, set: NodeSet, by: u64, begin: bool) {
        let nodes = &self.env.topology.nodes;
        for (region, pace) in self.env.slow_clients.iter_mut().enumerate() {
            if members(set).any(|n| nodes[n].region == Some(region)) {
                *pace = if begin { *pace + by } else { *pace - by };
            }
        }
    }

    /// What a store's machine, or the control node, keeps its store on.
    fn disk_of(&self, node: usize) -> Option<usize> {
        let info = &self.env.topology.nodes[node];
        match (info.kind, info.region) {
            (NodeKind::Control, _) => Some(0),
            (NodeKind::Store, Some(region)) => Some(region + 1),
            _ => None,
        }
    }

    fn fill_disk(&mut self, node: usize, begin: bool) {
        count(&mut self.env.nodes[node].blobs.full, begin);
        if let Some(store) = self.disk_of(node) {
            count(&mut self.env.disks[store].full, begin);
        }
    }

    fn strike(&mut self, node: usize, change: Change, begin: bool) {
        match (change, begin) {
            (Change::Crash | Change::Death, true) => self.crash(node, true),
            (Change::Death, false) => {}
            (Change::ProcessCrash, true) => self.crash(node, false),
            (Change::Crash | Change::ProcessCrash, false) => self.restart(node),
            (Change::Pause, true) => self.pause(node),
            (Change::Pause, false) => self.go_on(node),
            (Change::SlowDisk(times), begin) => {
                let store = match self.env.topology.nodes[node].region {
                    Some(region) => region + 1,
                    None => 0,
                };
                self.env.disks[store].times = if begin { u64::from(times) } else { 1 };
            }
            (Change::SlowHost(times), begin) => {
                self.env.nodes[node].slow = if begin { u64::from(times) } else { 1 };
            }
            (Change::ClockJump(by), begin) => {
                self.env.nodes[node]
                    .clock
                    .jump(if begin { by } else { -by });
            }
            (Change::ClockDrift(ppm), begin) => {
                let extra = if begin { i64::from(ppm) } else { 0 };
                let now = self.env.now;
                self.env.nodes[node].clock.set_extra_ppm(now, extra);
                for actor in self.actors_on(node) {
                    self.rearm(actor);
                }
            }
            (Change::FullDisk, begin) => self.fill_disk(node, begin),
            (Change::BitRot, true) => {
                let env = &mut self.env;
                let now = env.now;
                if env.nodes[node].blobs.rot(now, &mut env.rot_rng) {
                    env.stats.mark("blobs that rotted");
                }
            }
            (Change::Deaf, begin) => count(&mut self.env.nodes[node].deaf, begin),
            (Change::Mute, begin) => count(&mut self.env.nodes[node].mute, begin),
            (Change::CrashAtCommit(chance), begin) => {
                self.env.nodes[node].crash_at_commit = if begin { chance } else { 0 };
            }
            (Change::Absent, true) => self.env.nodes[node].up = false,
            (Change::Absent, false) => self.restart(node),
            (Change::Buggify(point, chance), begin) => {
                for actor in self.actors_on(node) {
                    self.arm_point(actor, point, if begin { chance } else { 0 });
                }
            }
            (Change::BitRot | Change::Link(_) | Change::Reset | Change::SlowClients(_), _) => {}
        }
    }

    fn arm_point(&mut self, actor: u32, point: &str, chance: u32) {
        let slot = &mut self.actors[actor as usize];
        let seed = self.buggify_seed.derive_index(u64::from(actor));
        let seed = seed.derive_index(u64::from(slot.life));
        if let Some(cell) = &mut slot.cell {
            cell.arm(point, chance, seed);
        }
    }

    /// A process that was born while points are armed on its machine.
    pub(crate) fn arm_points_of(&mut self, actor: u32) {
        let node = self.actors[actor as usize].node;
        let now = self.env.now;
        let armed: Vec<(&str, u32)> = self
            .faults
            .iter()
            .zip(&self.struck)
            .filter(|(fault, struck)| {
                (fault.begin..fault.end).contains(&now) && **struck >> node & 1 == 1
            })
            .filter_map(|(fault, _)| match fault.change {
                Change::Buggify(point, chance) => Some((point, chance)),
                _ => None,
            })
            .collect();
        for (point, chance) in armed {
            self.arm_point(actor, point, chance);
        }
    }

    pub(crate) fn on_after_commit(&mut self, node: u32, crash: bool) {
        let place = node as usize;
        if !crash {
            self.env.nodes[place].crashing = false;
            if self.env.nodes[place].up {
                self.restart(place);
            }
            return;
        }
        self.crash(place, false);
        self.env.stats.mark("processes that died after a commit");
        let back = self.env.crash_rng.between(200, 3_000) * 1_000_000;
        let come_back = Happening::AfterCommit { node, crash: false };
        self.env.after(back, come_back);
    }

    pub(crate) fn actors_on(&self, node: usize) -> Vec<u32> {
        let actors = &self.env.nodes[node].actors;
        actors.iter().map(|(.., actor)| *actor).collect()
    }

    /// The node whose scheduler holds the region's lease.
    fn active_scheduler(&self, region: usize) -> NodeSet {
        let holder = match self.env.ledger.region(region).get(&Key::Lease) {
            Some(Record::Lease(lease)) => lease.holder,
            _ => None,
        };
        holder
            .and_then(|h| self.env.topology.index(tidegate_protocol::NodeId(h.node)))
            .map_or(0, |node| 1 << node)
    }

    /// Every process of the platform on a machine dies; with `machine`, everything else on
    /// it does as well.
    fn crash(&mut self, node: usize, machine: bool) {
        if !self.env.nodes[node].up {
            return;
        }
        let actors = self.actors_on(node);
        for actor in &actors {
            let slot = &mut self.actors[*actor as usize];
            slot.cell = None;
            slot.life += 1;
            slot.armed_for = None;
            if slot.me.role == tidegate_protocol::Role::Gateway {
                self.env.oracles.one_owner.forget_gateway(*actor);
                self.env.oracles.right_version.forget_gateway(*actor);
                self.break_gateway(*actor, machine);
            }
        }
        self.env.nodes[node].blobs.crash();
        self.crash_disk(node);
        if !machine {
            return;
        }
        self.env.nodes[node].up = false;
        for instance in self.env.instances.alive(node).to_vec() {
            self.break_instance(instance, true);
            self.env
                .instance_gone(instance, None, "the machine stopped");
        }
    }

    fn crash_disk(&mut self, node: usize) {
        let Some(store) = self.disk_of(node) else {
            return;
        };
        let survived: Option<EngineReply> = self.env.disks[store].crash();
        if let Some(reply) = survived {
            self.learn(store, &reply);
        }
    }

    fn restart(&mut self, node: usize) {
        if !self.env.nodes[node].up {
            self.env.nodes[node].up = true;
            let now = self.env.now;
            let rng = &mut self.env.driver_rng;
            self.env.nodes[node].clock.reboot(now, rng);
        }
        for actor in self.actors_on(node) {
            if self.actors[actor as usize].cell.is_none() {
                self.give_birth(actor);
            }
        }
    }

    fn pause(&mut self, node: usize) {
        let paused = &mut self.env.nodes[node];
        paused.pauses += 1;
        if paused.pauses == 1 {
            self.env.paused += 1;
        }
    }

    fn go_on(&mut self, node: usize) {
        let paused = &mut self.env.nodes[node];
        paused.pauses -= 1;
        if paused.pauses > 0 {
            return;
        }
        self.env.paused -= 1;
        // In the order in which they came; but a timer may fire before or after what a
        // socket holds.
        for happening in std::mem::take(&mut self.env.nodes[node].deferred) {
            let now = self.env.now;
            if matches!(happening, Happening::Timer { .. }) && self.pause_rng.chance(500_000) {
                self.env.queue.push_tied(now, u16::MAX, happening);
            } else {
                self.env.queue.push_tied(now, 0, happening);
            }
        }
    }

    pub(crate) fn on_instance(&mut self, instance: u32, step: InstanceStep) {
        let i = self.env.instances.get_mut(instance);
        if i.phase == Phase::Dead {
            return;
        }
        match step {
            InstanceStep::Ready => {
                i.phase = match (i.phase, i.behaviour) {
                    (Phase::Booting, Behaviour::Hangs) => Phase::Hung,
                    (Phase::Booting, _) => Phase::Ready,
                    (other, _) => other,
                };
            }
            InstanceStep::Crash => self.end_instance(instance, "exit code 1"),
            InstanceStep::Exit => {
                let reason = if i.in_flight() > 0 {
                    "signal 9"
                } else {
                    "exit code 0"
                };
                self.end_instance(instance, reason);
            }
        }
    }

    fn end_instance(&mut self, instance: u32, reason: &str) {
        let host = self.env.instances.get(instance).host;
        self.break_instance(instance, false);
        let metald = self.actors_on(host).first().copied();
        let metald: Option<Stepped> = metald.map(|actor| self.stepped(actor));
        self.env.instance_gone(instance, metald, reason);
    }
}
