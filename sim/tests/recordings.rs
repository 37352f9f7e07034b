//! Snapshots and recordings of simulated actors: an actor restored from its snapshot goes on
//! as it would have, and a recording replays to the same effects.

use tidegate_protocol::{Address, Role};
use tidegate_recording::format::{FRAME_HEAD, Kind, frame};
use tidegate_recording::{End, Limits, Recording};
use tidegate_sim::replay::Replay;
use tidegate_sim::scenario::{Builtin, Scenario};
use tidegate_sim::{Seed, Unobserved, World};

fn world(name: &str, seed: u64) -> World {
    let builtin = Builtin::find(name).unwrap();
    let scenario = Scenario::parse(builtin.name, builtin.text).unwrap();
    World::new(&scenario, Seed(seed))
}

/// The trace of a run whose actors are restored every so many steps, or never.
fn trace(name: &str, seed: u64, restored_every: Option<u32>) -> u64 {
    let mut world = world(name, seed);
    if let Some(steps) = restored_every {
        world.restore_actors_every(steps);
    }
    world.run(&mut Unobserved);
    let report = world.report(seed);
    assert_eq!(report.violation_count, 0, "{}", report.text(true));
    report.trace_hash
}

#[test]
fn restored_actors_go_on_as_they_would_have() {
    for (name, seed, every) in [
        ("first-deploy", 1, 7),
        ("flash-crowd", 2, 211),
        ("host-failure", 3, 53),
        ("scheduler-failover", 4, 37),
        ("swarm", 5, 101),
    ] {
        let restored = trace(name, seed, Some(every));
        assert_eq!(restored, trace(name, seed, None), "{name}, seed {seed}");
    }
}

/// The segments of an actor.
type Segments = (Address, Vec<Vec<u8>>);

/// Records all actors of a run; gives its trace as well.
fn recorded(name: &str, seed: u64) -> (u64, Vec<Segments>) {
    let mut world = world(name, seed);
    world.record_actors(Limits {
        segment_bytes: 100_000,
        segment_bytes_max: 100_000_000,
    });
    world.run(&mut Unobserved);
    (world.report(seed).trace_hash, world.take_recordings())
}

/// Replays a segment to its end; gives the steps, and the bytes of the last state.
fn replay(actor: Address, bytes: &[u8]) -> (u64, Vec<u8>) {
    let recording = Recording::read(bytes).unwrap();
    assert_eq!(recording.header().actor, actor);
    let mut replay = Replay::new(&recording).unwrap();
    let mut steps = 0;
    while let Some(replayed) = replay.step().unwrap() {
        assert!(replayed.is_as_recorded(), "{actor}: {replayed:?}");
        assert_eq!(
            replayed.step.number,
            recording.header().inputs_before + steps + 1
        );
        steps += 1;
    }
    (steps, replay.cell().snapshot().unwrap())
}

#[test]
fn every_actor_replays_to_the_same_effects_from_every_snapshot() {
    for (name, seed) in [("host-failure", 3), ("swarm", 8)] {
        let (trace_hash, recordings) = recorded(name, seed);
        assert_eq!(
            trace_hash,
            trace(name, seed, None),
            "recording changes nothing"
        );
        let mut roles = std::collections::BTreeSet::new();
        let mut continued = 0;
        for (actor, segments) in recordings {
            let mut states = Vec::new();
            for bytes in &segments {
                let recording = Recording::read(bytes).unwrap();
                if let Some((End::Continued, state)) = states.last() {
                    assert!(
                        recording.snapshot() == state,
                        "{actor}: it goes on as it ended"
                    );
                    continued += 1;
                }
                let (steps, state) = replay(actor, bytes);
                if steps > 10 {
                    roles.insert(actor.role);
                }
                states.push((recording.end().unwrap(), state));
            }
        }
        assert_eq!(
            roles.len(),
            8,
            "{name}: all kinds of actors were busy: {roles:?}"
        );
        assert!(continued > 10, "{name}: {continued}");
    }
}

/// `bytes`, the file of `recording`, with the snapshot of another one.
fn swap_snapshot(bytes: &[u8], recording: &Recording<'_>, other: &Recording<'_>) -> Vec<u8> {
    let at = recording.snapshot_at();
    let mut swapped = bytes[..at - FRAME_HEAD].to_vec();
    swapped.extend(frame(Kind::Snapshot, other.snapshot()).unwrap());
    swapped.extend_from_slice(&bytes[at + recording.snapshot().len()..]);
    swapped
}

#[test]
fn a_state_that_is_not_the_recorded_one_is_noticed() {
    let (_, recordings) = recorded("scheduler-failover", 1);
    let of = |role| {
        let found = recordings.iter().find(|(actor, _)| actor.role == role);
        found.map(|(_, segments)| segments[0].clone()).unwrap()
    };
    // The inputs of one actor, given to the state of another one of the same kind.
    let (of_first, of_second) = {
        let mut gateways = recordings
            .iter()
            .filter(|(actor, _)| actor.role == Role::Gateway);
        let mut next = || gateways.next().map(|(_, segments)| segments[0].clone());
        (next().unwrap(), next().unwrap())
    };
    let first = Recording::read(&of_first).unwrap();
    let second = Recording::read(&of_second).unwrap();
    assert_ne!(first.snapshot(), second.snapshot());
    let swapped = swap_snapshot(&of_first, &first, &second);
    let recording = Recording::read(&swapped).unwrap();
    let mut replay = Replay::new(&recording).unwrap();
    let differs = std::iter::from_fn(|| replay.step().unwrap()).find(|r| !r.is_as_recorded());
    assert!(differs.is_some(), "another state leads to other effects");
    // The state of one kind is none of another.
    let (of_edge, of_store) = (of(Role::Edge), of(Role::Store));
    let edge = Recording::read(&of_edge).unwrap();
    let store = Recording::read(&of_store).unwrap();
    let swapped = swap_snapshot(&of_edge, &edge, &store);
    let recording = Recording::read(&swapped).unwrap();
    let refused = Replay::new(&recording).unwrap_err();
    assert_eq!(refused.offset, recording.snapshot_at());
    assert!(
        refused.reason.contains("the build that wrote it"),
        "{refused}"
    );
}
