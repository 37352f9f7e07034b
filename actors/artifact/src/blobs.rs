//! The blobs that wanted artifacts wait for: checked, asked for and received, a bounded
//! number at once.
//!
//! Each blob is here once, whatever the number of artifacts that claim it, and leaves when
//! it has come, when it cannot be had now, or with its last claim.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use tidegate_kernel::{BlobCommand, Effect, Effects, Load, Now, Rng, Time};
use tidegate_protocol::{Address, BlobData, BlobRead, Bytes, Digest, Message, limits};

use crate::{
    sources::{Route, Sources},
    transfer::{Piece, Transfer},
};

/// What an artifact needs a blob for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Claim {
    Manifest,
    /// A file of this many bytes.
    File(u64),
}

#[derive(Debug, Serialize, Deserialize)]
struct Blob {
    /// The artifacts that wait for it.
    claims: BTreeMap<Digest, Claim>,
    stage: Stage,
}

#[derive(Debug, Serialize, Deserialize)]
enum Stage {
    /// In `unchecked`, or its check is at the blob store.
    Unknown,
    /// In `missing`.
    Missing,
    /// In `coming`.
    Coming(Transfer, Route),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Blobs {
    sources: Sources,
    checks_max: usize,
    transfers_max: usize,
    table: BTreeMap<Digest, Blob>,
    unchecked: VecDeque<Digest>,
    /// Checks at the blob store, also of blobs that nobody waits for any more.
    checks: BTreeSet<Digest>,
    missing: VecDeque<Digest>,
    coming: BTreeSet<Digest>,
}

impl Blobs {
    pub(crate) fn new(sources: Sources, checks_max: usize, transfers_max: usize) -> Self {
        Self {
            sources,
            checks_max,
            transfers_max,
            table: BTreeMap::new(),
            unchecked: VecDeque::new(),
            checks: BTreeSet::new(),
            missing: VecDeque::new(),
            coming: BTreeSet::new(),
        }
    }

    /// Whom blobs can be had from.
    pub(crate) fn sources(&mut self) -> &mut Sources {
        &mut self.sources
    }

    /// An artifact waits for a blob from now on.
    pub(crate) fn claim(&mut self, artifact: Digest, digest: Digest, claim: Claim) {
        if let Some(blob) = self.table.get_mut(&digest) {
            blob.claims.insert(artifact, claim);
            return;
        }
        // That a manifest is not here was the answer to loading it.
        let stage = match claim {
            Claim::Manifest => {
                self.missing.push_back(digest);
                Stage::Missing
            }
            Claim::File(_) => {
                self.unchecked.push_back(digest);
                Stage::Unknown
            }
        };
        let claims = BTreeMap::from([(artifact, claim)]);
        self.table.insert(digest, Blob { claims, stage });
    }

    /// Withdraws an artifact's claims; blobs that nobody else waits for are dropped.
    pub(crate) fn release(&mut self, artifact: &Digest) {
        let mut dropped = BTreeSet::new();
        self.table.retain(|digest, blob| {
            let claimed = blob.claims.remove(artifact).is_some();
            let kept = !claimed || !blob.claims.is_empty();
            if !kept {
                dropped.insert(*digest);
            }
            kept
        });
        if !dropped.is_empty() {
            self.unchecked.retain(|digest| !dropped.contains(digest));
            self.missing.retain(|digest| !dropped.contains(digest));
            self.coming.retain(|digest| !dropped.contains(digest));
        }
    }

    /// The artifacts that wait for a blob.
    pub(crate) fn claimants(&self, digest: &Digest) -> Vec<Digest> {
        let blob = self.table.get(digest);
        blob.map(|blob| blob.claims.keys().copied().collect())
            .unwrap_or_default()
    }

    /// Forgets a blob that has come, or cannot; returns who waited for it.
    pub(crate) fn take_claims(&mut self, digest: &Digest) -> BTreeMap<Digest, Claim> {
        self.coming.remove(digest);
        let blob = self.table.remove(digest);
        blob.map(|blob| blob.claims).unwrap_or_default()
    }

    /// Starts the checks and transfers that have room.
    pub(crate) fn start(&mut self, now: Now, rng: &mut Rng, fx: &mut Effects) {
        while self.checks.len() < self.checks_max
            && let Some(digest) = self.unchecked.pop_front()
        {
            // The answer to an earlier check that is still awaited does as well.
            if self.is_unknown(&digest) && self.checks.insert(digest) {
                fx.push(Effect::Blob(BlobCommand::Check { digest }));
            }
        }
        while self.coming.len() < self.transfers_max
            && let Some(digest) = self.missing.pop_front()
        {
            if let Some(blob) = self.table.get_mut(&digest) {
                let (transfer, piece) = Transfer::begin(now);
                let route = self.sources.route(now, rng);
                ask(&route, digest, vec![piece], fx);
                blob.stage = Stage::Coming(transfer, route);
                self.coming.insert(digest);
            }
        }
    }

    /// A check was answered; whether the answer was awaited.
    pub(crate) fn on_checked(&mut self, digest: &Digest) -> bool {
        self.checks.remove(digest);
        self.is_unknown(digest)
    }

    /// A blob that was checked has to be fetched.
    pub(crate) fn set_missing(&mut self, digest: Digest) {
        if let Some(blob) = self.table.get_mut(&digest) {
            blob.stage = Stage::Missing;
            self.missing.push_back(digest);
        }
    }

    /// Whether chunks of a blob are awaited, and this source may send them.
    pub(crate) fn is_coming(&self, digest: &Digest, from: Address) -> bool {
        self.coming(digest)
            .is_some_and(|(transfer, route)| !transfer.is_finishing() && route.contains(from))
    }

