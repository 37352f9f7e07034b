//! What the two turmoil peers share: hosts, addresses, stepping and measuring.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use tidegate_benches::cpu;
use tidegate_benches::report::Measurement;
use tidegate_benches::workload::{
    ACTORS, Actor, Body, IN_FLIGHT_MANY, LATENCY_MAX, LATENCY_MIN, Send, fold_delivery,
};
use tidegate_sim_queue::TraceHash;
use turmoil::{Builder, Sim};

pub(crate) const PORT: u16 = 7000;

const WARM_UP: u64 = 20_000;
const DELIVERIES: u64 = 400_000;

/// The actor of one host and what it shares with the others.
pub(crate) struct Host {
    pub(crate) id: u32,
    actor: RefCell<Actor>,
    world: Rc<World>,
}

#[derive(Default)]
struct World {
    delivered: Cell<u64>,
    trace: RefCell<TraceHash>,
}

impl Host {
    pub(crate) fn start(&self) -> Send {
        self.actor.borrow_mut().start()
    }

    pub(crate) fn deliver(&self, from: IpAddr, body: Body) -> Send {
        let IpAddr::V4(from) = from else {
            unreachable!("the simulation has IPv4 addresses only")
        };
        self.world.delivered.set(self.world.delivered.get() + 1);
        let mut trace = self.world.trace.borrow_mut();
        fold_delivery(&mut trace, 0, from.to_bits(), self.id, body);
        self.actor.borrow_mut().receive(body)
    }

    /// Where the other actors are, by number.
    pub(crate) fn addresses() -> Vec<SocketAddr> {
        let address = |id| SocketAddr::new(turmoil::lookup(name(id)), PORT);
        (0..ACTORS).map(address).collect()
    }
}

/// Runs `software` on each of the hosts until enough was delivered.
pub(crate) fn measure<F>(
    peer: &str,
    in_flight: u32,
    tick: Duration,
    software: impl Fn(Rc<Host>) -> F + Clone + 'static,
) -> Measurement
where
    F: Future<Output = turmoil::Result> + 'static,
{
    let world = Rc::new(World::default());
    let mut sim = build(tick);
    for id in 0..ACTORS {
        let (software, world) = (software.clone(), world.clone());
        sim.host(name(id), move || {
            software(Rc::new(Host {
                id,
                actor: RefCell::new(Actor::new(id)),
                world: world.clone(),
            }))
        });
    }
    run_until(&mut sim, &world, WARM_UP);
    let (before, started) = (world.delivered.get(), cpu::process_time());
    run_until(&mut sim, &world, before + DELIVERIES);
    let cpu = cpu::process_time() - started;
    Measurement {
        peer: format!("turmoil {peer}, tick {} ms", tick.as_millis()),
        in_flight,
        deliveries: world.delivered.get() - before,
        cpu,
    }
}

fn build(tick: Duration) -> Sim<'static> {
    Builder::new()
        .epoch(SystemTime::UNIX_EPOCH)
        .rng_seed(1)
        .tick_duration(tick)
        .min_message_latency(LATENCY_MIN)
        .max_message_latency(LATENCY_MAX)
        // Room for everything in flight at one host, so that nothing is dropped.
        .udp_capacity(IN_FLIGHT_MANY as usize)
        .tcp_capacity(IN_FLIGHT_MANY as usize)
        .build()
}

fn run_until(sim: &mut Sim<'_>, world: &World, delivered: u64) {
    while world.delivered.get() < delivered {
        sim.step().expect("a host failed");
    }
}

fn name(id: u32) -> String {
    format!("actor-{id}")
}
