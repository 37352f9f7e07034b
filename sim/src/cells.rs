//! The production actors, as the world holds them.
//!
//! One enum over the actors' cells: a step is a jump, not a virtual call, and the gateway's
//! hot path is a direct call.

use tidegate_artifact::{Origin, OriginConfig};
use tidegate_control::{Control, ControlConfig};
use tidegate_edge::{Edge, EdgeConfig};
use tidegate_gateway::{Gateway, GatewayConfig};
use tidegate_kernel::{Cell, Event, Now, Seed, Sink, Time};
use tidegate_metald::{Metald, MetaldConfig};
use tidegate_protocol::{Address, Role};
use tidegate_scheduler::{Scheduler, SchedulerConfig};
use tidegate_store::{StoreActor, StoreConfig};
use tidegate_sync::{Sync, SyncConfig};

use crate::driver;
use crate::scenario::Scenario;
use crate::taped::Tape;
use crate::topology::{NodeKind, Topology};

/// Under which projects without host names of their own are reached.
pub const DOMAIN: &str = "tide.example";
/// Port on which a gateway node takes hops.
pub const HOP_PORT: u16 = 8_443;

#[derive(Debug)]
pub enum AnyCell {
    Control(Cell<Control>),
    Sync(Cell<Sync>),
    Store(Cell<StoreActor>),
    Origin(Cell<Origin>),
    Gateway(Cell<Gateway>),
    Edge(Cell<Edge>),
    Scheduler(Cell<Scheduler>),
    Metald(Cell<Metald>),
}

/// Does the same with a cell of whatever actor.
macro_rules! each {
    ($cell:expr, $c:ident => $body:expr) => {
        match $cell {
            $crate::cells::AnyCell::Control($c) => $body,
            $crate::cells::AnyCell::Sync($c) => $body,
            $crate::cells::AnyCell::Store($c) => $body,
            $crate::cells::AnyCell::Origin($c) => $body,
            $crate::cells::AnyCell::Gateway($c) => $body,
            $crate::cells::AnyCell::Edge($c) => $body,
            $crate::cells::AnyCell::Scheduler($c) => $body,
            $crate::cells::AnyCell::Metald($c) => $body,
        }
    };
}

pub(crate) use each;

impl AnyCell {
    /// One step, with the actor's own invariants checked after it in every build.
    pub fn step(&mut self, now: Now, event: Event, sink: &mut impl Sink) {
        each!(self, c => {
            c.step(now, event, sink);
            #[cfg(not(debug_assertions))]
            tidegate_kernel::Actor::check(c.actor());
        });
    }

    /// Arms a point of the actor.
    pub fn arm(&mut self, point: &str, per_million: u32, seed: Seed) {
        each!(self, c => c.arm(point, per_million, seed));
    }

    /// How full the actor's queues are.
    pub fn load(&self) -> Vec<tidegate_kernel::Load> {
        each!(self, c => c.load())
    }

    #[inline]
    pub fn next_deadline(&self) -> Option<(Time, &'static str)> {
        each!(self, c => c.next_deadline())
    }
}

/// An actor's place in the world, and its present life, if it lives.
#[derive(Debug)]
pub struct ActorSlot {
    pub me: Address,
    pub node: usize,
    pub life: u32,
    pub cell: Option<AnyCell>,
    pub(crate) tape: Option<Tape>,
    /// Number of the timer that counts, and the monotonic time that it is for.
    pub armed: u32,
    pub armed_for: Option<Time>,
}

/// Which actors run on a node: role and index.
pub fn actors_of(kind: NodeKind, scenario: &Scenario) -> Vec<(Role, u16)> {
    match kind {
        NodeKind::Control => vec![
            (Role::Store, Address::MAIN_STORE),
            (Role::Control, 0),
            (Role::Sync, 0),
            (Role::Origin, 0),
        ],
        NodeKind::Operator => Vec::new(),
        NodeKind::Store => vec![(Role::Store, Address::PARTITION_STORE)],
        NodeKind::Gateway => {
            let gateways = *scenario.topology.gateway_actors.get_ref() as u16;
            let mut actors = vec![(Role::Edge, 0), (Role::Origin, 0), (Role::Scheduler, 0)];
            actors.extend((0..gateways).map(|i| (Role::Gateway, i)));
            actors
        }
        NodeKind::Host => vec![(Role::Metald, 0)],
    }
}

/// Builds one life of an actor.
pub fn born(
    me: Address,
    node: usize,
    life: u32,
    topology: &Topology,
    scenario: &Scenario,
    seed: Seed,
) -> Option<AnyCell> {
    let rng = seed
        .derive("actor")
        .derive(me.role.name())
        .derive_index(u64::from(me.node.0) << 16 | u64::from(me.index))
        .derive_index(u64::from(life))
        .rng();
    let info = &topology.nodes[node];
    let control = topology.nodes[Topology::CONTROL].id;
    let at_control = |role, index| Address::new(control, role, index);
    let main_store = at_control(Role::Store, Address::MAIN_STORE);
    let region = info
        .region
        .map(|r| topology.regions[r].as_str())
        .unwrap_or_default();
    let store = info
        .region
        .and_then(|r| topology.of(r, NodeKind::Store).next())
        .map_or(main_store, |n| {
            Address::new(topology.nodes[n].id, Role::Store, Address::PARTITION_STORE)
        });
    Some(match me.role {
        Role::Control => {
            let config =
                ControlConfig::new(me, main_store, at_control(Role::Sync, 0), DOMAIN.into());
            AnyCell::Control(Cell::new(Control::new(config, rng)))
        }
        Role::Sync => {
            let config = SyncConfig::new(me, main_store);
            AnyCell::Sync(Cell::new(Sync::new(config, rng)))
        }
        Role::Store => AnyCell::Store(Cell::new(StoreActor::new(StoreConfig::new(me), rng))),
        Role::Origin => AnyCell::Origin(Cell::new(Origin::new(OriginConfig::new(me), rng))),
        Role::Gateway => {
            let config = GatewayConfig::new(me, region, store);
            AnyCell::Gateway(Cell::new(Gateway::new(config, rng)))
        }
        Role::Scheduler => {
            let config = SchedulerConfig::new(me, store);
            AnyCell::Scheduler(Cell::new(Scheduler::new(config, rng)))
        }
        Role::Edge => {
            let mut config = EdgeConfig::new(
                me,
                &info.name,
                region,
                store,
                at_control(Role::Control, 0),
                at_control(Role::Origin, 0),
                driver::endpoint(info.id, HOP_PORT),
            );
            config.gateway_actors = *scenario.topology.gateway_actors.get_ref();
            AnyCell::Edge(Cell::new(Edge::new(config, rng)))
        }
        Role::Metald => {
            let capacity = *scenario.topology.host_capacity.get_ref();
            let origin = at_control(Role::Origin, 0);
            let config = MetaldConfig::new(me, &info.name, &info.zone, capacity, store, origin);
            AnyCell::Metald(Cell::new(Metald::new(config, rng)))
        }
        Role::Client => return None,
    })
}
