//! The queue against a sorted model: whatever is pushed in whatever rhythm, the
//! next event is the smallest of (time, tie-break, insertion).

use std::collections::BTreeMap;

use proptest::prelude::*;
use tidegate_sim_queue::EventQueue;

#[derive(Clone, Debug)]
enum Step {
    /// `after_ns` counts from the last pop, as a simulator's sends do.
    Push {
        after_ns: u64,
        tie: u16,
    },
    /// An absolute time, which may lie before the last pop.
    PushAt {
        time_ns: u64,
        tie: u16,
    },
    Pop,
    Peek,
}

fn step() -> impl Strategy<Value = Step> {
    // Simultaneous, dense, ordinary and sparse distances, few distinct ties.
    let after_ns = prop_oneof![
        Just(0),
        0..4_u64,
        0..2_000_u64,
        0..1_000_000_u64,
        30_000_000_000..31_000_000_000_u64,
        any::<u64>(),
    ];
    let time_ns = prop_oneof![any::<u64>(), Just(u64::MAX), 0..100_u64];
    prop_oneof![
        6 => (after_ns, 0..4_u16).prop_map(|(after_ns, tie)| Step::Push { after_ns, tie }),
        1 => (time_ns, any::<u16>()).prop_map(|(time_ns, tie)| Step::PushAt { time_ns, tie }),
        4 => Just(Step::Pop),
        1 => Just(Step::Peek),
    ]
}

/// The specification.
#[derive(Default)]
struct Model {
    events: BTreeMap<(u64, u16, u64), u64>,
    pushed: u64,
}

impl Model {
    fn push(&mut self, time_ns: u64, tie: u16) -> u64 {
        self.pushed += 1;
        self.events.insert((time_ns, tie, self.pushed), self.pushed);
        self.pushed
    }

    fn pop(&mut self) -> Option<(u64, u64)> {
        self.events
            .pop_first()
            .map(|((time, ..), event)| (time, event))
    }

    fn peek_time(&self) -> Option<u64> {
        self.events.keys().next().map(|&(time, ..)| time)
    }
}

fn check(steps: impl IntoIterator<Item = Step>) {
    let mut queue = EventQueue::seeded(0);
    let mut model = Model::default();
    let mut now_ns = 0_u64;
    let push = |queue: &mut EventQueue<u64>, model: &mut Model, time_ns, tie| {
        queue.push_tied(time_ns, tie, model.push(time_ns, tie));
    };
    for step in steps {
        match step {
            Step::Push { after_ns, tie } => {
                push(&mut queue, &mut model, now_ns.saturating_add(after_ns), tie);
            }
            Step::PushAt { time_ns, tie } => push(&mut queue, &mut model, time_ns, tie),
            Step::Pop => {
                let popped = queue.pop();
                assert_eq!(popped, model.pop());
                now_ns = popped.map_or(now_ns, |(time_ns, _)| time_ns);
            }
            Step::Peek => assert_eq!(queue.peek_time(), model.peek_time()),
        }
        assert_eq!(queue.len(), model.events.len());
    }
    while let Some(expected) = model.pop() {
        assert_eq!(queue.pop(), Some(expected));
    }
    assert!(queue.is_empty());
    assert_eq!(queue.pop(), None);
    assert_eq!(queue.peek_time(), None);
}

proptest! {
    #[test]
    fn pops_in_the_order_of_the_model(steps in prop::collection::vec(step(), 0..600)) {
        check(steps);
    }

    #[test]
    fn a_prefilled_queue_is_drained_in_order(
        times in prop::collection::vec((0..5_000_000_u64, 0..3_u16), 0..3_000),
    ) {
        check(times.into_iter().map(|(time_ns, tie)| Step::PushAt { time_ns, tie }));
    }
}

#[test]
fn a_crowd_at_one_instant_is_ordered_by_tie_then_insertion() {
    // Half of them arrive while the instant is already being drained.
    let burst = |i: u16| Step::Push {
        after_ns: 0,
        tie: i.wrapping_mul(0x9e37) % 500,
    };
    check(
        (0..1_000)
            .map(burst)
            .chain([Step::Pop])
            .chain((0..1_000).map(burst)),
    );
}

#[test]
fn a_long_timer_keeps_its_event_while_its_neighbours_come_and_go() {
    let timers = (0..40).map(|i| Step::Push {
        after_ns: 30_000_000_000 + i,
        tie: 0,
    });
    let traffic = (0..20_000).flat_map(|i| {
        let send = Step::Push {
            after_ns: 1 + i % 7,
            tie: 0,
        };
        [send, Step::Pop]
    });
    check(timers.chain(traffic));
}
