//! The lanes of the diagram: one for each actor, and for what is no actor of the platform:
//! the clients of a region, the instances of a host, the operator, and the world itself
//! (faults, oracles).

use tidegate_kernel::Note;
use tidegate_protocol::{Address, Role};

use crate::happening::{Happening, RequestStep};
use crate::topology::{NodeKind, NodeSet, Topology, members};
use crate::world::World;

/// A group of lanes: a machine, or a place outside all machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub name: String,
    pub region: String,
    /// Number of the machine as addresses and violations have it; 0: no machine.
    pub node: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    pub name: String,
    /// Index into the hosts.
    pub host: u32,
}

/// All lanes from top to bottom, and who has which.
#[derive(Clone, Debug)]
pub(super) struct Lanes {
    pub hosts: Vec<Host>,
    pub all: Vec<Lane>,
    actors: Vec<u32>,
    nodes: Vec<Vec<u32>>,
    clients: Vec<u32>,
    instances: Vec<u32>,
    operator: u32,
}

/// The lane of faults and oracles.
pub(super) const WORLD: u32 = 0;

impl Lanes {
    pub(super) fn of(world: &World) -> Self {
        let topology = &world.env.topology;
        let mut lanes = Self {
            hosts: Vec::new(),
            all: Vec::new(),
            actors: vec![WORLD; world.actors.len()],
            nodes: vec![Vec::new(); topology.nodes.len()],
            clients: Vec::new(),
            instances: vec![WORLD; topology.nodes.len()],
            operator: WORLD,
        };
        lanes.host("world", "outside", 0);
        lanes.lane("faults, oracles");
        lanes.machine(world, Topology::OPERATOR, "outside");
        lanes.machine(world, Topology::CONTROL, "control plane");
        for (region, name) in topology.regions.iter().enumerate() {
            lanes.host(&format!("clients of {name}"), name, 0);
            let lane = lanes.lane("clients");
            lanes.clients.push(lane);
            for kind in [NodeKind::Gateway, NodeKind::Store, NodeKind::Host] {
                for node in topology.of(region, kind) {
                    lanes.machine(world, node, name);
                }
            }
        }
        lanes
    }

    fn host(&mut self, name: &str, region: &str, node: u32) {
        self.hosts.push(Host {
            name: name.to_owned(),
            region: region.to_owned(),
            node,
        });
    }

    fn lane(&mut self, name: &str) -> u32 {
        self.all.push(Lane {
            name: name.to_owned(),
            host: self.hosts.len() as u32 - 1,
        });
        self.all.len() as u32 - 1
    }

    fn machine(&mut self, world: &World, node: usize, region: &str) {
        let info = &world.env.topology.nodes[node];
        self.host(&info.name, region, info.id.0);
        if node == Topology::OPERATOR {
            self.operator = self.lane("operator");
            self.nodes[node].push(self.operator);
        }
        for (role, index, actor) in &world.env.nodes[node].actors {
            let name = match role {
                Role::Gateway => format!("{} {index}", role.name()),
                Role::Store if *index == Address::MAIN_STORE => "main store".into(),
                Role::Store => "partition store".into(),
                _ => role.name().into(),
            };
            let lane = self.lane(&name);
            self.actors[*actor as usize] = lane;
            self.nodes[node].push(lane);
        }
        if info.kind == NodeKind::Host {
            self.instances[node] = self.lane("instances");
            self.nodes[node].push(self.instances[node]);
        }
    }

    pub(super) fn of_actor(&self, actor: u32) -> u32 {
        self.actors[actor as usize]
    }

    pub(super) fn of_address(&self, world: &World, address: Address) -> u32 {
        match world.env.actor_of(address) {
            Some(actor) => self.of_actor(actor),
            None => {
                let node = world.env.topology.index(address.node);
                let lanes = node.map(|node| &self.nodes[node]);
                lanes
                    .and_then(|l| l.first())
                    .copied()
                    .unwrap_or(self.operator)
            }
        }
    }

