//! What crosses between actors and what the stores hold.
//!
//! Everything here is data: prost messages generated from `proto/`, the addresses they
//! travel between, the keys under which records are stored, and the limits that bound them.
//! Decisions live with the actors. A value that came from outside is parsed here once
//! ([`Key::parse`], [`Record::parse`], [`Digest::try_from`]), so that actors never see a
//! malformed one.

mod address;
mod digest;
mod key;
pub mod limits;
mod record;

#[expect(
    clippy::large_enum_variant,
    reason = "prost decides the shape; an API call is rare and short-lived"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/tidegate.v1.rs"));
}

pub use address::{Address, NodeId, Role};
pub use digest::{Digest, MalformedDigest};
pub use generated::envelope::Body as Message;
pub use generated::*;
pub use key::{Key, MalformedKey};
pub use record::{MalformedRecord, Record};

pub use bytes::Bytes;
pub use prost::Message as Prost;

impl Envelope {
    /// An envelope that carries `body` from one actor to another.
    pub fn new(from: Address, to: Address, body: Message) -> Self {
        Self {
            from: Some(from.into()),
            to: Some(to.into()),
            body: Some(body),
        }
    }

    /// The parts of a received envelope, or `None` when an address or the body is missing
    /// or of a kind that this build does not know.
    pub fn open(self) -> Option<(Address, Address, Message)> {
        let from = Address::try_from(self.from?).ok()?;
        let to = Address::try_from(self.to?).ok()?;
        Some((from, to, self.body?))
    }
}

impl std::fmt::Display for InstanceRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "v{}.{}.{}", self.version, self.slot, self.epoch)
    }
}

impl SlotRecord {
    /// The life of the slot that this record speaks of.
    pub fn instance(&self) -> InstanceRef {
        InstanceRef {
            version: self.version,
            slot: self.index,
            epoch: self.epoch,
        }
    }
}

impl StoreCommitReply {
    /// Whether the store did not even try; the same may be asked again later.
    pub fn is_refusal(&self) -> bool {
        matches!(self.outcome, Some(store_commit_reply::Outcome::Refused(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_opens_to_what_was_put_in() {
        let from = Address::new(NodeId(1), Role::Edge, 2);
        let to = Address::new(NodeId(3), Role::Store, 0);
        let body = Message::Probe(Probe::default());
        let envelope = Envelope::new(from, to, body.clone());
        assert_eq!(envelope.open(), Some((from, to, body)));
        assert_eq!(Envelope::default().open(), None);
    }
}
