//! How full an actor's queues are: for metrics, and for whoever checks that all are bounded.

/// One queue, and how much it may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    pub queue: &'static str,
    /// What it holds now, in the unit of `limit`.
    pub length: usize,
    /// What one more is refused beyond.
    pub limit: usize,
}

impl Load {
    pub const fn new(queue: &'static str, length: usize, limit: usize) -> Self {
        Self {
            queue,
            length,
            limit,
        }
    }

    /// Whether it holds more than it may.
    pub const fn is_over(&self) -> bool {
        self.length > self.limit
    }
}
