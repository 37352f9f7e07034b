//! How an actor's command becomes a call of the blob store.
//!
//! An actor learns whether it has a blob, not what was wrong with it: it can only fetch it
//! again. What an operator needs to know goes to the log.

use tidegate_kernel::{BlobCommand, BlobReport};
use tidegate_protocol::{Bytes, Digest};

use super::{BlobError, BlobStore};

/// Carries out one command. `Append` has no report.
pub fn run_command(store: &BlobStore, command: BlobCommand) -> Option<BlobReport> {
    match command {
        BlobCommand::Check { digest } => {
            let present = logged(digest, store.check(digest)).unwrap_or(false);
            Some(BlobReport::Checked { digest, present })
        }
        BlobCommand::Verify { digest } => {
            let present = logged(digest, store.verify(digest)).unwrap_or(false);
            Some(BlobReport::Checked { digest, present })
        }
        BlobCommand::CountDropped => {
            let count = store.take_dropped();
            Some(BlobReport::Dropped { count })
        }
        BlobCommand::LoadManifest { digest } => {
            let manifest = logged(digest, store.load_manifest(digest)).flatten();
            Some(BlobReport::Manifest { digest, manifest })
        }
        BlobCommand::Append {
            digest,
            offset,
            data,
        } => {
            logged(digest, store.append(digest, offset, &data));
            None
        }
        BlobCommand::Finish { digest } => {
            let verified = logged(digest, store.finish(digest)).is_some();
            Some(BlobReport::Finished { digest, verified })
        }
        BlobCommand::Read {
            digest,
            offset,
            length_max,
            reply_to,
        } => {
            let (total, data) = match store.read(digest, offset, length_max as usize) {
                Ok((total, data)) => (Some(total), data),
                // A node is often asked for what it does not have.
                Err(BlobError::Missing(_)) => (None, Bytes::new()),
                Err(error) => {
                    logged::<()>(digest, Err(error));
                    (None, Bytes::new())
                }
            };
            Some(BlobReport::Data {
                digest,
                offset,
                total,
                data,
                reply_to,
            })
        }
    }
}

fn logged<T>(digest: Digest, result: Result<T, BlobError>) -> Option<T> {
    result
        .inspect_err(|error| tracing::warn!(%digest, %error, "the blob store refused"))
        .ok()
}
