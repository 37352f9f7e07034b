//! The blob store of a simulated machine, and the artifacts that tenants push.
//!
//! Digests are real SHA-256 over real, small bytes, so that a blob that changed on its way
//! is found out for the same reason as in production. What was verified survives a crash;
//! what was still being received does not.
//!
//! As in production a blob is verified when it comes and when it is first opened in a life of
//! its node, every time that it is copied out as a whole (a manifest, the files of a start),
//! and when its edge looks at it again. What changes at rest is noticed then, and dropped;
//! until then it is served.
//!
//! A front keeps manifests in memory and opens files as they are asked for. Those that it
//! would keep in memory too are treated like large ones: what is at rest is what is served.

use std::collections::{BTreeMap, BTreeSet};

use sha2::Digest as _;
use tidegate_kernel::{BlobCommand, BlobReport, Rng};
use tidegate_protocol::{Bytes, Digest, Manifest, ManifestEntry, Prost};

use crate::clock::SimTime;

/// Blobs of one machine.
#[derive(Clone, Debug, Default)]
pub struct Blobs {
    whole: BTreeMap<Digest, Bytes>,
    receiving: BTreeMap<Digest, Vec<u8>>,
    /// Those that this life of the node has verified.
    known: BTreeSet<Digest>,
    /// Faults that leave no room on the disk.
    pub full: u32,
    /// Blobs that rotted, and have not come again; since when.
    lost: BTreeMap<Digest, SimTime>,
    /// Manifests that the front of this life has read.
    sites: BTreeMap<Digest, Manifest>,
    /// How many were found damaged, ever, and since the edge of this life asked.
    pub damaged: u32,
    dropped: u64,
}

/// What a front finds when it opens a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    Whole,
    /// It is not what its digest says, since then, and nobody noticed.
    Rotten(SimTime),
    Gone,
}

/// SHA-256.
pub fn digest_of(bytes: &[u8]) -> Digest {
    Digest(sha2::Sha256::digest(bytes).into())
}

impl Blobs {
    pub fn put(&mut self, bytes: Bytes) -> Digest {
        let digest = digest_of(&bytes);
        self.keep(digest, bytes);
        digest
    }

    fn keep(&mut self, digest: Digest, bytes: Bytes) {
        self.whole.insert(digest, bytes);
        self.known.insert(digest);
        self.lost.remove(&digest);
    }

    pub fn crash(&mut self) {
        self.receiving.clear();
        self.known.clear();
        self.sites.clear();
        self.dropped = 0;
    }

    /// How many blobs are at rest.
    pub fn count(&self) -> usize {
        self.whole.len()
    }

    /// The front opens one of the files of an artifact, in turn.
    pub fn open(&mut self, artifact: Digest, turn: u64) -> Opened {
        if !self.sites.contains_key(&artifact) {
            let Some(manifest) = self.load_manifest(artifact) else {
                return Opened::Gone;
            };
            self.sites.insert(artifact, manifest);
        }
        let files = &self.sites[&artifact].files;
        let file = usize::try_from(turn).unwrap_or(0) % files.len().max(1);
        let Some(Ok(digest)) = files.get(file).map(|f| Digest::try_from(&f.digest)) else {
            return Opened::Whole;
        };
        if !self.check(digest) {
            return Opened::Gone;
        }
        let rotten = self.lost.get(&digest);
        rotten.map_or(Opened::Whole, |since| Opened::Rotten(*since))
    }

    /// One bit of one blob changes; says whether there was one.
    pub fn rot(&mut self, now: SimTime, rng: &mut Rng) -> bool {
        let Some(victim) = rng.index(self.whole.len()) else {
            return false;
        };
        let Some((digest, blob)) = self.whole.iter_mut().nth(victim) else {
            return false;
        };
        let mut bytes = blob.to_vec();
        let Some(place) = rng.index(bytes.len()) else {
            return false;
        };
        bytes[place] ^= 1 << rng.below(8);
        *blob = bytes.into();
        self.lost.entry(*digest).or_insert(now);
        true
    }

    /// Whether a blob is here and whole, as far as this life of the node believes.
    fn check(&mut self, digest: Digest) -> bool {
        self.known.contains(&digest) || self.verify(digest)
    }

    /// Looks at every byte. What is damaged is dropped.
    fn verify(&mut self, digest: Digest) -> bool {
        let blob = self.whole.get(&digest);
        if blob.is_some_and(|bytes| digest_of(bytes) == digest) {
            self.known.insert(digest);
            return true;
        }
        if self.whole.remove(&digest).is_some() {
            self.damaged += 1;
            self.dropped += 1;
        }
        self.known.remove(&digest);
        false
    }

