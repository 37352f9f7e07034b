//! The kernel benchmark's workload on madsim endpoints, one node an actor.
//!
//! Prints one measurement a line for the benchmark that started it. CPU time
//! comes from `getrusage`, which madsim leaves alone; every clock it does not.

#[cfg(not(madsim))]
compile_error!("madsim simulates only with --cfg madsim: build in this directory");

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use madsim::net::{Endpoint, NetSim};
use madsim::plugin::simulator;
use madsim::runtime::{Handle, Runtime};
use tidegate_benches::cpu;
use tidegate_benches::report::Measurement;
use tidegate_benches::workload::{
    ACTORS, Actor, Body, IN_FLIGHT_FEW, IN_FLIGHT_MANY, LATENCY_MAX, LATENCY_MIN, fold_delivery,
};
use tidegate_sim_queue::TraceHash;

const PORT: u16 = 7000;
const TAG: u64 = 1;
const WARM_UP: u64 = 100_000;
const DELIVERIES: u64 = 2_000_000;
/// By then every node has bound its endpoint.
const STARTED_AFTER: Duration = Duration::from_millis(100);
/// How often the count is looked at, in simulated time: rarely enough to cost
/// nothing.
const CHECKED_EVERY: Duration = Duration::from_millis(10);

#[derive(Default)]
struct World {
    delivered: u64,
    trace: TraceHash,
}

type Shared = Arc<Mutex<World>>;

fn main() {
    for in_flight in [IN_FLIGHT_FEW, IN_FLIGHT_MANY] {
        let measurement = Runtime::with_seed_and_config(1, madsim::Config::default())
            .block_on(measure(in_flight));
        println!("{}", measurement.to_line());
    }
}

async fn measure(in_flight: u32) -> Measurement {
    simulator::<NetSim>().update_config(|config| config.send_latency = LATENCY_MIN..LATENCY_MAX);
    let world = Shared::default();
    for id in 0..ACTORS {
        let node = Handle::current().create_node().ip(address(id).ip()).build();
        node.spawn(serve(id, in_flight / ACTORS, world.clone()));
    }
    run_until(&world, WARM_UP).await;
    let (before, started) = (delivered(&world), cpu::process_time());
    run_until(&world, before + DELIVERIES).await;
    let cpu = cpu::process_time() - started;
    Measurement {
        peer: "madsim endpoints".to_owned(),
        in_flight,
        deliveries: delivered(&world) - before,
        cpu,
    }
}

async fn serve(id: u32, starts: u32, world: Shared) -> std::io::Result<()> {
    let mut actor = Actor::new(id);
    let endpoint = Endpoint::bind(("0.0.0.0", PORT)).await?;
    madsim::time::sleep(STARTED_AFTER).await;
    for _ in 0..starts {
        let send = actor.start();
        let payload = Box::new(send.body);
        endpoint.send_to_raw(address(send.to), TAG, payload).await?;
    }
    loop {
        let (payload, from) = endpoint.recv_from_raw(TAG).await?;
        let body = *payload.downcast::<Body>().expect("only bodies are sent");
        fold(&world, from, id, body);
        let send = actor.receive(body);
        let payload = Box::new(send.body);
        endpoint.send_to_raw(address(send.to), TAG, payload).await?;
    }
}

fn fold(world: &Shared, from: SocketAddr, to: u32, body: Body) {
    let IpAddr::V4(from) = from.ip() else {
        unreachable!("the nodes have IPv4 addresses only")
    };
    let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
    world.delivered += 1;
    fold_delivery(&mut world.trace, 0, from.to_bits(), to, body);
}

async fn run_until(world: &Shared, count: u64) {
    while delivered(world) < count {
        madsim::time::sleep(CHECKED_EVERY).await;
    }
}

fn delivered(world: &Shared) -> u64 {
    let world = world.lock().unwrap_or_else(PoisonError::into_inner);
    world.delivered
}

fn address(id: u32) -> SocketAddr {
    let ip = Ipv4Addr::new(10, 0, 0, 1 + id as u8);
    SocketAddr::new(ip.into(), PORT)
}
