//! Which versions there are, what is known of their artifacts, and which acks that allows.
//!
//! Versions whose ack may have to change are kept aside (`unsettled`), so that a decision
//! looks at them only.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use serde::{Deserialize, Serialize};
use tidegate_kernel::Mirror;
use tidegate_protocol::{AckRecord, Bytes, Digest, Key, NodeId, Record, Txn, Write};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Holding {
    /// Not known yet in this life, or no longer.
    Unknown,
    /// Something of it is not here.
    Missing,
    /// All of it is here, verified.
    Held,
    /// It cannot be fetched now, for what it says.
    Unusable,
}

#[derive(Debug, Serialize, Deserialize)]
struct Artifact {
    holding: Holding,
    versions: BTreeSet<u64>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Ledger {
    versions: BTreeMap<u64, Digest>,
    artifacts: BTreeMap<Digest, Artifact>,
    /// Acks in the store; `None` where the record names no digest.
    acks: BTreeMap<u64, Option<Digest>>,
    unsettled: BTreeSet<u64>,
    unusable: BTreeSet<Digest>,
}

/// What an ack should be.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    AsItIs,
    Absent,
    Of(Digest),
}

impl Ledger {
    /// A version is there; returns an artifact that nobody needs any more.
    pub(crate) fn set_version(&mut self, id: u64, artifact: Digest) -> Option<Digest> {
        let unneeded = match self.versions.get(&id) {
            Some(known) if *known != artifact => self.remove_version(id),
            _ => None,
        };
        self.versions.insert(id, artifact);
        let known = self.artifacts.entry(artifact).or_insert(Artifact {
            holding: Holding::Unknown,
            versions: BTreeSet::new(),
        });
        known.versions.insert(id);
        self.unsettled.insert(id);
        unneeded
    }

    /// A version is gone; returns an artifact that nobody needs any more.
    pub(crate) fn remove_version(&mut self, id: u64) -> Option<Digest> {
        self.unsettled.insert(id);
        let digest = self.versions.remove(&id)?;
        let artifact = self.artifacts.get_mut(&digest)?;
        artifact.versions.remove(&id);
        if !artifact.versions.is_empty() {
            return None;
        }
        self.artifacts.remove(&digest);
        self.unusable.remove(&digest);
        Some(digest)
    }

    /// The store shows an ack of this version, or none.
    pub(crate) fn set_ack(&mut self, version: u64, artifact: Option<Option<Digest>>) {
        match artifact {
            Some(artifact) => self.acks.insert(version, artifact),
            None => self.acks.remove(&version),
        };
        self.unsettled.insert(version);
    }

    pub(crate) fn holds(&self, artifact: &Digest) -> bool {
        self.holding(artifact) == Some(Holding::Held)
    }

    /// The held artifact that follows one by digest, in a circle; `None`: none is held.
    pub(crate) fn held_after(&self, artifact: Option<Digest>) -> Option<Digest> {
        let held = |(digest, known): (&Digest, &Artifact)| {
            (known.holding == Holding::Held).then_some(*digest)
        };
        let rest = match artifact {
            Some(artifact) => self.artifacts.range((Excluded(artifact), Unbounded)),
            None => self.artifacts.range(..),
        };
        rest.chain(&self.artifacts).find_map(held)
    }

    /// What is held has to be looked for again; acks stand meanwhile. Returns what that is.
    pub(crate) fn doubt_held(&mut self) -> Vec<Digest> {
        let held = self.artifacts.iter_mut().filter_map(|(digest, known)| {
            (known.holding == Holding::Held).then(|| {
                known.holding = Holding::Unknown;
                *digest
            })
        });
        held.collect()
    }

    pub(crate) fn is_unusable(&self, artifact: &Digest) -> bool {
        self.holding(artifact) == Some(Holding::Unusable)
    }

    /// All of an artifact is here; returns the versions that are made of it.
    pub(crate) fn set_held(&mut self, artifact: Digest) -> impl Iterator<Item = &u64> {
        self.set(artifact, Holding::Held);
        let known = self.artifacts.get(&artifact);
        known.into_iter().flat_map(|known| &known.versions)
    }

    pub(crate) fn set_missing(&mut self, artifact: Digest) {
        self.set(artifact, Holding::Missing);
    }

    pub(crate) fn set_unusable(&mut self, artifact: Digest) {
        self.set(artifact, Holding::Unusable);
        if self.artifacts.contains_key(&artifact) {
            self.unusable.insert(artifact);
        }
    }

