//! The format, byte by byte, with an actor that counts.

use serde::{Deserialize, Serialize};
use tidegate_kernel::{Actor, BlobCommand, Called, Cell, Decision, DriverCommand, Effects};
use tidegate_kernel::{EngineOp, Event, Note, Now, Sink, Ticket, Time};
use tidegate_protocol::{Address, Message, NodeId, Probe, Role};

use crate::format::{FORMAT, MAGIC};
use crate::{End, Input, Limits, Out, Recording, Subject, Writer, restore, snapshot};

const ME: Address = Address::new(NodeId(7), Role::Gateway, 3);

/// Sends how often it was called; a word of nothing is too much for it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Counter {
    count: u64,
    last: String,
}

impl Actor for Counter {
    fn handle(&mut self, _: Now, event: Event, fx: &mut Effects) {
        self.count += 1;
        if let Event::Message { from, .. } = event {
            let sequence = self.count;
            let probe = Probe {
                sequence,
                ..Probe::default()
            };
            fx.send(from, Message::Probe(probe));
        }
    }

    fn next_deadline(&self) -> Option<(Time, &'static str)> {
        None
    }
}

impl Called for Counter {
    type Call<'a> = &'a str;
    type Answer = u64;

    fn call(&mut self, _: Now, word: &str, _: &mut Effects) -> u64 {
        assert!(!word.is_empty(), "as ordered");
        self.last = word.to_owned();
        self.count += 1;
        self.count
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

/// Keeps segments; takes nothing while it is full.
#[derive(Default)]
struct Shelf<'a> {
    segments: Option<&'a std::cell::RefCell<Vec<Vec<u8>>>>,
    room: Option<&'a std::cell::Cell<bool>>,
    given_up: Option<&'a std::cell::Cell<u32>>,
}

impl Out for Shelf<'_> {
    fn is_ready(&self) -> bool {
        self.room.is_none_or(|room| room.get())
    }

    fn begin(&mut self, segment: Vec<u8>, _: u64) {
        self.segments.unwrap().borrow_mut().push(segment);
    }

    fn append(&mut self, frames: &[u8]) -> bool {
        if self.is_ready() {
            let mut segments = self.segments.unwrap().borrow_mut();
            segments.last_mut().unwrap().extend_from_slice(frames);
        }
        self.is_ready()
    }

    fn give_up(&mut self, _: &str) {
        let times = self.given_up.unwrap();
        times.set(times.get() + 1);
    }
}

const LIMITS: Limits = Limits {
    segment_bytes: 4_096,
    segment_bytes_max: 65_536,
};

fn counter() -> Cell<Counter> {
    Cell::new(Counter {
        count: 0,
        last: String::new(),
    })
}

fn subject() -> Subject {
    Subject {
        actor: ME,
        build: "1.2.3".into(),
        life: 4,
    }
}

fn message() -> Event {
    Event::Message {
        from: ME,
        body: Message::Probe(Probe::default()),
    }
}

