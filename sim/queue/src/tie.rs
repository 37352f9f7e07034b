//! The tie-break of simultaneous events: a counter-based generator (wyrand) of
//! its own, so that drawing one costs a multiplication and never disturbs the
//! random numbers that a scenario draws for itself.

use crate::mix::multiply_fold;

const STEP: u64 = 0xa076_1d64_78bd_642f;
const FOLD: u64 = 0xe703_7ed1_a0b4_28db;

#[derive(Clone, Debug)]
pub(crate) struct TieBreak {
    state: u64,
    mask: u16,
}

impl TieBreak {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self {
            state: multiply_fold(seed ^ FOLD, STEP),
            mask: u16::MAX,
        }
    }

    /// Always zero, which leaves the order to the sequence.
    pub(crate) fn constant() -> Self {
        Self { state: 0, mask: 0 }
    }

    #[inline]
    pub(crate) fn draw(&mut self) -> u16 {
        self.state = self.state.wrapping_add(STEP);
        (multiply_fold(self.state, self.state ^ FOLD) >> 48) as u16 & self.mask
    }
}
