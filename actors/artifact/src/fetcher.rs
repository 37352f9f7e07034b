//! The fetcher: brings wanted artifacts to the node's blob store.
//!
//! For each artifact it loads the manifest (or fetches it first), judges it, checks which of
//! its blobs are here and fetches the others, each from the first source of its route that
//! has it: the next one is asked when one is silent, lacks the blob, or sent what does not
//! verify. A blob that several artifacts name is fetched once. What cannot be had from
//! anybody now is set aside; when only such blobs are left, the artifact gives its
//! place to the next one and begins again after a backoff, so that a lost blob holds up no
//! other artifact. A beginning costs one check for each blob, and a blob that was half
//! received begins anew.
//!
//! Everything at once is bounded: artifacts in work, checks and transfers. Whoever embeds it
//! passes it every [`BlobReport`] and every [`BlobData`] of the node.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use tidegate_kernel::{
    Backoff, BlobCommand, BlobReport, Duration, Effect, Effects, Load, Note, Now, Rng, Time,
};
use tidegate_protocol::{Address, BlobData, Digest, Manifest};

use crate::{
    blobs::{Blobs, Claim},
    contents,
    sources::Sources,
};

/// Settings of a fetcher.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FetcherConfig {
    /// Who has every blob, on the control node. Others are added by
    /// [`Fetcher::add_peer`].
    pub origin: Address,
    /// Whether the origin is asked before the peers, or after them.
    pub origin_first: bool,
    /// Artifacts wanted at once; one more is refused.
    pub wanted_max: usize,
    /// Artifacts in work at once; the others wait their turn.
    pub working_max: usize,
    /// Checks at the blob store at once.
    pub checks_max: usize,
    /// Blobs on their way at once, each with up to four chunks.
    pub transfers_max: usize,
    /// Wait before an artifact begins again: doubles from the first to the last, with jitter.
    pub again_min: Duration,
    pub again_max: Duration,
}

impl FetcherConfig {
    pub fn new(origin: Address) -> Self {
        Self {
            origin,
            origin_first: true,
            wanted_max: 65_536,
            working_max: 4,
            checks_max: 64,
            transfers_max: 8,
            again_min: Duration::from_secs(2),
            again_max: Duration::from_secs(16),
        }
    }
}

/// What became of an artifact, by the digest of its manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All of it is here, verified. It is no longer wanted of the fetcher.
    Fetched { digest: Digest },
    /// Not all of it is here; it is being fetched. Told once.
    Missing { digest: Digest },
    /// It is no manifest, or beyond a limit; it is no longer wanted.
    Unusable { digest: Digest, reason: String },
}

