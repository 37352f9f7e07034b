//! Seeds from the operating system.

use tidegate_kernel::Seed;

/// A seed that nobody can guess.
///
/// # Errors
/// The operating system has no entropy to give; no process should start without.
pub fn seed() -> std::io::Result<Seed> {
    getrandom::u64()
        .map(Seed)
        .map_err(|e| std::io::Error::other(format!("no entropy from the system: {e}")))
}
