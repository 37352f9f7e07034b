//! The queue alone against the standard library's heap, in the same run: a pop
//! and a push ("hold") at a constant number of events in flight.
//!
//! The heap holds (time, tie-break, sequence, event) inline, as one would write
//! it first. The distributions are those that queues are bad at: everything
//! within microseconds, ordinary network latencies, and those with one event in
//! sixteen a timer of 30 s.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tidegate_benches::workload::Random;
use tidegate_sim_queue::EventQueue;

type Event = [u64; 9];

trait Queue {
    const NAME: &str;
    fn new() -> Self;
    fn push(&mut self, time_ns: u64, event: Event);
    fn pop(&mut self) -> Option<(u64, Event)>;
}

impl Queue for EventQueue<Event> {
    const NAME: &str = "EventQueue";

    fn new() -> Self {
        Self::seeded(1)
    }

    fn push(&mut self, time_ns: u64, event: Event) {
        Self::push(self, time_ns, event);
    }

    fn pop(&mut self) -> Option<(u64, Event)> {
        Self::pop(self)
    }
}

struct Heap {
    heap: BinaryHeap<Reverse<(u64, u32, u64, Event)>>,
    ties: Random,
    pushed: u64,
}

impl Queue for Heap {
    const NAME: &str = "BinaryHeap";

    fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            ties: Random::new(1),
            pushed: 0,
        }
    }

    fn push(&mut self, time_ns: u64, event: Event) {
        self.pushed += 1;
        let tie = self.ties.draw() as u32;
        self.heap.push(Reverse((time_ns, tie, self.pushed, event)));
    }

    fn pop(&mut self) -> Option<(u64, Event)> {
        let Reverse((time_ns, _, _, event)) = self.heap.pop()?;
        Some((time_ns, event))
    }
}

#[derive(Clone, Copy)]
enum Delays {
    Dense,
    Network,
    Timers,
}

impl Delays {
    fn draw(self, random: &mut Random) -> u64 {
        match self {
            Self::Dense => 1_000 + random.below(1_000),
            Self::Network => random.latency_ns(),
            Self::Timers if random.below(16) == 0 => 30_000_000_000,
            Self::Timers => random.latency_ns(),
        }
    }
}

fn hold<Q: Queue>(c: &mut Criterion, label: &str, delays: Delays) {
    let mut group = c.benchmark_group(label);
    for in_flight in [50, 1_000, 100_000] {
        let mut queue = Q::new();
        let mut random = Random::new(7);
        for i in 0..in_flight {
            queue.push(delays.draw(&mut random), [i; 9]);
        }
        group.bench_function(BenchmarkId::new(Q::NAME, in_flight), |b| {
            b.iter(|| {
                let (now_ns, event) = queue.pop().expect("each pop is followed by a push");
                queue.push(now_ns + delays.draw(&mut random), black_box(event));
            });
        });
    }
    group.finish();
}

fn compare(c: &mut Criterion) {
    let distributions = [
        ("dense", Delays::Dense),
        ("network", Delays::Network),
        ("timers", Delays::Timers),
    ];
    for (label, delays) in distributions {
        hold::<EventQueue<Event>>(c, label, delays);
        hold::<Heap>(c, label, delays);
    }
}

criterion_group!(benches, compare);
criterion_main!(benches);