#[derive(Debug, Serialize, Deserialize)]
struct Artifact {
    stage: Stage,
    backoff: Backoff,
    told_missing: bool,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Stage {
    /// In `queue`.
    Queued,
    /// In `resting`, until then.
    Resting(Time),
    /// Its manifest is being read; `fetched` when that was fetched before.
    Loading {
        fetched: bool,
    },
    FetchingManifest,
    /// Blobs that are not known to be here; of these, the ones set aside.
    Fetching {
        left: usize,
        aside: usize,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Fetcher {
    config: FetcherConfig,
    rng: Rng,
    artifacts: BTreeMap<Digest, Artifact>,
    queue: VecDeque<Digest>,
    resting: BTreeSet<(Time, Digest)>,
    working: usize,
    blobs: Blobs,
}

impl Fetcher {
    pub fn new(config: FetcherConfig, rng: Rng) -> Self {
        let sources = Sources::new(config.origin, config.origin_first);
        Self {
            blobs: Blobs::new(sources, config.checks_max, config.transfers_max),
            config,
            rng,
            artifacts: BTreeMap::new(),
            queue: VecDeque::new(),
            resting: BTreeSet::new(),
            working: 0,
        }
    }

    /// Another node may have artifacts. Blobs that are on their way keep their routes.
    pub fn add_peer(&mut self, origin: Address) {
        self.blobs.sources().add(origin);
    }

    /// A peer is gone.
    pub fn remove_peer(&mut self, origin: Address) {
        self.blobs.sources().remove(origin);
    }

    /// Wants an artifact, until it is fetched, unusable or forgotten. False when too many
    /// are wanted.
    pub fn want(&mut self, now: Now, digest: Digest, fx: &mut Effects) -> bool {
        if self.wants(&digest) {
            return true;
        }
        if self.artifacts.len() >= self.config.wanted_max {
            fx.note(Note::Full { queue: "artifacts" });
            return false;
        }
        let artifact = Artifact {
            stage: Stage::Queued,
            backoff: Backoff::new(self.config.again_min * 2, self.config.again_max),
            told_missing: false,
        };
        self.artifacts.insert(digest, artifact);
        self.queue.push_back(digest);
        self.pump(now, fx);
        true
    }

    /// Whether the artifact is wanted still.
    pub fn wants(&self, digest: &Digest) -> bool {
        self.artifacts.contains_key(digest)
    }

    /// Wants an artifact no longer. What only it needed stops.
    pub fn forget(&mut self, now: Now, digest: &Digest, fx: &mut Effects) {
        self.blobs.release(digest);
        match self.artifacts.remove(digest).map(|a| a.stage) {
            Some(Stage::Queued) => self.queue.retain(|queued| queued != digest),
            Some(Stage::Resting(until)) => {
                self.resting.remove(&(until, *digest));
            }
            Some(_) => self.working -= 1,
            None => {}
        }
        self.pump(now, fx);
    }

    pub fn next_deadline(&self) -> Option<(Time, &'static str)> {
        let again = self.resting.first().map(|(at, _)| (*at, "fetch again"));
        let silence = self.blobs.deadline().map(|at| (at, "chunks are late"));
        again.into_iter().chain(silence).min()
    }

    /// Call on `Timer`; does nothing before the deadline.
    pub fn on_timer(&mut self, now: Now, fx: &mut Effects) {
        while let Some((at, digest)) = self.resting.first().copied()
            && at <= now.mono
        {
            self.resting.pop_first();
            self.queue.push_back(digest);
            self.set_stage(&digest, Stage::Queued);
        }
        let mut progress = Vec::new();
        for digest in self.blobs.on_timer(now, &mut self.rng, fx) {
            self.set_aside(now, digest, &mut progress);
        }
        debug_assert!(progress.is_empty(), "silence completes nothing");
        self.pump(now, fx);
    }

    /// Takes a chunk, from whomever it was asked.
    pub fn on_message(
        &mut self,
        now: Now,
        from: Address,
        data: BlobData,
        fx: &mut Effects,
    ) -> Vec<Progress> {
        let mut progress = Vec::new();
        if !self.blobs.sources().contains(from) {
            return progress;
        }
        let Ok(digest) = Digest::try_from(&data.digest) else {
            let what = format!("a chunk of {from}: its digest is not 32 bytes");
            fx.note(Note::Malformed { what });
            return progress;
        };
        self.blobs.sources().on_answer(from);
        if self.blobs.is_coming(&digest, from) {
            if data.missing || fx.buggify("buggify: a fetcher asks another source") {
                if !self.blobs.on_missing(now, digest, from, fx) {
                    self.set_aside(now, digest, &mut progress);
                }
            } else {
                for (artifact, reason) in self.blobs.wrong_claims(&digest, data.total) {
                    self.refuse(artifact, reason, &mut progress);
                }
                self.blobs.on_chunk(now, digest, data, fx);
            }
        }
        self.pump(now, fx);
        progress
    }

    /// Takes what the blob store answered.
    pub fn on_blob(&mut self, now: Now, report: BlobReport, fx: &mut Effects) -> Vec<Progress> {
        let mut progress = Vec::new();
        match report {
            BlobReport::Manifest { digest, manifest } => {
                self.on_manifest(now, digest, manifest, &mut progress);
            }
            BlobReport::Checked { digest, present } => {
                self.on_checked(now, digest, present, &mut progress, fx);
            }
            BlobReport::Finished { digest, verified } => {
                self.on_finished(now, digest, verified, &mut progress, fx);
            }
            BlobReport::Data { .. } | BlobReport::Dropped { .. } => {}
        }
        self.pump(now, fx);
        progress
    }

    /// Panics when an invariant is broken.
    pub fn check(&self) {
        assert!(self.artifacts.len() <= self.config.wanted_max);
        assert!(self.working <= self.config.working_max);
        let idle = self.artifacts.len() - self.working;
        assert_eq!(idle, self.queue.len() + self.resting.len());
        self.blobs.check();
    }

    /// How full its queues are.
    pub fn load(&self) -> Vec<Load> {
        let config = &self.config;
        let mut load = vec![
            Load::new("artifacts", self.artifacts.len(), config.wanted_max),
            Load::new("artifacts in work", self.working, config.working_max),
        ];
        load.extend(self.blobs.load());
        load
    }

    /// Starts what has room.
    fn pump(&mut self, now: Now, fx: &mut Effects) {
        while self.working < self.config.working_max
            && let Some(digest) = self.queue.pop_front()
        {
            self.working += 1;
            self.set_stage(&digest, Stage::Loading { fetched: false });
            fx.push(Effect::Blob(BlobCommand::LoadManifest { digest }));
        }
        self.blobs.start(now, &mut self.rng, fx);
    }

    fn on_manifest(
        &mut self,
        now: Now,
        digest: Digest,
        manifest: Option<Manifest>,
        progress: &mut Vec<Progress>,
    ) {
        let Some(&Stage::Loading { fetched }) = self.stage(&digest) else {
            return;
        };
        let Some(manifest) = manifest else {
            if fetched {
                return self.refuse(digest, "its digest names no manifest".to_owned(), progress);
            }
            self.tell_missing(&digest, progress);
            self.set_stage(&digest, Stage::FetchingManifest);
            return self.blobs.claim(digest, digest, Claim::Manifest);
        };
        match contents(&manifest) {
            Err(error) => self.refuse(digest, error.to_string(), progress),
            Ok(blobs) => {
                let left = blobs.len();
                for (blob, size) in blobs {
                    self.blobs.claim(digest, blob, Claim::File(size));
                }
                self.advance(now, digest, left, 0, progress);
            }
        }
    }

    fn on_checked(
        &mut self,
        now: Now,
        digest: Digest,
        present: bool,
        progress: &mut Vec<Progress>,
        fx: &mut Effects,
    ) {
        if !self.blobs.on_checked(&digest) {
            return;
        }
        if present {
            return self.here(now, digest, progress, fx);
        }
        self.blobs.set_missing(digest);
        for artifact in self.blobs.claimants(&digest) {
            self.tell_missing(&artifact, progress);
        }
    }

    fn on_finished(
        &mut self,
        now: Now,
        digest: Digest,
        verified: bool,
        progress: &mut Vec<Progress>,
        fx: &mut Effects,
    ) {
        if !self.blobs.is_finishing(&digest) {
            return;
        }
        if verified {
            return self.here(now, digest, progress, fx);
        }
        for artifact in self.blobs.claimants(&digest) {
            fx.note(Note::Corrupt {
                artifact,
                blob: digest,
            });
        }
        if !self.blobs.on_corrupt(now, digest, fx) {
            self.set_aside(now, digest, progress);
        }
    }

    /// A blob is here: the artifacts that waited for it go on.
    fn here(&mut self, now: Now, digest: Digest, progress: &mut Vec<Progress>, fx: &mut Effects) {
        for (artifact, claim) in self.blobs.take_claims(&digest) {
            match (claim, self.stage(&artifact)) {
                (Claim::Manifest, Some(Stage::FetchingManifest)) => {
                    self.set_stage(&artifact, Stage::Loading { fetched: true });
                    fx.push(Effect::Blob(BlobCommand::LoadManifest { digest }));
                }
                (Claim::File(_), Some(&Stage::Fetching { left, aside })) => {
                    self.advance(now, artifact, left - 1, aside, progress);
                }
                _ => {}
            }
        }
    }

    /// A blob cannot be had now: the artifacts that wait for it do what else they can.
    fn set_aside(&mut self, now: Now, digest: Digest, progress: &mut Vec<Progress>) {
        for (artifact, claim) in self.blobs.take_claims(&digest) {
            match (claim, self.stage(&artifact)) {
                (Claim::Manifest, Some(Stage::FetchingManifest)) => self.rest(now, artifact),
                (Claim::File(_), Some(&Stage::Fetching { left, aside })) => {
                    self.advance(now, artifact, left, aside + 1, progress);
                }
                _ => {}
            }
        }
    }

    fn advance(
        &mut self,
        now: Now,
        digest: Digest,
        left: usize,
        aside: usize,
        progress: &mut Vec<Progress>,
    ) {
        if left == 0 {
            self.artifacts.remove(&digest);
            self.working -= 1;
            progress.push(Progress::Fetched { digest });
        } else if left == aside {
            self.rest(now, digest);
        } else {
            self.set_stage(&digest, Stage::Fetching { left, aside });
        }
    }

    /// Gives the place of an artifact, of which nothing more can be had now, to the next.
    fn rest(&mut self, now: Now, digest: Digest) {
        if let Some(artifact) = self.artifacts.get_mut(&digest) {
            let until = now.mono + artifact.backoff.fail(&mut self.rng);
            artifact.stage = Stage::Resting(until);
            self.resting.insert((until, digest));
            self.working -= 1;
        }
    }

    /// Wants an artifact no longer that cannot become one.
    fn refuse(&mut self, digest: Digest, reason: String, progress: &mut Vec<Progress>) {
        self.blobs.release(&digest);
        self.artifacts.remove(&digest);
        self.working -= 1;
        progress.push(Progress::Unusable { digest, reason });
    }

    fn tell_missing(&mut self, digest: &Digest, progress: &mut Vec<Progress>) {
        if let Some(artifact) = self.artifacts.get_mut(digest)
            && !std::mem::replace(&mut artifact.told_missing, true)
        {
            progress.push(Progress::Missing { digest: *digest });
        }
    }

    fn stage(&self, digest: &Digest) -> Option<&Stage> {
        self.artifacts.get(digest).map(|artifact| &artifact.stage)
    }

    fn set_stage(&mut self, digest: &Digest, stage: Stage) {
        if let Some(artifact) = self.artifacts.get_mut(digest) {
            artifact.stage = stage;
        }
    }
}

#[cfg(test)]
mod tests;
