//! What can go wrong below a store. Each error names the place and what to do.

/// An engine, or a blob store, cannot do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageError {
    /// Another process has it open.
    Locked { place: String },
    /// What is on disk is not what was written.
    Corrupted { place: String, detail: String },
    /// No space left.
    Full { place: String, detail: String },
    /// Written by another version of the format.
    Format {
        place: String,
        found: String,
        supported: String,
    },
    /// An earlier write failed half way: it can be read, and nothing is written any more.
    Stopped { place: String, cause: String },
    /// The operating system refused.
    Io { place: String, detail: String },
}

impl std::fmt::Display for StorageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Locked { place } => write!(
                f,
                "{place} is in use by another process; stop it, or choose another directory"
            ),
            Self::Corrupted { place, detail } => write!(
                f,
                "{place} is damaged ({detail}); move it away and restore a backup, or let it be \
                 filled anew"
            ),
            Self::Full { place, detail } => {
                write!(
                    f,
                    "no space left for {place} ({detail}); free some and try again"
                )
            }
            Self::Format {
                place,
                found,
                supported,
            } => write!(
                f,
                "{place} has format {found}, this program reads {supported}; use the program \
                 that wrote it"
            ),
            Self::Stopped { place, cause } => write!(
                f,
                "{place} takes no more commits, because a write failed ({cause}); see to the disk \
                 and start the process anew"
            ),
            Self::Io { place, detail } => write!(
                f,
                "{place} cannot be used ({detail}); check the path, its permissions and the disk"
            ),
        }
    }
}

impl std::error::Error for StorageError {}