    /// Copies an artifact out, as the start of an instance does: is all of it whole?
    pub fn copy_out(&mut self, artifact: Digest) -> bool {
        let Some(manifest) = self.load_manifest(artifact) else {
            return false;
        };
        let whole = |file: &ManifestEntry| {
            Digest::try_from(&file.digest).is_ok_and(|digest| self.verify(digest))
        };
        manifest
            .files
            .iter()
            .map(whole)
            .fold(true, |all, one| all & one)
    }

    fn load_manifest(&mut self, digest: Digest) -> Option<Manifest> {
        self.verify(digest).then(|| self.manifest(digest))?
    }

    /// Whether the manifest and every file that it names are here, or were until they rotted.
    pub fn holds_artifact(&self, artifact: Digest) -> bool {
        let has = |d: Digest| self.whole.contains_key(&d) || self.lost.contains_key(&d);
        if self.lost.contains_key(&artifact) {
            return true;
        }
        self.manifest(artifact).is_some_and(|manifest| {
            manifest
                .files
                .iter()
                .all(|file| Digest::try_from(&file.digest).is_ok_and(has))
        })
    }

    fn manifest(&self, digest: Digest) -> Option<Manifest> {
        Manifest::decode(self.whole.get(&digest)?.as_ref()).ok()
    }

    /// Carries out one command; an append has no answer.
    pub fn run(&mut self, command: BlobCommand) -> Option<BlobReport> {
        match command {
            BlobCommand::Check { digest } => Some(BlobReport::Checked {
                digest,
                present: self.check(digest),
            }),
            BlobCommand::CountDropped => {
                let count = std::mem::take(&mut self.dropped);
                Some(BlobReport::Dropped { count })
            }
            BlobCommand::Verify { digest } => Some(BlobReport::Checked {
                digest,
                present: self.verify(digest),
            }),
            BlobCommand::LoadManifest { digest } => Some(BlobReport::Manifest {
                digest,
                manifest: self.load_manifest(digest),
            }),
            BlobCommand::Append {
                digest,
                offset,
                data,
            } => {
                self.append(digest, offset, &data);
                None
            }
            BlobCommand::Finish { digest } => {
                let received = self.receiving.remove(&digest);
                let verified = match received {
                    Some(received) if digest_of(&received) == digest => {
                        self.keep(digest, received.into());
                        true
                    }
                    _ => false,
                };
                Some(BlobReport::Finished { digest, verified })
            }
            BlobCommand::Read {
                digest,
                offset,
                length_max,
                reply_to,
            } => Some(self.read(digest, offset, length_max, reply_to)),
        }
    }

    fn append(&mut self, digest: Digest, offset: u64, data: &[u8]) {
        if self.full > 0 {
            // What is left of it could only fill the disk.
            self.receiving.remove(&digest);
            return;
        }
        let received = self.receiving.entry(digest).or_default();
        if offset == 0 {
            received.clear();
        }
        // A gap makes the blob wrong, and `Finish` says so.
        if offset == received.len() as u64 {
            received.extend_from_slice(data);
        }
    }

    fn read(
        &mut self,
        digest: Digest,
        offset: u64,
        length_max: u32,
        reply_to: tidegate_protocol::Address,
    ) -> BlobReport {
        let here = self.check(digest);
        let blob = self.whole.get(&digest).filter(|_| here);
        let data = blob.map_or_else(Bytes::new, |b| {
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(b.len());
            let end = start.saturating_add(length_max as usize).min(b.len());
            b.slice(start..end)
        });
        BlobReport::Data {
            digest,
            offset,
            total: blob.map(|b| b.len() as u64),
            data,
            reply_to,
        }
    }
}

