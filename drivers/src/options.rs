//! The bounds of a driver. Each field says what happens beyond it.

/// Bounds of a [`ProcessDriver`](crate::ProcessDriver).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Instances at once, starting and ending ones included; a further start fails.
    pub instances_max: usize,
    /// Starts that copy files and fork at the same time; further ones wait.
    pub starts_at_once: usize,
    /// Commands not yet looked at; a further one is refused.
    pub commands_max: usize,
    /// Reports not yet taken; while so many wait, the driver waits too.
    pub reports_max: usize,
    pub log: LogLimits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            instances_max: 256,
            starts_at_once: 4,
            commands_max: 4096,
            reports_max: 1024,
            log: LogLimits::default(),
        }
    }
}

/// Bounds of the output that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Bytes of one segment of a version's log; beyond it, a new one begins.
    pub segment_bytes: u64,
    /// Segments of a version; the oldest goes when there are more.
    pub segments_max: usize,
    /// Versions whose logs are kept though none of their instances runs; the one that was
    /// written longest ago goes first.
    pub idle_versions_max: usize,
    /// Bytes of output of one instance that may wait to be read. An instance that writes
    /// faster than lines can be kept loses the older ones, and a line says how much.
    pub raw_bytes_max: u64,
    /// Bytes of one line; the rest of a longer one is dropped, with a mark.
    pub line_bytes_max: usize,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            segment_bytes: 8 * 1024 * 1024,
            segments_max: 2,
            idle_versions_max: 64,
            raw_bytes_max: 8 * 1024 * 1024,
            line_bytes_max: 8 * 1024,
        }
    }
}
