//! The one mixing step that the tie-break and the trace hash share.

/// Folds the 128-bit product of two words into one: the low half carries the
/// words' low bits upwards, the high half their high bits downwards, so every bit
/// of the result depends on all bits of both (wyhash's `mum`). One multiplication,
/// and the same on every platform because it is integer arithmetic alone.
#[inline]
pub(crate) const fn multiply_fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    (product as u64) ^ ((product >> 64) as u64)
}
