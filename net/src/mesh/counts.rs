//! What the mesh counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What the mesh did since its start.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct MeshCounts {
            $($(#[$doc])* pub $name: u64,)*
        }

        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub(super) $name: AtomicU64,)*
        }

        impl Counters {
            pub(super) fn read(&self) -> MeshCounts {
                MeshCounts {
                    $($name: self.$name.load(Relaxed),)*
                }
            }
        }
    };
}

counters! {
    /// Envelopes given to a connection.
    sent,
    /// Envelopes handed to the router.
    received,
    /// Lost: the peer's queue was full.
    full,
    /// Lost: there was no connection, or it broke with the envelope in its queue.
    disconnected,
    /// Lost: the directory does not name the node, and it has not dialled either.
    unknown_node,
    /// Lost: larger than an envelope may be.
    oversized,
    /// Received and lost: an address or a body of a kind that this build does not know.
    unintelligible,
    /// Received and lost: for another node.
    misrouted,
    /// Links cut because the peer spoke in another node's name.
    spoofed,
    /// Calls refused for their token.
    unauthenticated,
    /// Links that came to be.
    links,
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
