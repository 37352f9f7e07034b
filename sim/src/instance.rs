//! The apps: what a driver starts, how long it boots, how it serves, how it dies.
//!
//! An instance works on so many requests at once and lets more wait inside. Asked to end, a
//! well-behaved one takes no new connection, finishes what it has, and exits.

use std::collections::VecDeque;

use tidegate_protocol::InstanceRef;

use crate::clock::SimTime;
use crate::scenario::{App, Behaviour};

/// Requests that wait inside an instance; more are refused like a full listen backlog.
const BACKLOG_MAX: usize = 512;
/// First port that drivers hand out, and how many there are.
const PORT_FIRST: u16 = 20_000;
const PORTS: usize = 40_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Booting,
    Ready,
    /// Accepts, never answers.
    Hung,
    /// Finishes what it has.
    Draining,
    Dead,
}

#[derive(Debug)]
pub struct Instance {
    pub reference: InstanceRef,
    /// Place of its host in the topology.
    pub host: usize,
    pub port: u16,
    pub phase: Phase,
    pub behaviour: Behaviour,
    pub service_ns: u64,
    workers: u32,
    busy: u32,
    /// Requests that it ever began to work on.
    pub taken: u32,
    /// When it last had nothing left to do.
    pub idle_since: SimTime,
    waiting: VecDeque<(u32, u32)>,
    pub terminated_at: Option<SimTime>,
    pub stop_grace_ns: u64,
}

/// What becomes of a request that reached an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reception {
    /// Work on it begins.
    Begins,
    Waits,
    /// It was taken and nothing will come of it.
    Swallowed,
    Refused,
}

/// All instances that ever were, and those that are, by host.
#[derive(Debug)]
pub struct Instances {
    all: Vec<Instance>,
    hosts: Vec<HostInstances>,
}

#[derive(Clone, Debug, Default)]
struct HostInstances {
    alive: Vec<u32>,
    ports: Vec<u32>,
    next_port: usize,
}

impl Instances {
    pub fn new(nodes: usize) -> Self {
        Self {
            all: Vec::new(),
            hosts: vec![HostInstances::default(); nodes],
        }
    }

    #[inline]
    pub fn get(&self, index: u32) -> &Instance {
        &self.all[index as usize]
    }

    #[inline]
    pub fn get_mut(&mut self, index: u32) -> &mut Instance {
        &mut self.all[index as usize]
    }

    pub fn started(&self) -> usize {
        self.all.len()
    }

    pub fn start(
        &mut self,
        host: usize,
        reference: InstanceRef,
        app: &App,
        behaviour: Behaviour,
    ) -> u32 {
        let index = self.all.len() as u32;
        let here = &mut self.hosts[host];
        let offset = here.next_port % PORTS;
        here.next_port += 1;
        match here.ports.get_mut(offset) {
            Some(port) => *port = index,
            None => here.ports.push(index),
        }
        here.alive.push(index);
        self.all.push(Instance {
            reference,
            host,
            port: PORT_FIRST + offset as u16,
            phase: Phase::Booting,
            behaviour,
            service_ns: app.service.nanos(),
            workers: *app.workers.get_ref(),
            busy: 0,
            taken: 0,
            idle_since: 0,
            waiting: VecDeque::new(),
            terminated_at: None,
            stop_grace_ns: app.stop_grace.nanos(),
        });
        index
    }

    /// The instance that has, or had, a port of a host.
    #[inline]
    pub fn at(&self, host: usize, port: u16) -> Option<u32> {
        let offset = usize::from(port.checked_sub(PORT_FIRST)?);
        self.hosts[host].ports.get(offset).copied()
    }

    pub fn alive(&self, host: usize) -> &[u32] {
        &self.hosts[host].alive
    }

    pub fn find(&self, host: usize, reference: InstanceRef) -> Option<u32> {
        self.hosts[host]
            .alive
            .iter()
            .copied()
            .find(|i| self.get(*i).reference == reference)
    }

    /// Another life of the same slot on the same host.
    pub fn beside(&self, host: usize, reference: InstanceRef) -> Option<InstanceRef> {
        self.hosts[host]
            .alive
            .iter()
            .map(|i| self.get(*i).reference)
            .find(|r| {
                r.version == reference.version
                    && r.slot == reference.slot
                    && r.epoch != reference.epoch
            })
    }

    pub fn die(&mut self, index: u32) {
        let instance = &mut self.all[index as usize];
        instance.phase = Phase::Dead;
        instance.waiting.clear();
        self.hosts[instance.host].alive.retain(|i| *i != index);
    }
}

impl Instance {
    /// A request arrives on a new connection.
    #[inline]
    pub fn receive(&mut self, request: u32, step: u32) -> Reception {
        match self.phase {
            Phase::Booting | Phase::Draining | Phase::Dead => Reception::Refused,
            Phase::Hung => Reception::Swallowed,
            Phase::Ready if self.busy < self.workers => {
                self.busy += 1;
                Reception::Begins
            }
            Phase::Ready if self.waiting.len() < BACKLOG_MAX => {
                self.waiting.push_back((request, step));
                Reception::Waits
            }
            Phase::Ready => Reception::Refused,
        }
    }

    /// A worker is free: the request that it takes next.
    #[inline]
    pub fn served(&mut self) -> Option<(u32, u32)> {
        let next = self.waiting.pop_front();
        if next.is_none() {
            self.busy -= 1;
        }
        next
    }

    /// Requests that it has.
    pub fn in_flight(&self) -> usize {
        self.busy as usize + self.waiting.len()
    }

    pub fn is_drained(&self) -> bool {
        self.phase == Phase::Draining && self.in_flight() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{BUILTIN, Scenario};

    fn instance(workers: u32) -> (Instances, u32) {
        let scenario = Scenario::parse("t", BUILTIN[0].text).unwrap();
        let mut instances = Instances::new(4);
        let reference = InstanceRef {
            version: 1,
            slot: 0,
            epoch: 1,
        };
        let index = instances.start(2, reference, &scenario.apps[0], Behaviour::Healthy);
        instances.get_mut(index).workers = workers;
        (instances, index)
    }

    #[test]
    fn it_serves_some_and_lets_the_rest_wait() {
        let (mut all, index) = instance(1);
        let i = all.get_mut(index);
        assert_eq!(i.receive(1, 1), Reception::Refused);
        i.phase = Phase::Ready;
        assert_eq!(i.receive(1, 1), Reception::Begins);
        assert_eq!(i.receive(2, 5), Reception::Waits);
        assert_eq!(i.served(), Some((2, 5)));
        assert_eq!((i.served(), i.in_flight()), (None, 0));
    }

    #[test]
    fn draining_takes_nothing_new_and_ends_empty() {
        let (mut all, index) = instance(1);
        let i = all.get_mut(index);
        i.phase = Phase::Ready;
        i.receive(1, 1);
        i.phase = Phase::Draining;
        assert_eq!(i.receive(2, 1), Reception::Refused);
        assert!(!i.is_drained());
        i.served();
        assert!(i.is_drained());
    }

    #[test]
    fn a_port_leads_to_its_instance() {
        let (mut all, index) = instance(1);
        let port = all.get(index).port;
        assert_eq!(all.at(2, port), Some(index));
        assert_eq!(all.at(3, port), None);
        all.die(index);
        assert_eq!(all.alive(2), &[] as &[u32]);
    }
}
