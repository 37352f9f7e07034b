//! What the trace hash must tell apart, and the values it must keep.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

use tidegate_sim_queue::TraceHash;

fn traced(write: impl FnOnce(&mut TraceHash)) -> u64 {
    let mut trace = TraceHash::new();
    write(&mut trace);
    trace.value()
}

fn hashed(content: &(impl Hash + ?Sized)) -> u64 {
    traced(|trace| content.hash(trace))
}

#[derive(Hash)]
enum Message {
    Ping {
        from: i32,
        generation: isize,
    },
    #[expect(dead_code, reason = "gives the enum a discriminant to hash")]
    Stop,
    Blob(Vec<u8>, String, u128),
}

/// The figures come from a second implementation of the documented construction.
#[test]
fn values_are_fixed() {
    assert_eq!(traced(|_| ()), 0x9ca0_66f1_a4ab_2eea);
    assert_eq!(traced(|t| t.fold([1, 2, 3])), 0x618d_27d1_daba_4b8b);
    let ping = Message::Ping {
        from: -1,
        generation: -2,
    };
    assert_eq!(hashed(&ping), 0xb170_8a6c_7b57_e115);
    let blob = Message::Blob((0..200).collect(), "tide".into(), 1 << 100);
    assert_eq!(hashed(&blob), 0xc65b_d615_49b0_608c);
}

#[test]
fn order_grouping_and_place_matter() {
    let all = [
        traced(|t| t.fold([1, 2])),
        traced(|t| t.fold([2, 1])),
        traced(|t| {
            t.fold([1]);
            t.fold([2]);
        }),
        traced(|t| {
            t.fold([2]);
            t.fold([1]);
        }),
        traced(|t| t.fold([1, 2, 0])),
        traced(|t| t.fold([1, 2, 0, 0])),
        traced(|t| t.fold([0, 0, 1, 2])),
        traced(|t| t.fold([])),
        traced(|t| t.fold([0])),
        traced(|_| ()),
    ];
    assert_eq!(BTreeSet::from(all).len(), all.len());
}

#[test]
fn a_zero_byte_is_content() {
    let lengths = (0..200).map(|n| traced(|t| t.write(&vec![0; n])));
    assert_eq!(lengths.collect::<BTreeSet<_>>().len(), 200);
}

#[test]
fn every_bit_of_a_body_counts_in_every_bit_of_the_value() {
    let body = [0x5a_u64; 8];
    let before = traced(|t| t.fold(body));
    let mut flipped_ever = 0;
    let mut values = BTreeSet::from([before]);
    for bit in 0..512 {
        let mut changed = body;
        changed[bit / 64] ^= 1 << (bit % 64);
        let after = traced(|t| t.fold(changed));
        let distance = (before ^ after).count_ones();
        assert!((10..=54).contains(&distance), "bit {bit}: {distance}");
        flipped_ever |= before ^ after;
        values.insert(after);
    }
    assert_eq!(flipped_ever, u64::MAX);
    assert_eq!(values.len(), 513);
}

#[test]
fn short_distinct_traces_do_not_collide() {
    let values = (0..200_000_u64).map(|i| {
        traced(|t| {
            t.fold([i % 50, i / 50]);
            t.fold([0; 8]);
        })
    });
    assert_eq!(values.collect::<BTreeSet<_>>().len(), 200_000);
}