    /// Every lane of a set of machines.
    pub(super) fn of_nodes(&self, set: NodeSet) -> Vec<u32> {
        members(set)
            .filter_map(|node| self.nodes.get(node))
            .flatten()
            .copied()
            .collect()
    }

    /// Where an event is drawn.
    pub(super) fn of_happening(&self, world: &World, what: &Happening) -> u32 {
        match what {
            Happening::Message(flight) => self.of_address(world, flight.to),
            Happening::Timer { actor, .. }
            | Happening::Disk { actor, .. }
            | Happening::Driver { actor, .. }
            | Happening::Blob { actor, .. } => self.of_actor(*actor),
            Happening::Instance { instance, .. } | Happening::Served { instance, .. } => {
                self.instances[world.env.instances.get(*instance).host]
            }
            Happening::Request {
                request,
                step,
                what,
            } => self.of_request(world, *request, *step, *what),
            Happening::Arrival { stream } => self.clients[world.streams[*stream as usize].region],
            Happening::Operator { .. } => self.operator,
            Happening::Fault { .. } | Happening::AfterCommit { .. } | Happening::Checkpoint => {
                WORLD
            }
        }
    }

    fn of_request(&self, world: &World, request: u32, step: u32, what: RequestStep) -> u32 {
        let Some(r) = world.requests.current(request, step) else {
            return WORLD;
        };
        match what {
            RequestStep::AtInstance => self.instances[world.env.instances.get(r.instance).host],
            RequestStep::AtClient | RequestStep::ClientLeaves => self.clients[r.region()],
            RequestStep::HopAnswered => self.of_actor(r.legs[0].gateway),
            _ => self.of_actor(r.leg().gateway),
        }
    }
}

/// The first of the actors that an event concerns; a fault concerns too many to have one.
pub(super) fn first_concerned(world: &World, what: &Happening) -> Option<u32> {
    match what {
        Happening::Message(flight) => world.env.actor_of(flight.to),
        Happening::Timer { actor, .. }
        | Happening::Disk { actor, .. }
        | Happening::Driver { actor, .. }
        | Happening::Blob { actor, .. } => Some(*actor),
        Happening::Request { request, step, .. } => {
            let current = world.requests.current(*request, *step)?;
            current.gateways().next()
        }
        Happening::Instance { .. }
        | Happening::Served { .. }
        | Happening::Arrival { .. }
        | Happening::Operator { .. }
        | Happening::Fault { .. }
        | Happening::AfterCommit { .. }
        | Happening::Checkpoint => None,
    }
}

/// The actors whose state an event may change.
pub(super) fn concerned(world: &World, what: &Happening) -> Vec<u32> {
    match what {
        Happening::Request { request, step, .. } => {
            let current = world.requests.current(*request, *step);
            let mut gateways: Vec<u32> = current.map_or(Vec::new(), |r| r.gateways().collect());
            gateways.dedup();
            gateways
        }
        Happening::AfterCommit { node, .. } => world.actors_on(*node as usize),
        // A fault may end the life of actors, or begin one.
        Happening::Fault { fault, .. } => {
            let struck = world.struck.get(*fault as usize).copied().unwrap_or(0);
            members(struck)
                .flat_map(|node| world.actors_on(node))
                .collect()
        }
        _ => first_concerned(world, what).into_iter().collect(),
    }
}

/// Whether a note is a change of state that somebody who reads the diagram looks for.
pub(super) fn is_turn(note: &Note) -> bool {
    matches!(
        note,
        Note::Elected { .. }
            | Note::Deposed { .. }
            | Note::Claimed { .. }
            | Note::Reclaimed { .. }
            | Note::Instance { .. }
            | Note::Deploy { .. }
            | Note::Cutover { .. }
            | Note::Serving { .. }
            | Note::Feed { .. }
    )
}
