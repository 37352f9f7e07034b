//! Reads of instances' output: from whoever asks, to the driver, and back.
//!
//! The number at the driver is bounded, and a read beyond it is dropped: the asker asks
//! again, as after a lost message.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_kernel::{DriverCommand, Effect, Effects, Note, Now};
use tidegate_protocol::{Address, Bytes, LogData, LogLine, LogRead, Message};

use crate::{
    MetaldConfig,
    alarms::{Alarms, Subject},
};

#[derive(Debug, Serialize, Deserialize)]
struct Asker {
    address: Address,
    id: u64,
}

/// The reads that are at the driver.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct LogReads {
    last: u64,
    asked: BTreeMap<u64, Asker>,
}

impl LogReads {
    /// Passes a read on to the driver.
    pub(crate) fn ask(
        &mut self,
        now: Now,
        config: &MetaldConfig,
        from: Address,
        read: LogRead,
        alarms: &mut Alarms,
        fx: &mut Effects,
    ) {
        if self.asked.len() >= config.log_reads_max {
            fx.note(Note::Full { queue: "log reads" });
            return;
        }
        self.last += 1;
        let request = self.last;
        let asker = Asker {
            address: from,
            id: read.id,
        };
        self.asked.insert(request, asker);
        let deadline = (
            now.mono + config.log_read_timeout,
            "a log read stays without an answer",
        );
        alarms.set(Subject::LogRead(request), Some(deadline));
        fx.push(Effect::Driver(DriverCommand::ReadLog {
            request,
            version: read.version,
            cursor: read.cursor,
            bytes_max: read.bytes_max.min(config.log_read_bytes_max),
        }));
    }

    /// Passes the driver's answer back; one that nobody waits for is dropped.
    pub(crate) fn answer(
        &mut self,
        request: u64,
        cursor: Bytes,
        lines: Vec<LogLine>,
        alarms: &mut Alarms,
        fx: &mut Effects,
    ) {
        let Some(asker) = self.asked.remove(&request) else {
            return;
        };
        alarms.set(Subject::LogRead(request), None);
        let data = LogData {
            id: asker.id,
            cursor,
            lines,
        };
        fx.send(asker.address, Message::LogData(data));
    }

    pub(crate) fn give_up(&mut self, request: u64) {
        self.asked.remove(&request);
    }

    pub(crate) fn len(&self) -> usize {
        self.asked.len()
    }
}
