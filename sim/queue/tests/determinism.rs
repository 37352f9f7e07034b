//! A seed is an order, the same on every platform and in every build profile: the
//! numbers below were written down once and must never change by accident.

use tidegate_sim_queue::{EventQueue, TraceHash};

fn order_of_simultaneous(mut queue: EventQueue<u8>) -> Vec<u8> {
    for event in 0..8 {
        queue.push(1_000, event);
    }
    std::iter::from_fn(|| queue.pop().map(|(_, event)| event)).collect()
}

#[test]
fn each_seed_has_an_order_of_its_own() {
    assert_eq!(
        order_of_simultaneous(EventQueue::seeded(1)),
        [1, 7, 5, 0, 6, 2, 3, 4]
    );
    assert_eq!(
        order_of_simultaneous(EventQueue::seeded(2)),
        [7, 2, 3, 5, 1, 0, 4, 6]
    );
}

#[test]
fn fifo_is_the_order_of_insertion() {
    assert_eq!(
        order_of_simultaneous(EventQueue::fifo()),
        [0, 1, 2, 3, 4, 5, 6, 7]
    );
}

#[test]
fn every_order_of_three_is_reached_by_some_seed() {
    let mut orders = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let mut queue = EventQueue::seeded(seed);
        for event in 0..3_u8 {
            queue.push(0, event);
        }
        orders.insert([queue.pop(), queue.pop(), queue.pop()]);
    }
    assert_eq!(orders.len(), 6);
}

#[test]
fn a_long_run_of_a_seed_has_a_fixed_trace() {
    let mut queue = EventQueue::seeded(42);
    let mut trace = TraceHash::new();
    for event in 0..100_u64 {
        queue.push(event % 10, event);
    }
    for _ in 0..100_000 {
        let (time_ns, event) = queue.pop().expect("each pop is followed by a push");
        trace.fold([time_ns, event]);
        queue.push(time_ns + event * event % 977, (event * 31 + 7) % 1_009);
    }
    assert_eq!(trace.value(), 18_106_982_834_047_331_967);
}