/// Records what `run` does, and gives the segments.
fn record(
    limits: Limits,
    run: impl FnOnce(&mut Writer<Shelf<'_>>, &std::cell::Cell<bool>),
) -> Vec<Vec<u8>> {
    let (segments, room) = (Default::default(), std::cell::Cell::new(true));
    let shelf = Shelf {
        segments: Some(&segments),
        room: Some(&room),
        given_up: None,
    };
    let mut writer = Writer::new(subject(), limits, shelf);
    run(&mut writer, &room);
    drop(writer);
    segments.into_inner()
}

/// A start, a call and a message.
fn small() -> Vec<u8> {
    let segments = record(LIMITS, |writer, _| {
        let mut cell = counter();
        writer.step(&mut cell, Now::at_ms(1), Event::Start, &mut Nowhere);
        assert_eq!(
            writer.call(&mut cell, Now::at_ms(2), "two", &mut Nowhere),
            2
        );
        writer.step(&mut cell, Now::at_ms(3), message(), &mut Nowhere);
    });
    let [segment] = <[Vec<u8>; 1]>::try_from(segments).unwrap();
    segment
}

#[test]
fn what_was_written_is_read() {
    let bytes = small();
    let recording = Recording::read(&bytes).unwrap();
    let header = recording.header();
    assert_eq!((header.actor, header.life, header.segment), (ME, 4, 0));
    assert_eq!(header.begun_unix_ms, 1);
    assert_eq!(recording.end(), Some(End::Stopped));
    assert_eq!(recording.length(), bytes.len());
    let inputs: Vec<(u64, Now, Input<&str>)> = recording
        .steps()
        .iter()
        .map(|step| (step.number, step.now, step.input().unwrap()))
        .collect();
    assert_eq!(
        inputs,
        [
            (1, Now::at_ms(1), Input::Event(Event::Start)),
            (2, Now::at_ms(2), Input::Call("two")),
            (3, Now::at_ms(3), Input::Event(message())),
        ]
    );
    let effects: Vec<u32> = recording
        .steps()
        .iter()
        .map(|step| step.done.unwrap().effects)
        .collect();
    assert_eq!(effects, [0, 0, 1]);
    let cell: Cell<Counter> = restore(recording.snapshot()).unwrap();
    assert_eq!(cell.actor(), counter().actor());
    assert_eq!(snapshot(&cell).unwrap(), recording.snapshot());
}

#[test]
fn a_file_cut_anywhere_is_a_prefix_or_refused() {
    let bytes = small();
    let whole = Recording::read(&bytes).unwrap();
    let first_step = whole.steps()[0].offset;
    for cut in 0..bytes.len() {
        match Recording::read(&bytes[..cut]) {
            Ok(prefix) => {
                assert!(cut >= first_step);
                assert_eq!(prefix.end(), None, "cut at {cut}");
                assert!(prefix.length() <= cut);
                for (now, then) in prefix.steps().iter().zip(whole.steps()) {
                    assert_eq!((now.number, now.now), (then.number, then.now));
                    assert!(now.done.is_none() || now.done == then.done);
                }
                // The same with zeros where the rest was.
                let mut zeros = bytes[..prefix.length()].to_vec();
                zeros.resize(prefix.length() + 100, 0);
                let steps = Recording::read(&zeros).unwrap().steps().len();
                assert_eq!(steps, prefix.steps().len());
            }
            Err(malformed) => {
                assert!(cut < first_step, "cut at {cut}: {malformed}");
                assert_eq!(malformed.offset, cut);
                assert!(malformed.is_cut_off);
            }
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_is_refused_with_its_place() {
    let bytes = small();
    let whole = Recording::read(&bytes).unwrap();
    let mut starts: Vec<usize> = whole.steps().iter().map(|step| step.offset).collect();
    starts.insert(0, 0);
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let malformed = Recording::read(&damaged).expect_err("damage is noticed");
        assert!(
            malformed.offset <= bit / 8,
            "{malformed}, but it is in {bit}"
        );
        // No later than the damage, and not before the step that it is in.
        let step = starts.iter().rev().find(|start| **start <= bit / 8);
        assert!(
            malformed.offset >= *step.unwrap() || bit / 8 < starts[1],
            "{malformed}"
        );
    }
}

#[test]
fn foreign_files_are_refused() {
    let refused = |bytes: &[u8]| Recording::read(bytes).unwrap_err();
    assert!(
        refused(b"PK\x03\x04 something else")
            .reason
            .contains("no flight recording")
    );
    assert!(refused(b"").reason.contains("cut off"));
    let mut newer = small();
    newer[MAGIC.len()] = FORMAT as u8 + 1;
    assert_eq!(refused(&newer).offset, MAGIC.len());
    assert!(refused(&newer).reason.contains("format 2"));
    let mut longer = small();
    longer.extend_from_slice(b"x");
    let malformed = refused(&longer);
    assert_eq!(malformed.offset, longer.len() - 1);
}

#[test]
fn a_panic_ends_the_recording_with_the_input_that_did_it() {
    let segments = record(LIMITS, |writer, _| {
        let mut cell = counter();
        writer.step(&mut cell, Now::at_ms(1), Event::Start, &mut Nowhere);
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            writer.call(&mut cell, Now::at_ms(2), "", &mut Nowhere)
        }));
        assert!(caught.is_err());
    });
    let recording = Recording::read(&segments[0]).unwrap();
    assert_eq!(recording.end(), Some(End::Panicked));
    let last = recording.steps().last().unwrap();
    assert_eq!((last.number, last.done), (2, None));
    assert_eq!(last.input::<&str>().unwrap(), Input::Call(""));
}

