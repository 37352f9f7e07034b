//! The origin: serves chunks of blobs.
//!
//! It keeps nothing but how many reads are at the blob store. One more than the bound is
//! dropped, not queued: whoever asked asks again, and by then may want something else.

use serde::{Deserialize, Serialize};
use tidegate_kernel::{
    Actor, BlobCommand, BlobReport, Effect, Effects, Event, Load, Note, Now, Rng, Time,
};
use tidegate_protocol::{Address, BlobData, BlobRead, Bytes, Digest, Message, limits};

/// Settings of an origin.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OriginConfig {
    pub me: Address,
    /// Reads at the blob store at once; each holds at most `BLOB_CHUNK_BYTES`.
    pub reads_max: usize,
}

impl OriginConfig {
    pub fn new(me: Address) -> Self {
        Self { me, reads_max: 256 }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Origin {
    config: OriginConfig,
    reads: usize,
}

impl Origin {
    pub fn new(config: OriginConfig, _rng: Rng) -> Self {
        Self { config, reads: 0 }
    }

    fn on_read(&mut self, from: Address, read: BlobRead, fx: &mut Effects) {
        let digest = match Digest::try_from(&read.digest) {
            Ok(digest) => digest,
            Err(error) => {
                let what = format!("a read of {from}: {error}");
                return fx.note(Note::Malformed { what });
            }
        };
        if self.reads >= self.config.reads_max {
            return fx.note(Note::Full {
                queue: "origin reads",
            });
        }
        self.reads += 1;
        fx.push(Effect::Blob(BlobCommand::Read {
            digest,
            offset: read.offset,
            length_max: read.length_max.min(limits::BLOB_CHUNK_BYTES as u32),
            reply_to: from,
        }));
    }

    fn on_data(&mut self, report: BlobReport, fx: &mut Effects) {
        if let BlobReport::Data {
            digest,
            offset,
            total,
            data,
            reply_to,
        } = report
        {
            // A read of a former life may be answered in this one.
            self.reads = self.reads.saturating_sub(1);
            let half = data.len().div_ceil(2);
            let data = if fx.buggify("buggify: an origin answers with half of what was asked") {
                data.slice(..half)
            } else {
                data
            };
            fx.send(
                reply_to,
                Message::BlobData(BlobData {
                    digest: Bytes::from(digest),
                    offset,
                    total: total.unwrap_or(0),
                    data,
                    missing: total.is_none(),
                }),
            );
        }
    }
}

impl Actor for Origin {
    fn handle(&mut self, _now: Now, event: Event, fx: &mut Effects) {
        match event {
            Event::Message {
                from,
                body: Message::BlobRead(read),
            } => self.on_read(from, read, fx),
            Event::Blob(report) => self.on_data(report, fx),
            _ => {}
        }
    }

    fn next_deadline(&self) -> Option<(Time, &'static str)> {
        None
    }

    fn check(&self) {
        assert!(self.reads <= self.config.reads_max);
    }

    fn load(&self) -> Vec<Load> {
        vec![Load::new("origin reads", self.reads, self.config.reads_max)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_kernel::Seed;
    use tidegate_protocol::{NodeId, Role};

    const ME: Address = Address::new(NodeId(1), Role::Origin, 0);
    const EDGE: Address = Address::new(NodeId(2), Role::Edge, 0);
    const BLOB: Digest = Digest([7; 32]);

    fn origin() -> Origin {
        let config = OriginConfig {
            reads_max: 1,
            ..OriginConfig::new(ME)
        };
        Origin::new(config, Seed(1).rng())
    }

    fn handle(origin: &mut Origin, event: Event) -> Vec<Effect> {
        let mut fx = Effects::new();
        origin.handle(Now::at_ms(0), event, &mut fx);
        origin.check();
        fx.take()
    }

    fn read(digest: Bytes, length_max: u32) -> Event {
        Event::Message {
            from: EDGE,
            body: Message::BlobRead(BlobRead {
                digest,
                offset: 5,
                length_max,
            }),
        }
    }

    fn data(total: Option<u64>) -> Event {
        Event::Blob(BlobReport::Data {
            digest: BLOB,
            offset: 5,
            total,
            data: "ab".into(),
            reply_to: EDGE,
        })
    }

    fn sent(total: u64, missing: bool) -> Effect {
        Effect::Send {
            to: EDGE,
            body: Message::BlobData(BlobData {
                digest: BLOB.into(),
                offset: 5,
                total,
                data: "ab".into(),
                missing,
            }),
            after: None,
        }
    }

    #[test]
    fn a_read_is_passed_on_with_a_bounded_length() {
        for (asked, length_max) in [(10, 10), (u32::MAX, 262_144)] {
            assert_eq!(
                handle(&mut origin(), read(BLOB.into(), asked)),
                [Effect::Blob(BlobCommand::Read {
                    digest: BLOB,
                    offset: 5,
                    length_max,
                    reply_to: EDGE
                })]
            );
        }
    }

    #[test]
    fn the_answer_goes_to_who_asked() {
        let mut origin = origin();
        assert_eq!(handle(&mut origin, data(Some(7))), [sent(7, false)]);
        assert_eq!(handle(&mut origin, data(None)), [sent(0, true)]);
    }

    #[test]
    fn a_read_too_many_is_dropped_until_one_returns() {
        let mut origin = origin();
        handle(&mut origin, read(BLOB.into(), 1));
        assert_eq!(
            handle(&mut origin, read(BLOB.into(), 1)),
            [Effect::Note(Note::Full {
                queue: "origin reads"
            })]
        );
        handle(&mut origin, data(None));
        assert_eq!(handle(&mut origin, read(BLOB.into(), 1)).len(), 1);
    }

    #[test]
    fn a_read_of_no_digest_is_noted() {
        assert!(matches!(
            handle(&mut origin(), read("x".into(), 1))[..],
            [Effect::Note(Note::Malformed { .. })]
        ));
    }

    #[test]
    fn it_waits_for_nothing_and_says_how_many_reads_are_out() {
        let mut origin = origin();
        handle(&mut origin, read(BLOB.into(), 1));
        assert_eq!(origin.next_deadline(), None);
        assert_eq!(origin.load(), [Load::new("origin reads", 1, 1)]);
    }

    #[test]
    #[should_panic(expected = "reads_max")]
    fn more_reads_than_allowed_break_an_invariant() {
        let mut origin = origin();
        origin.reads = 2;
        origin.check();
    }
}