/// Makes the artifact of one version: a page and a script of its own, and a picture that all
/// versions of the app share. Returns its name.
pub fn push_artifact(blobs: &mut Blobs, app: &str, number: u32, rng: &mut Rng) -> Digest {
    let mut noise = |length: u64| -> Vec<u8> { (0..length).map(|_| rng.u64() as u8).collect() };
    let page = format!("<!doctype html><title>{app}@{number}</title>").into_bytes();
    let mut script = format!("// {app}@{number}\n").into_bytes();
    script.extend(noise(2_000 + 1_000 * u64::from(number % 5)));
    let picture = app.as_bytes().repeat(300);
    let files = [
        ("app.js", script),
        ("index.html", page),
        ("logo.png", picture),
    ]
    .into_iter()
    .map(|(path, bytes)| ManifestEntry {
        path: path.into(),
        size: bytes.len() as u64,
        digest: blobs.put(bytes.into()).into(),
        executable: false,
    })
    .collect();
    blobs.put(Manifest { files }.encode_to_vec().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_kernel::Seed;

    #[test]
    fn an_artifact_is_held_when_all_of_it_is() {
        let mut origin = Blobs::default();
        let artifact = push_artifact(&mut origin, "shop", 1, &mut Seed(1).rng());
        assert!(origin.holds_artifact(artifact));
        let mut part = Blobs::default();
        assert!(!part.holds_artifact(artifact));
        part.whole.insert(artifact, origin.whole[&artifact].clone());
        assert!(!part.holds_artifact(artifact));
    }

    #[test]
    fn what_rots_is_noticed_when_all_of_it_is_read_or_after_a_crash() {
        for crashes in [false, true] {
            let mut blobs = Blobs::default();
            let digest = blobs.put(Bytes::from_static(b"page"));
            assert!(blobs.rot(7, &mut Seed(1).rng()));
            let check = |blobs: &mut Blobs| blobs.run(BlobCommand::Check { digest });
            if crashes {
                blobs.crash();
            }
            let present = !crashes;
            let checked = BlobReport::Checked { digest, present };
            assert_eq!(check(&mut blobs), Some(checked));
            let load = BlobCommand::LoadManifest { digest };
            let manifest = None;
            assert_eq!(
                blobs.run(load),
                Some(BlobReport::Manifest { digest, manifest })
            );
            let present = false;
            let gone = BlobReport::Checked { digest, present };
            assert_eq!(check(&mut blobs), Some(gone));
        }
    }

    #[test]
    fn a_rotten_file_is_served_until_somebody_looks_at_it_again() {
        let mut blobs = Blobs::default();
        let artifact = push_artifact(&mut blobs, "pages", 1, &mut Seed(1).rng());
        let open = |blobs: &mut Blobs| [0, 1, 2].map(|turn| blobs.open(artifact, turn));
        assert_eq!(open(&mut blobs), [Opened::Whole; 3]);
        let mut rng = Seed(5).rng();
        while open(&mut blobs) == [Opened::Whole; 3] {
            blobs.rot(7, &mut rng);
        }
        let found = open(&mut blobs);
        assert!(found.contains(&Opened::Rotten(7)), "{found:?}");
        for digest in blobs.whole.keys().copied().collect::<Vec<_>>() {
            blobs.run(BlobCommand::Verify { digest });
        }
        let gone = found.map(|o| if o == Opened::Whole { o } else { Opened::Gone });
        assert_eq!(open(&mut blobs), gone);
        push_artifact(&mut blobs, "pages", 1, &mut Seed(1).rng());
        assert_eq!(open(&mut blobs), [Opened::Whole; 3]);
    }

    #[test]
    fn a_damaged_artifact_cannot_be_started_until_it_is_fetched_again() {
        let mut origin = Blobs::default();
        let artifact = push_artifact(&mut origin, "shop", 1, &mut Seed(1).rng());
        assert!(origin.copy_out(artifact));
        origin.rot(7, &mut Seed(2).rng());
        assert!(!origin.copy_out(artifact) && origin.holds_artifact(artifact));
        push_artifact(&mut origin, "shop", 1, &mut Seed(1).rng());
        assert!(origin.copy_out(artifact));
    }

    #[test]
    fn a_full_disk_takes_no_blob() {
        let mut blobs = Blobs {
            full: 1,
            ..Blobs::default()
        };
        let digest = digest_of(b"page");
        let append = BlobCommand::Append {
            digest,
            offset: 0,
            data: Bytes::from_static(b"page"),
        };
        blobs.run(append);
        let verified = false;
        assert_eq!(
            blobs.run(BlobCommand::Finish { digest }),
            Some(BlobReport::Finished { digest, verified })
        );
    }

    #[test]
    fn a_changed_byte_is_found_out() {
        let digest = digest_of(b"right");
        for (bytes, verified) in [(&b"right"[..], true), (b"wrong", false)] {
            let mut blobs = Blobs::default();
            let append = BlobCommand::Append {
                digest,
                offset: 0,
                data: Bytes::copy_from_slice(bytes),
            };
            assert_eq!(blobs.run(append), None);
            assert_eq!(
                blobs.run(BlobCommand::Finish { digest }),
                Some(BlobReport::Finished { digest, verified })
            );
            assert_eq!(
                blobs.run(BlobCommand::Check { digest }),
                Some(BlobReport::Checked {
                    digest,
                    present: verified
                })
            );
        }
    }
}
