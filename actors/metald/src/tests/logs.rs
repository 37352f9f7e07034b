//! Output of instances, for whoever asks.

use tidegate_kernel::{DriverCommand, DriverReport, Effect, Note};
use tidegate_protocol::{Address, Bytes, LogData, LogLine, LogRead, Message, NodeId, Role};

use super::{rig::Rig, words::*};

const CLIENT: Address = Address::new(NodeId(9), Role::Client, 0);

fn read(rig: &mut Rig, id: u64, bytes_max: u32) -> Vec<Effect> {
    let read = LogRead {
        id,
        version: VERSION,
        cursor: Bytes::from_static(b"here"),
        bytes_max,
    };
    rig.message(CLIENT, Message::LogRead(read))
}

fn at_driver(request: u64, bytes_max: u32) -> Effect {
    driver(DriverCommand::ReadLog {
        request,
        version: VERSION,
        cursor: Bytes::from_static(b"here"),
        bytes_max,
    })
}

fn lines() -> Vec<LogLine> {
    vec![LogLine {
        wall_ms: 5,
        instance: Some(instance(1)),
        text: "hello".into(),
    }]
}

fn answer(rig: &mut Rig, request: u64) -> Vec<Effect> {
    rig.report(DriverReport::Log {
        request,
        cursor: Bytes::from_static(b"there"),
        lines: lines(),
    })
}

#[test]
fn a_read_goes_to_the_driver_and_its_answer_back() {
    let mut rig = Rig::serving();
    assert_eq!(read(&mut rig, 77, 1_000), [at_driver(1, 1_000)]);
    let data = LogData {
        id: 77,
        cursor: Bytes::from_static(b"there"),
        lines: lines(),
    };
    assert_eq!(
        answer(&mut rig, 1),
        [Effect::Send {
            to: CLIENT,
            body: Message::LogData(data),
            after: None
        }]
    );
    assert_eq!(answer(&mut rig, 1), [], "once");
}

#[test]
fn output_can_be_read_before_the_recovery() {
    let mut rig = Rig::started();
    assert_eq!(read(&mut rig, 1, u32::MAX), [at_driver(1, 256 * 1024)]);
}

#[test]
fn reads_at_the_driver_are_bounded() {
    let mut rig = Rig::serving();
    for request in 1..=64 {
        assert_eq!(read(&mut rig, request, 10), [at_driver(request, 10)]);
    }
    let full = [Effect::Note(Note::Full { queue: "log reads" })];
    assert_eq!(read(&mut rig, 65, 10), full);
    answer(&mut rig, 9);
    assert_eq!(read(&mut rig, 66, 10), [at_driver(65, 10)]);
    assert_eq!(read(&mut rig, 67, 10), full);
    assert_eq!(rig.until(5_000), [], "the driver answers none of them");
    assert_eq!(read(&mut rig, 68, 10), [at_driver(66, 10)]);
    assert_eq!(answer(&mut rig, 1), [], "too late");
}