#[test]
fn long_recordings_go_on_in_segments_that_fit_together() {
    let limits = Limits {
        segment_bytes: 300,
        segment_bytes_max: 65_536,
    };
    let segments = record(limits, |writer, _| {
        let mut cell = counter();
        for ms in 0..50 {
            writer.step(&mut cell, Now::at_ms(ms), Event::Timer, &mut Nowhere);
        }
    });
    assert!(segments.len() > 3);
    let mut expected = 0;
    for (number, bytes) in (0..).zip(&segments) {
        let recording = Recording::read(bytes).unwrap();
        assert_eq!(recording.header().segment, number);
        assert_eq!(recording.header().inputs_before, expected);
        let cell: Cell<Counter> = restore(recording.snapshot()).unwrap();
        assert_eq!(cell.actor().count, expected);
        expected += recording.steps().len() as u64;
        let last = number + 1 == segments.len() as u64;
        let end = if last { End::Stopped } else { End::Continued };
        assert_eq!(recording.end(), Some(end));
    }
    assert_eq!(expected, 50);
}

#[test]
fn without_room_the_recording_has_a_gap_and_goes_on() {
    let segments = record(LIMITS, |writer, room| {
        let mut cell = counter();
        for ms in 0..10 {
            room.set(!(3..7).contains(&ms));
            writer.step(&mut cell, Now::at_ms(ms), Event::Timer, &mut Nowhere);
        }
        assert_eq!(cell.actor().count, 10, "the actor does not notice");
    });
    let [before, after] = &segments[..] else {
        panic!("two segments");
    };
    let before = Recording::read(before).unwrap();
    assert_eq!((before.steps().len(), before.end()), (3, None));
    let after = Recording::read(after).unwrap();
    assert_eq!(
        (after.header().inputs_before, after.header().inputs_lost),
        (7, 4)
    );
    assert_eq!(after.steps().len(), 3);
}

#[test]
fn a_state_that_is_too_large_is_not_recorded() {
    let (segments, given_up) = (Default::default(), std::cell::Cell::new(0));
    let shelf = Shelf {
        segments: Some(&segments),
        room: None,
        given_up: Some(&given_up),
    };
    let limits = Limits {
        segment_bytes: 300,
        segment_bytes_max: 300,
    };
    let mut writer = Writer::new(subject(), limits, shelf);
    let mut cell = Cell::new(Counter {
        count: 0,
        last: "x".repeat(400),
    });
    for ms in 0..3 {
        writer.step(&mut cell, Now::at_ms(ms), Event::Timer, &mut Nowhere);
    }
    assert_eq!(given_up.get(), 1);
    drop(writer);
    assert!(segments.into_inner().is_empty());
}

/// Takes a segment now and then, and notes what was lost before it.
#[derive(Default)]
struct Losses {
    lost: Vec<u64>,
    ready: std::rc::Rc<std::cell::Cell<bool>>,
}

impl Out for Losses {
    fn is_ready(&self) -> bool {
        self.ready.get()
    }
    fn begin(&mut self, _: Vec<u8>, inputs_lost: u64) {
        self.lost.push(inputs_lost);
    }
    fn append(&mut self, _: &[u8]) -> bool {
        true
    }
    fn give_up(&mut self, _: &str) {}
}

#[test]
fn what_was_lost_is_told_with_the_next_segment_and_given_back_at_the_end() {
    let mut writer = Writer::new(subject(), LIMITS, Losses::default());
    let mut cell = counter();
    for _ in 0..3 {
        writer.step(&mut cell, Now::at_ms(1), message(), &mut Nowhere);
    }
    let Losses { lost, .. } = writer.finish();
    assert_eq!(lost, [0; 0]);

    let losses = Losses::default();
    let ready = losses.ready.clone();
    let mut writer = Writer::new(subject(), LIMITS, losses);
    for step in 0..4 {
        ready.set(step == 3);
        writer.step(&mut cell, Now::at_ms(1), message(), &mut Nowhere);
    }
    assert_eq!(writer.finish().lost, [3]);
}