    /// The unusable artifacts, to be tried again.
    pub(crate) fn take_unusable(&mut self) -> BTreeSet<Digest> {
        let unusable = std::mem::take(&mut self.unusable);
        for digest in &unusable {
            self.set(*digest, Holding::Missing);
        }
        unusable
    }

    /// The next commit that brings acks to what they should be, or `None`: all are.
    pub(crate) fn next_txn(&mut self, node: NodeId, mirror: &Mirror, max: usize) -> Option<Txn> {
        let mut txn = Txn::default();
        let mut settled = Vec::new();
        for &version in &self.unsettled {
            let Some(value) = self.change(node, version) else {
                settled.push(version);
                continue;
            };
            let key = Key::Ack { node, version };
            txn.preconditions.push(mirror.unchanged(&key));
            if value.is_some() {
                // Not for a version that is being deleted.
                let version = Key::Version(version);
                txn.preconditions.push(mirror.unchanged(&version));
            }
            let key = key.to_string();
            txn.writes.push(Write { key, value });
            if txn.writes.len() >= max {
                break;
            }
        }
        for version in settled {
            self.unsettled.remove(&version);
        }
        (!txn.writes.is_empty()).then_some(txn)
    }

    pub(crate) fn check(&self) {
        assert!(
            self.artifacts.len() <= self.versions.len(),
            "an artifact of no version"
        );
        assert!(self.unusable.len() <= self.artifacts.len());
    }

    /// What to write as the ack of a version; `None`: it is as it should be.
    fn change(&self, node: NodeId, version: u64) -> Option<Option<Bytes>> {
        let present = self.acks.get(&version);
        match self.wanted(version) {
            Wanted::AsItIs => None,
            Wanted::Absent => present.map(|_| None),
            Wanted::Of(artifact) if present == Some(&Some(artifact)) => None,
            Wanted::Of(artifact) => {
                let ack = Record::Ack(AckRecord {
                    node: node.0,
                    version,
                    artifact: artifact.into(),
                });
                Some(Some(ack.encode()))
            }
        }
    }

    fn wanted(&self, version: u64) -> Wanted {
        let Some(artifact) = self.versions.get(&version) else {
            return Wanted::Absent;
        };
        match self.holding(artifact) {
            Some(Holding::Held) => Wanted::Of(*artifact),
            // An ack of a former life stands until something is found missing.
            Some(Holding::Unknown) if self.acks.get(&version) == Some(&Some(*artifact)) => {
                Wanted::AsItIs
            }
            _ => Wanted::Absent,
        }
    }

    fn holding(&self, artifact: &Digest) -> Option<Holding> {
        self.artifacts.get(artifact).map(|known| known.holding)
    }

    fn set(&mut self, artifact: Digest, holding: Holding) {
        if let Some(known) = self.artifacts.get_mut(&artifact) {
            known.holding = holding;
            self.unsettled.extend(&known.versions);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Digest = Digest([0xa; 32]);
    const B: Digest = Digest([0xb; 32]);

    #[test]
    fn an_artifact_is_unneeded_when_its_last_version_leaves_or_changes() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.set_version(1, A), None);
        assert_eq!(ledger.set_version(2, A), None);
        let _ = ledger.set_held(A);
        assert_eq!(ledger.set_version(1, A), None, "the same again");
        assert!(ledger.holds(&A));
        assert_eq!(ledger.set_version(1, B), None, "2 needs it still");
        assert_eq!(ledger.set_version(2, B), Some(A));
        assert_eq!(ledger.remove_version(1), None);
        assert_eq!(ledger.remove_version(2), Some(B));
        ledger.check();
    }

    #[test]
    fn the_only_version_may_be_told_again() {
        let mut ledger = Ledger::default();
        ledger.set_version(1, A);
        let _ = ledger.set_held(A);
        assert_eq!(ledger.set_version(1, A), None);
        assert!(ledger.holds(&A));
    }

    #[test]
    fn what_is_unusable_is_so_until_it_is_tried_again() {
        let mut ledger = Ledger::default();
        ledger.set_version(1, A);
        assert!(!ledger.is_unusable(&A));
        ledger.set_unusable(A);
        assert!(ledger.is_unusable(&A));
        assert_eq!(ledger.take_unusable(), BTreeSet::from([A]));
        assert!(!ledger.is_unusable(&A));
    }

    #[test]
    #[should_panic(expected = "an artifact of no version")]
    fn an_artifact_of_no_version_breaks_an_invariant() {
        let mut ledger = Ledger::default();
        ledger.set_version(1, A);
        ledger.versions.clear();
        ledger.check();
    }
}
