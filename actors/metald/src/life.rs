//! What a slot's record entitles a life to.
//!
//! A life is one epoch of one slot. Whether it may go on is read from the newest record of
//! the slot alone; this is the only place where the two are compared.

use serde::{Deserialize, Serialize};
use tidegate_kernel::Time;
use tidegate_protocol::{InstanceRef, Key, NodeId, SlotRecord, SlotState};

/// A slot, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) version: u64,
    pub(crate) index: u32,
}

impl Place {
    pub(crate) fn key(self) -> Key {
        Key::Slot {
            version: self.version,
            index: self.index,
        }
    }
}

/// One life of a slot; the ordered twin of [`InstanceRef`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Life {
    pub(crate) place: Place,
    pub(crate) epoch: u64,
}

impl From<InstanceRef> for Life {
    fn from(i: InstanceRef) -> Self {
        let place = Place {
            version: i.version,
            index: i.slot,
        };
        Life {
            place,
            epoch: i.epoch,
        }
    }
}

impl From<Life> for InstanceRef {
    fn from(life: Life) -> Self {
        InstanceRef {
            version: life.place.version,
            slot: life.place.index,
            epoch: life.epoch,
        }
    }
}

/// How metald knows of a life's claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Claim {
    /// By a message only; the mirror has not shown it yet.
    Announced { since: Time, look_at: Time },
    /// The mirror has shown it.
    Seen,
    /// The mirror should have shown it long ago.
    GivenUp,
}

/// What the slot says about a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The record is older than the claim, or in a state that this build does not know:
    /// wait for a newer one.
    Unclear,
    /// It may start.
    Starting,
    /// It may take traffic.
    Running,
    /// It has to stop, and its slot is to be freed after.
    Stopping,
    /// The slot is no longer its own: it has to end, and the slot is none of its business.
    Superseded,
}

/// Compares a life with the newest record of its slot (`None`: there is none).
pub(crate) fn standing(
    me: NodeId,
    slot: Option<&SlotRecord>,
    epoch: u64,
    claim: Claim,
) -> Standing {
    let is_newer_expected = matches!(claim, Claim::Announced { .. });
    match slot {
        Some(slot) if slot.epoch == epoch && slot.host == me.0 => match slot.state() {
            SlotState::Starting => Standing::Starting,
            SlotState::Running => Standing::Running,
            SlotState::Stopping => Standing::Stopping,
            SlotState::Free => Standing::Superseded,
            SlotState::Unspecified => Standing::Unclear,
        },
        Some(slot) if slot.epoch >= epoch => Standing::Superseded,
        _ if is_newer_expected => Standing::Unclear,
        _ => Standing::Superseded,
    }
}
