//! How a blob comes into the store: received in pieces, or put in one go.
//!
//! A piece is written where its offset says, into a file that is named by the digest. Two
//! receivers of one blob in one process therefore share the file and do not disturb each
//! other: their bytes are the same, and if they are not, the digest shows it. A receiver
//! that begins anew overwrites what an earlier one left; should that have been longer, and
//! wrong, the blob fails its verification once more and the file is gone.
//!
//! Whoever finishes first takes the file away and verifies it alone; nobody can write into
//! it any more. The second one waits and finds the blob.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use tidegate_protocol::Digest;

use super::read::{CopyError, hash};
use super::{BLOB_BYTES_MAX, BlobError, BlobStore};
use crate::disk::{self, require_space, sync_dir};

/// Ends the exclusive verification of a blob, also when it panics.
struct Finishing<'a> {
    store: &'a BlobStore,
    digest: Digest,
}

impl Drop for Finishing<'_> {
    fn drop(&mut self) {
        self.store.receiving().finishing.remove(&self.digest);
        self.store.finished.notify_all();
    }
}

impl BlobStore {
    /// Adds bytes to a blob that is being received. Offset 0 begins anew; otherwise it must
    /// not lie beyond what came before. Bytes of a blob that is already here are thrown away.
    pub fn append(&self, digest: Digest, offset: u64, data: &[u8]) -> Result<(), BlobError> {
        let part = self.part(&digest);
        let receiving = self.receiving();
        if receiving.finishing.contains(&digest) || self.path(&digest).exists() {
            return Ok(());
        }
        let written = self.write_piece(&part, digest, offset, data);
        if matches!(
            written,
            Err(BlobError::Storage(_) | BlobError::TooLarge { .. })
        ) {
            // What is left of it could only fill the disk.
            fs::remove_file(&part).ok();
        }
        written
    }

    /// Verifies a blob of which all bytes were appended, and keeps it durably; or drops it.
    /// A blob that is already here is verified where it is.
    pub fn finish(&self, digest: Digest) -> Result<(), BlobError> {
        let part = self.part(&digest);
        let mut receiving = self.receiving();
        while receiving.finishing.contains(&digest) {
            receiving = self
                .finished
                .wait(receiving)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if self.check_exists(digest)? {
            fs::remove_file(&part).ok();
            drop(receiving);
            return self.confirm(digest);
        }
        let scratch = self.scratch();
        match fs::rename(&part, &scratch) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::NotFound => return Err(BlobError::Missing(digest)),
            Err(e) => return Err(disk::failed(&part, &e).into()),
        }
        receiving.finishing.insert(digest);
        drop(receiving);
        let _finishing = Finishing {
            store: self,
            digest,
        };
        let kept = self.verify_and_keep(&scratch, digest);
        if kept.is_err() {
            fs::remove_file(&scratch).ok();
        }
        kept
    }

    /// Stores bytes; returns their digest.
    pub fn put_bytes(&self, data: &[u8]) -> Result<Digest, BlobError> {
        self.put_stream(&mut &*data, data.len() as u64)
            .map(|(digest, _)| digest)
    }

    /// Stores the content of a file of at most `bytes_max`; returns digest and size.
    pub fn put_file(&self, path: &Path, bytes_max: u64) -> Result<(Digest, u64), BlobError> {
        let mut file = File::open(path).map_err(BlobError::Source)?;
        self.put_stream(&mut file, bytes_max)
    }

    /// Stores what a reader gives, at most `bytes_max`; returns digest and size.
    pub fn put_stream(
        &self,
        source: &mut impl Read,
        bytes_max: u64,
    ) -> Result<(Digest, u64), BlobError> {
        let put = self.put_unsynced(source, bytes_max)?;
        self.sync_shards([put.0.0[0]].into())?;
        Ok(put)
    }

    /// Stores what a reader gives. Its name is durable only after
    /// [`BlobStore::sync_shards`] with the first byte of the digest.
    pub(crate) fn put_unsynced(
        &self,
        source: &mut impl Read,
        bytes_max: u64,
    ) -> Result<(Digest, u64), BlobError> {
        require_space(&self.root, self.free_bytes_min)?;
        let scratch = self.scratch();
        let put = self.put_through(&scratch, source, bytes_max);
        if put.is_err() {
            fs::remove_file(&scratch).ok();
        }
        put
    }

