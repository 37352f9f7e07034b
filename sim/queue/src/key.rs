//! What the queue compares: time, tie-break and sequence packed into 128 bits,
//! most significant first, so that an order of three fields is one integer
//! comparison and a sort touches 16 bytes an event whatever the event's size. The
//! slot of the event fills the lowest bits, where it never decides.
//!
//! The widths are a bargain. Time keeps all 64 bits (584 years of nanoseconds).
//! The tie-break has 16: two simultaneous events draw the same one in 65,536, and
//! then insertion order decides, which costs exploration nothing. The sequence
//! has 25, and the queue renumbers the waiting events when it runs out; that is
//! one sort for each 25 million pushes at the least.

use crate::store::SLOT_BITS;

const SEQUENCE_BITS: u32 = 25;
const TIE_SHIFT: u32 = SEQUENCE_BITS + SLOT_BITS;
const _: () = assert!(TIE_SHIFT + u16::BITS == u64::BITS);
const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;

/// Sequence numbers are below this. It is four times the number of slots, so
/// renumbering always makes room.
pub(crate) const SEQUENCE_END: u32 = 1 << SEQUENCE_BITS;

/// An event's place in the order, and its slot in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(u128);

impl Key {
    #[inline]
    pub(crate) fn new(time_ns: u64, tie: u16, sequence: u32, slot: u32) -> Self {
        debug_assert!(sequence < SEQUENCE_END);
        debug_assert!(u64::from(slot) <= SLOT_MASK);
        let tie = u64::from(tie) << TIE_SHIFT;
        let low = tie | u64::from(sequence) << SLOT_BITS | u64::from(slot);
        Self(u128::from(time_ns) << 64 | u128::from(low))
    }

    #[inline]
    pub(crate) fn time_ns(self) -> u64 {
        (self.0 >> 64) as u64
    }

    #[inline]
    pub(crate) fn slot(self) -> u32 {
        (self.0 as u64 & SLOT_MASK) as u32
    }

    #[inline]
    pub(crate) fn sequence(self) -> u32 {
        (self.0 as u64 >> SLOT_BITS) as u32 & (SEQUENCE_END - 1)
    }

    /// The same place under another sequence number.
    pub(crate) fn renumbered(self, sequence: u32) -> Self {
        let tie = (self.0 as u64 >> TIE_SHIFT) as u16;
        Self::new(self.time_ns(), tie, sequence, self.slot())
    }
}
