//! Values of the stores, decoded by the kind of their key.

use bytes::Bytes;
use prost::Message as _;

use crate::{
    AckRecord, CountersRecord, DeployRecord, FenceRecord, GatewayRecord, HostRecord,
    InstancesRecord, Key, LeaseRecord, ProjectRecord, RegionRecord, RouteRecord, SlotRecord,
    VersionSpec,
};

/// A decoded store value.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    Project(ProjectRecord),
    Version(VersionSpec),
    Deploy(DeployRecord),
    Region(RegionRecord),
    Counters(CountersRecord),
    Slot(SlotRecord),
    Route(RouteRecord),
    Host(HostRecord),
    Instances(InstancesRecord),
    Gateway(GatewayRecord),
    Peer(GatewayRecord),
    Ack(AckRecord),
    Lease(LeaseRecord),
    Fence(FenceRecord),
}

/// A value that is not what its key promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MalformedRecord(pub Key);

impl std::fmt::Display for MalformedRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the value of `{}` does not decode", self.0)
    }
}

impl std::error::Error for MalformedRecord {}

impl Record {
    /// Reads the value of `key`.
    pub fn parse(key: &Key, value: &[u8]) -> Result<Record, MalformedRecord> {
        let decoded = match key {
            Key::Project(_) => ProjectRecord::decode(value).map(Record::Project),
            Key::Version(_) => VersionSpec::decode(value).map(Record::Version),
            Key::Deploy(_) => DeployRecord::decode(value).map(Record::Deploy),
            Key::Region(_) => RegionRecord::decode(value).map(Record::Region),
            Key::Counters => CountersRecord::decode(value).map(Record::Counters),
            Key::Slot { .. } => SlotRecord::decode(value).map(Record::Slot),
            Key::Route(_) => RouteRecord::decode(value).map(Record::Route),
            Key::Host(_) => HostRecord::decode(value).map(Record::Host),
            Key::Instances(_) => InstancesRecord::decode(value).map(Record::Instances),
            Key::Gateway(_) => GatewayRecord::decode(value).map(Record::Gateway),
            Key::Peer { .. } => GatewayRecord::decode(value).map(Record::Peer),
            Key::Ack { .. } => AckRecord::decode(value).map(Record::Ack),
            Key::Lease => LeaseRecord::decode(value).map(Record::Lease),
            Key::Fence => FenceRecord::decode(value).map(Record::Fence),
        };
        decoded.map_err(|_| MalformedRecord(key.clone()))
    }

    /// The bytes that [`Record::parse`] reads.
    pub fn encode(&self) -> Bytes {
        match self {
            Record::Project(r) => r.encode_to_vec(),
            Record::Version(r) => r.encode_to_vec(),
            Record::Deploy(r) => r.encode_to_vec(),
            Record::Region(r) => r.encode_to_vec(),
            Record::Counters(r) => r.encode_to_vec(),
            Record::Slot(r) => r.encode_to_vec(),
            Record::Route(r) => r.encode_to_vec(),
            Record::Host(r) => r.encode_to_vec(),
            Record::Instances(r) => r.encode_to_vec(),
            Record::Gateway(r) | Record::Peer(r) => r.encode_to_vec(),
            Record::Ack(r) => r.encode_to_vec(),
            Record::Lease(r) => r.encode_to_vec(),
            Record::Fence(r) => r.encode_to_vec(),
        }
        .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_under_a_key_is_read_under_it() {
        let key = Key::Slot {
            version: 7,
            index: 2,
        };
        let slot = SlotRecord {
            version: 7,
            index: 2,
            epoch: 9,
            ..SlotRecord::default()
        };
        let record = Record::Slot(slot.clone());
        assert_eq!(Record::parse(&key, &record.encode()), Ok(record));
        assert_eq!(
            Record::parse(&key, b"\xff"),
            Err(MalformedRecord(key.clone()))
        );
        let instance = slot.instance();
        assert_eq!((instance.version, instance.slot, instance.epoch), (7, 2, 9));
    }
}