    /// Makes the names of the blobs durable whose digests begin with these bytes.
    pub(crate) fn sync_shards(&self, shards: BTreeSet<u8>) -> Result<(), BlobError> {
        for shard in shards {
            sync_dir(&self.root.join("blobs").join(format!("{shard:02x}")))?;
        }
        Ok(())
    }

    fn put_through(
        &self,
        scratch: &Path,
        source: &mut impl Read,
        bytes_max: u64,
    ) -> Result<(Digest, u64), BlobError> {
        let mut file = File::create_new(scratch).map_err(|e| disk::failed(scratch, &e))?;
        let (digest, bytes) = hash(source, bytes_max, &mut file).map_err(|e| match e {
            CopyError::Read(e) => BlobError::Source(e),
            CopyError::Write(e) => disk::failed(scratch, &e).into(),
            CopyError::TooLarge(bytes_max) => BlobError::TooLarge { bytes_max },
        })?;
        if self.check(digest)? {
            fs::remove_file(scratch).map_err(|e| disk::failed(scratch, &e))?;
        } else {
            self.keep(scratch, &file, digest)?;
        }
        Ok((digest, bytes))
    }

    fn write_piece(
        &self,
        part: &Path,
        digest: Digest,
        offset: u64,
        data: &[u8],
    ) -> Result<(), BlobError> {
        if offset.saturating_add(data.len() as u64) > BLOB_BYTES_MAX {
            return Err(BlobError::TooLarge {
                bytes_max: BLOB_BYTES_MAX,
            });
        }
        require_space(&self.root, self.free_bytes_min)?;
        let gap = |have| BlobError::Gap {
            digest,
            offset,
            have,
        };
        let file = match OpenOptions::new()
            .write(true)
            .create(offset == 0)
            .truncate(false)
            .open(part)
        {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Err(gap(0)),
            Err(e) => return Err(disk::failed(part, &e).into()),
        };
        let failed = |e: io::Error| disk::failed(part, &e);
        let have = file.metadata().map_err(failed)?.len();
        if offset > have {
            return Err(gap(have));
        }
        file.write_all_at(data, offset).map_err(failed)?;
        Ok(())
    }

    fn verify_and_keep(&self, scratch: &Path, expected: Digest) -> Result<(), BlobError> {
        let failed = |e: io::Error| disk::failed(scratch, &e);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(scratch)
            .map_err(failed)?;
        let (found, _) = hash(&mut file, u64::MAX, &mut io::sink()).map_err(|e| match e {
            CopyError::Read(e) | CopyError::Write(e) => failed(e).into(),
            CopyError::TooLarge(bytes_max) => BlobError::TooLarge { bytes_max },
        })?;
        if found != expected {
            return Err(BlobError::Mismatch { expected, found });
        }
        self.keep(scratch, &file, expected)?;
        self.sync_shards([expected.0[0]].into())
    }

    fn keep(&self, scratch: &Path, file: &File, digest: Digest) -> Result<(), BlobError> {
        let failed = |e: io::Error| disk::failed(scratch, &e);
        file.sync_all().map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        fs::rename(scratch, self.path(&digest)).map_err(failed)?;
        self.know(digest, self.state(&digest, &metadata)?);
        Ok(())
    }

    /// The name of a blob that was already here may be younger than a crash that failed to
    /// sync it.
    fn confirm(&self, digest: Digest) -> Result<(), BlobError> {
        if !self.check(digest)? {
            return Err(BlobError::Damaged(digest));
        }
        self.sync_shards([digest.0[0]].into())
    }

    fn check_exists(&self, digest: Digest) -> Result<bool, BlobError> {
        let path = self.path(&digest);
        path.try_exists()
            .map_err(|e| disk::failed(&path, &e).into())
    }

    fn part(&self, digest: &Digest) -> PathBuf {
        self.staging().join(format!("{digest}.part"))
    }
}
