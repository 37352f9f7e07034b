//! Our loop: pop, match the actor, fold the trace, draw a latency, push.

use std::hint::black_box;

use tidegate_benches::cpu;
use tidegate_benches::report::Measurement;
use tidegate_benches::workload::{ACTORS, Actor, Body, Random, fold_delivery};
use tidegate_sim_queue::{EventQueue, TraceHash};

pub(crate) const NAME: &str = "tidegate";

const WARM_UP: u64 = 1_000_000;
const DELIVERIES: u64 = 40_000_000;

struct Delivery {
    from: u32,
    to: u32,
    body: Body,
}

struct Loop {
    actors: Vec<Actor>,
    queue: EventQueue<Delivery>,
    latencies: Random,
    trace: TraceHash,
}

pub(crate) fn measure(in_flight: u32) -> Measurement {
    let mut world = Loop::start(in_flight);
    world.run(WARM_UP);
    let before = cpu::process_time();
    world.run(DELIVERIES);
    let cpu = cpu::process_time() - before;
    black_box(world.trace.value());
    Measurement {
        peer: NAME.to_owned(),
        in_flight,
        deliveries: DELIVERIES,
        cpu,
    }
}

impl Loop {
    fn start(in_flight: u32) -> Self {
        let mut world = Self {
            actors: Actor::all(),
            queue: EventQueue::seeded(1),
            latencies: Random::new(2),
            trace: TraceHash::new(),
        };
        for from in (0..ACTORS).cycle().take(in_flight as usize) {
            let send = world.actors[from as usize].start();
            let (to, body) = (send.to, send.body);
            let latency_ns = world.latencies.latency_ns();
            world.queue.push(latency_ns, Delivery { from, to, body });
        }
        world
    }

    #[inline(never)]
    fn run(&mut self, deliveries: u64) {
        for _ in 0..deliveries {
            let Some((now_ns, Delivery { from, to, body })) = self.queue.pop() else {
                return;
            };
            fold_delivery(&mut self.trace, now_ns, from, to, body);
            let send = self.actors[to as usize].receive(body);
            let answer = Delivery {
                from: to,
                to: send.to,
                body: send.body,
            };
            self.queue
                .push(now_ns + self.latencies.latency_ns(), answer);
        }
    }
}
