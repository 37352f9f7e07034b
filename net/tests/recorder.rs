//! The flight recorder on a live node: what is on disk replays to what was done, and ends
//! with the input that made an actor panic.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_kernel::{
    Actor, BlobCommand, Called, Cell, Decision, DriverCommand, Effects, EngineOp, Event, Note, Now,
    Rng, Sink, Ticket, Time,
};
use tidegate_net::{Front, Hands, Node, NodeBuilder, RECORD_BYTES_MIN, Recorder, RecorderConfig};
use tidegate_protocol::{Address, Message, Probe, Role};
use tidegate_recording::{Digesting, Done, EXTENSION, End, Input, Recording, restore};

/// Adds up what it is sent, and fails on the number 13.
#[derive(Debug, Serialize, Deserialize)]
struct Adder {
    rng: Rng,
    sum: u64,
}

impl Adder {
    fn add(&mut self, number: u64) -> u64 {
        assert_ne!(number, 13, "as ordered");
        self.sum += number + self.rng.below(100);
        self.sum
    }
}

impl Actor for Adder {
    fn handle(&mut self, _: Now, event: Event, fx: &mut Effects) {
        if let Event::Message {
            from,
            body: Message::Probe(probe),
        } = event
        {
            let sequence = self.add(probe.sequence);
            fx.send(from, Message::Probe(Probe { sequence, ..probe }));
        }
    }

    fn next_deadline(&self) -> Option<(Time, &'static str)> {
        None
    }
}

impl Called for Adder {
    type Call<'a> = u64;
    type Answer = u64;

    fn call(&mut self, _: Now, number: u64, _: &mut Effects) -> u64 {
        self.add(number)
    }
}

struct Nowhere;

impl Sink for Nowhere {
    fn send(&mut self, _: Address, _: Message) {}
    fn engine(&mut self, _: EngineOp) {}
    fn driver(&mut self, _: DriverCommand) {}
    fn blob(&mut self, _: BlobCommand) {}
    fn resume(&mut self, _: Ticket, _: Decision) {}
    fn note(&mut self, _: Note) {}
}

impl Front for Nowhere {
    fn resume(&self, _: Ticket, _: Decision) {}
    fn restarted(&self) {}
}

async fn recorded_node(dir: &Path) -> Node {
    let config = RecorderConfig {
        bytes_max: RECORD_BYTES_MIN,
        actors_max: 4,
        build: "test".into(),
    };
    let recorder = Recorder::start(dir, config).unwrap();
    let builder = NodeBuilder::new("stage").recorder(Some(recorder));
    builder.start().await.unwrap()
}

/// The one folder of recordings, in order.
fn segments(dir: &Path) -> Vec<Vec<u8>> {
    let folder = std::fs::read_dir(dir).unwrap().next().unwrap().unwrap();
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    paths.sort();
    let is_named = |path: &PathBuf| path.extension().is_some_and(|e| e == EXTENSION);
    assert!(paths.iter().all(is_named), "{paths:?}");
    paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

/// Replays a segment; gives the number of steps that were as recorded, and the words of a
/// panic.
fn replay(recording: &Recording<'_>) -> (usize, Option<String>) {
    let mut cell: Cell<Adder> = restore(recording.snapshot()).unwrap();
    let mut done = Done::default();
    for (number, step) in recording.steps().iter().enumerate() {
        done.begin();
        let run = std::panic::AssertUnwindSafe(|| {
            let mut sink = Digesting {
                inner: &mut Nowhere,
                done: &mut done,
            };
            match step.input().unwrap() {
                Input::Event(event) => cell.step(step.now, event, &mut sink),
                Input::Call(call) => {
                    let answer = cell.call(step.now, call, &mut sink);
                    done.answer(&answer);
                }
            }
        });
        if let Err(panic) = std::panic::catch_unwind(run) {
            return (number, panic.downcast_ref::<String>().cloned());
        }
        assert_eq!(step.done, Some(done.digest()), "{number}");
    }
    (recording.steps().len(), None)
}

/// The first life ends with the panic and gives it again; the second one is whole.
fn check_two_lives(dir: &Path, steps: [usize; 2]) {
    let files = segments(dir);
    let [first, second] = &files[..] else {
        panic!("two lives, {} segments", files.len());
    };
    let (first, second) = (
        Recording::read(first).unwrap(),
        Recording::read(second).unwrap(),
    );
    assert_eq!(first.end(), Some(End::Panicked));
    let (good, panic) = replay(&first);
    assert_eq!((good, first.steps().len()), (steps[0], steps[0] + 1));
    assert!(panic.unwrap().contains("as ordered"));
    assert_eq!(second.end(), Some(End::Stopped));
    assert_eq!(
        (second.header().life, second.header().build.as_str()),
        (1, "test")
    );
    assert_eq!(replay(&second), (steps[1], None));
}

#[tokio::test]
async fn a_hosted_actor_that_panics_leaves_a_recording_that_does_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let node = recorded_node(dir.path()).await;
    let mut client = node
        .router()
        .open(node.address(Role::Client, 0), 64)
        .unwrap();
    let make = |rng| Adder { rng, sum: 0 };
    let hands = |_: &_| Hands::none();
    let adder = node
        .spawn_actor(Role::Metald, 0, hands, make)
        .await
        .unwrap()
        .address();
    let me = client.address();
    let send = |sequence, payload: &'static [u8]| {
        let probe = Probe {
            sequence,
            payload: payload.into(),
        };
        node.router().send(me, adder, Message::Probe(probe));
    };
    // One of them is too large for the ring in memory.
    static LARGE: [u8; 300_000] = [7; 300_000];
    for number in 0..5 {
        send(number, if number == 2 { &LARGE } else { b"" });
    }
    send(13, b"");
    for _ in 0..5 {
        client.receive().await;
    }
    // Until the next life takes it.
    let answer = async {
        loop {
            send(1, b"");
            let pause = Duration::from_millis(10);
            if tokio::time::timeout(pause, client.receive()).await.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), answer)
        .await
        .unwrap();
    node.shutdown().await;
    let files = segments(dir.path());
    let again = Recording::read(&files[1]).unwrap().steps().len();
    assert!(again >= 2);
    check_two_lives(dir.path(), [6, again]);
}

#[tokio::test]
async fn a_panic_in_a_direct_call_is_recorded_too() {
    let dir = tempfile::tempdir().unwrap();
    let node = recorded_node(dir.path()).await;
    let make = |rng| Adder { rng, sum: 0 };
    let (cell, inbound) = node.gateway_seat(0).unwrap().take(make, Rc::new(Nowhere));
    let calls = async {
        while cell.call(1).is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for number in 2..100 {
            cell.call(number % 13).unwrap();
        }
        assert_eq!(cell.call(13), None);
        while cell.call(1).is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = cell.run(inbound) => unreachable!("it runs for ever"),
        () = calls => {}
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("it comes to no end"),
    }
    drop(cell);
    node.shutdown().await;
    // With the start of each life.
    check_two_lives(dir.path(), [100, 2]);
}