    /// Whether the blob store verifies a blob now.
    pub(crate) fn is_finishing(&self, digest: &Digest) -> bool {
        self.coming(digest)
            .is_some_and(|(transfer, _)| transfer.is_finishing())
    }

    /// The artifacts that a blob of `total` bytes cannot belong to, and why.
    pub(crate) fn wrong_claims(&self, digest: &Digest, total: u64) -> Vec<(Digest, String)> {
        let reason = |claim: &Claim| match *claim {
            Claim::Manifest if total > limits::MANIFEST_BYTES_MAX as u64 => Some(format!(
                "its manifest has {total} bytes; at most {} fit",
                limits::MANIFEST_BYTES_MAX
            )),
            Claim::File(size) if total != size => Some(format!(
                "its manifest gives blob {digest} {size} bytes, the origin {total}"
            )),
            _ => None,
        };
        let claims = self.table.get(digest).map(|blob| &blob.claims);
        claims
            .into_iter()
            .flatten()
            .filter_map(|(artifact, claim)| Some((*artifact, reason(claim)?)))
            .collect()
    }

    /// Takes a chunk: appends what is in order, asks for what comes next.
    pub(crate) fn on_chunk(&mut self, now: Now, digest: Digest, data: BlobData, fx: &mut Effects) {
        let Some((transfer, route)) = self.coming_mut(&digest) else {
            return;
        };
        let taken = transfer.on_data(now, data.offset, data.total, data.data);
        let whole = !taken.ready.is_empty() && transfer.is_finishing();
        for (offset, data) in taken.ready {
            fx.push(Effect::Blob(BlobCommand::Append {
                digest,
                offset,
                data,
            }));
        }
        if whole {
            fx.push(Effect::Blob(BlobCommand::Finish { digest }));
        }
        ask(route, digest, taken.ask, fx);
    }

    /// A source lacks a blob: the next one is asked for what is left of it. False when there
    /// is none. Only the word of the one that is asked counts.
    pub(crate) fn on_missing(
        &mut self,
        now: Now,
        digest: Digest,
        from: Address,
        fx: &mut Effects,
    ) -> bool {
        let Some((transfer, route)) = self.coming_mut(&digest) else {
            return true;
        };
        if route.current() == Some(from) {
            route.discard();
            ask(route, digest, transfer.on_other_source(now), fx);
        }
        route.current().is_some()
    }

    /// What came was not the blob: it begins anew from the next source. False when there is
    /// none.
    pub(crate) fn on_corrupt(&mut self, now: Now, digest: Digest, fx: &mut Effects) -> bool {
        let Some((transfer, route)) = self.coming_mut(&digest) else {
            return true;
        };
        let (anew, piece) = Transfer::begin(now);
        *transfer = anew;
        route.discard();
        ask(route, digest, vec![piece], fx);
        route.current().is_some()
    }

    /// When chunks will have been awaited for too long.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let deadlines = self
            .coming
            .iter()
            .filter_map(|d| self.coming(d)?.0.deadline());
        deadlines.min()
    }

    /// Asks for chunks that are late: the next source, at last all of them again. Returns
    /// the blobs that were late too often.
    pub(crate) fn on_timer(&mut self, now: Now, rng: &mut Rng, fx: &mut Effects) -> Vec<Digest> {
        let mut given_up = Vec::new();
        for digest in &self.coming {
            let stage = self.table.get_mut(digest).map(|blob| &mut blob.stage);
            let Some(Stage::Coming(transfer, route)) = stage else {
                continue;
            };
            if transfer.deadline().is_none_or(|at| at > now.mono) {
                continue;
            }
            if let Some(silent) = route.current() {
                self.sources.on_silence(now, silent);
            }
            let pieces = if route.postpone() {
                Some(transfer.on_other_source(now))
            } else {
                transfer.on_silence(now, rng)
            };
            match pieces {
                Some(pieces) => ask(route, *digest, pieces, fx),
                None => given_up.push(*digest),
            }
        }
        given_up
    }

    pub(crate) fn load(&self) -> [Load; 2] {
        [
            Load::new("checks of blobs", self.checks.len(), self.checks_max),
            Load::new("transfers", self.coming.len(), self.transfers_max),
        ]
    }

    pub(crate) fn check(&self) {
        self.sources.check();
        assert!(self.coming.len() <= self.transfers_max);
        assert!(self.checks.len() <= self.checks_max);
        assert!(self.coming.len() + self.missing.len() <= self.table.len());
    }

    fn is_unknown(&self, digest: &Digest) -> bool {
        let blob = self.table.get(digest);
        blob.is_some_and(|blob| matches!(blob.stage, Stage::Unknown))
    }

    fn coming(&self, digest: &Digest) -> Option<(&Transfer, &Route)> {
        match &self.table.get(digest)?.stage {
            Stage::Coming(transfer, route) => Some((transfer, route)),
            _ => None,
        }
    }

    fn coming_mut(&mut self, digest: &Digest) -> Option<(&mut Transfer, &mut Route)> {
        match &mut self.table.get_mut(digest)?.stage {
            Stage::Coming(transfer, route) => Some((transfer, route)),
            _ => None,
        }
    }
}

/// Asks the current source of a route, if there is one.
fn ask(route: &Route, digest: Digest, pieces: Vec<Piece>, fx: &mut Effects) {
    let Some(source) = route.current() else {
        return;
    };
    for (offset, length_max) in pieces {
        fx.send(
            source,
            Message::BlobRead(BlobRead {
                digest: Bytes::from(digest),
                offset,
                length_max,
            }),
        );
    }
}
