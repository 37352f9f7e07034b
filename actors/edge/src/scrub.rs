//! Looking again at what was verified once: bits rot on disks.
//!
//! A front trusts a blob that its node has verified, and an ack promises that it may. So
//! every held artifact is looked at again, one after the other without end: its manifest,
//! then each blob that it names, every byte of it. One look is under way at a time, and the
//! next one waits `pause`, or longer after a large blob, so that the disk is read at
//! `bytes_per_second` at most. The blob store drops what it finds damaged; the edge then
//! takes the ack back, and fetches what is gone.
//!
//! Between them it asks whether the blob store has dropped anything because somebody else
//! found it damaged (a front, an origin): then the edge checks all that it holds, as after
//! a restart.
//!
//! A blob that rots is therefore served for as long as it takes to come round to it: one
//! `pause` for each blob on the node, if they are small. It must never keep the node busy,
//! and it never decides that something is whole: that is for the fetcher to say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_artifact::contents;
use tidegate_kernel::{BlobCommand, BlobReport, Duration, Effect, Effects, Now, Time};
use tidegate_protocol::Digest;

use crate::ledger::Ledger;

/// After so many looks, or pauses without any, what was dropped is asked for.
const DROPPED_EVERY: u32 = 5;
/// An answer of the blob store that does not come is waited for no longer.
const PATIENCE: Duration = Duration::from_secs(600);

/// How fast to look.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Pace {
    /// Between two blobs, at least.
    pub pause: Duration,
    /// Of the disk, at most.
    pub bytes_per_second: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Scrub {
    pace: Pace,
    /// The artifact that is looked at, or was last.
    artifact: Option<Digest>,
    /// Blobs of it still to be looked at, with their sizes.
    left: BTreeMap<Digest, u64>,
    asked: Option<Asked>,
    next_at: Time,
    /// Since what was dropped was asked for.
    looks: u32,
}

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Something of this artifact is gone.
    Damaged(Digest),
    /// Something is gone, of whatever artifacts.
    Dropped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Asked {
    Dropped,
    Manifest,
    Blob(Digest, u64),
}

impl Scrub {
    pub(crate) fn new(pace: Pace) -> Self {
        Self {
            pace,
            artifact: None,
            left: BTreeMap::new(),
            asked: None,
            next_at: Time::ZERO,
            looks: 0,
        }
    }

    pub(crate) fn next_deadline(&self) -> (Time, &'static str) {
        (self.next_at, "look at a held blob again")
    }

    /// Looks at the next blob, when it is time.
    pub(crate) fn on_timer(&mut self, now: Now, ledger: &Ledger, fx: &mut Effects) {
        if now.mono < self.next_at {
            return;
        }
        self.next_at = now.mono + self.pace.pause;
        self.looks += 1;
        if self.looks > DROPPED_EVERY {
            self.looks = 0;
            self.ask(now, Asked::Dropped, BlobCommand::CountDropped, fx);
            return;
        }
        // The artifact may have been given up, or may be fetched anew, since.
        if self
            .artifact
            .is_none_or(|artifact| !ledger.holds(&artifact))
        {
            self.left.clear();
        }
        self.asked = None;
        if let Some((digest, bytes)) = self.left.pop_first() {
            let asked = Asked::Blob(digest, bytes);
            return self.ask(now, asked, BlobCommand::Verify { digest }, fx);
        }
        self.artifact = ledger.held_after(self.artifact);
        if let Some(digest) = self.artifact {
            let load = BlobCommand::LoadManifest { digest };
            self.ask(now, Asked::Manifest, load, fx);
        }
    }

    fn ask(&mut self, now: Now, asked: Asked, command: BlobCommand, fx: &mut Effects) {
        self.asked = Some(asked);
        self.next_at = now.mono + PATIENCE;
        fx.push(Effect::Blob(command));
    }

    /// Takes what the blob store answered.
    pub(crate) fn on_blob(&mut self, now: Now, report: &BlobReport) -> Option<Found> {
        let (found, bytes) = match (self.asked?, report) {
            (Asked::Dropped, BlobReport::Dropped { count }) => {
                ((*count > 0).then_some(Found::Dropped), 0)
            }
            (Asked::Manifest, BlobReport::Manifest { digest, manifest })
                if self.artifact == Some(*digest) =>
            {
                // One that is whole was accepted when it came.
                let blobs = manifest.as_ref().map(|m| contents(m).unwrap_or_default());
                let gone = blobs.is_none().then_some(Found::Damaged(*digest));
                self.left = blobs.unwrap_or_default();
                (gone, 0)
            }
            (Asked::Blob(blob, bytes), BlobReport::Checked { digest, present })
                if *digest == blob =>
            {
                let artifact = self.artifact.filter(|_| !present);
                (artifact.map(Found::Damaged), bytes)
            }
            _ => return None,
        };
        self.asked = None;
        self.next_at = now.mono + self.pace.after(bytes);
        if found.is_some() {
            self.left.clear();
        }
        found
    }
}

impl Pace {
    /// How long to wait after a blob of so many bytes was read.
    fn after(&self, bytes: u64) -> Duration {
        let ms = bytes.saturating_mul(1_000) / self.bytes_per_second.max(1);
        self.pause.max(Duration::from_millis(ms))
    }
}
