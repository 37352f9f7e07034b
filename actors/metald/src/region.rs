//! What the partition store says, as far as metald needs it: slots, versions, and who
//! schedules. Kept from the changes that the mirror hands out.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use tidegate_kernel::Change;
use tidegate_protocol::{Address, Key, LeaseRecord, NodeId, Record, Role, SlotRecord, VersionSpec};

use crate::life::Place;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Region {
    slots: BTreeMap<Place, SlotRecord>,
    versions: BTreeMap<u64, Arc<VersionSpec>>,
    scheduler: Option<Address>,
}

impl Region {
    /// Takes a change; names the slot that it changed.
    pub(crate) fn apply(&mut self, change: Change) -> Option<Place> {
        match (change.key, change.record) {
            (Key::Slot { version, index }, record) => {
                let place = Place { version, index };
                match record {
                    // The key, not the value, says which slot it is.
                    Some(Record::Slot(slot)) => {
                        let slot = SlotRecord {
                            version,
                            index,
                            ..slot
                        };
                        self.slots.insert(place, slot);
                    }
                    _ => {
                        self.slots.remove(&place);
                    }
                }
                return Some(place);
            }
            (Key::Version(id), Some(Record::Version(spec))) => {
                self.versions.insert(id, Arc::new(spec));
            }
            (Key::Version(id), _) => {
                self.versions.remove(&id);
            }
            (Key::Lease, Some(Record::Lease(lease))) => self.scheduler = scheduler(&lease),
            (Key::Lease, _) => self.scheduler = None,
            _ => {}
        }
        None
    }

    pub(crate) fn slot(&self, place: Place) -> Option<&SlotRecord> {
        self.slots.get(&place)
    }

    pub(crate) fn version(&self, id: u64) -> Option<Arc<VersionSpec>> {
        self.versions.get(&id).cloned()
    }

    /// The active scheduler of the region.
    pub(crate) fn scheduler(&self) -> Option<Address> {
        self.scheduler
    }

    /// The slots that name a host, in order.
    pub(crate) fn places_of(&self, host: NodeId) -> Vec<Place> {
        let of_host = self.slots.iter().filter(|(_, slot)| slot.host == host.0);
        of_host.map(|(place, _)| *place).collect()
    }
}

fn scheduler(lease: &LeaseRecord) -> Option<Address> {
    let holder = lease.holder?;
    let index = u16::try_from(holder.index).ok()?;
    Some(Address::new(NodeId(holder.node), Role::Scheduler, index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_says_which_slot_a_record_is_of() {
        let mut region = Region::default();
        let place = Place {
            version: 7,
            index: 2,
        };
        let slot = SlotRecord {
            version: 8,
            index: 3,
            host: 5,
            ..SlotRecord::default()
        };
        let change = |record| Change {
            key: place.key(),
            record,
            revision: 1,
        };
        let touched = region.apply(change(Some(Record::Slot(slot))));
        assert_eq!(touched, Some(place));
        let kept = region.slot(place).unwrap();
        assert_eq!((kept.version, kept.index, kept.host), (7, 2, 5));
        assert_eq!(region.places_of(NodeId(5)), [place]);
        assert_eq!(region.apply(change(None)), Some(place));
        assert_eq!(region.slot(place), None);
    }
}
