//! Reading blobs, and not believing the disk.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::Ordering;

use sha2::{Digest as _, Sha256};
use tidegate_protocol::limits::{BLOB_CHUNK_BYTES, MANIFEST_BYTES_MAX};
use tidegate_protocol::{Bytes, Digest, Manifest};

use super::{BUFFER_BYTES, BlobError, BlobStore, FileState};
use crate::artifact::decode_manifest;
use crate::disk;

impl BlobStore {
    /// Whether the blob is here and whole. A damaged one is dropped.
    pub fn check(&self, digest: Digest) -> Result<bool, BlobError> {
        match self.open_verified(digest) {
            Ok(_) => Ok(true),
            Err(BlobError::Missing(_) | BlobError::Damaged(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the blob is here and whole, by a look at every byte of it: what was verified
    /// before does not count. A damaged one is dropped.
    pub fn verify(&self, digest: Digest) -> Result<bool, BlobError> {
        self.doubt(&digest);
        self.check(digest)
    }

    /// How many blobs were dropped as damaged since this was asked last.
    pub fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }

    /// Size of the blob, and its bytes from `offset`: at most `bytes_max`, and at most
    /// [`BLOB_CHUNK_BYTES`]. Nothing beyond its end.
    pub fn read(
        &self,
        digest: Digest,
        offset: u64,
        bytes_max: usize,
    ) -> Result<(u64, Bytes), BlobError> {
        let (file, total) = self.open_verified(digest)?;
        let rest = total.saturating_sub(offset);
        let length = rest.min(bytes_max.min(BLOB_CHUNK_BYTES) as u64) as usize;
        let mut data = vec![0; length];
        file.read_exact_at(&mut data, offset)
            .map_err(|e| self.failed(&digest, &e))?;
        Ok((total, data.into()))
    }

    /// The whole blob, verified, if it has at most `bytes_max`.
    pub fn read_whole(&self, digest: Digest, bytes_max: u64) -> Result<Bytes, BlobError> {
        let mut data = Vec::new();
        self.copy_to(digest, bytes_max, &mut data)?;
        Ok(data.into())
    }

    /// The manifest of an artifact; `None` when it is not here.
    pub fn load_manifest(&self, digest: Digest) -> Result<Option<Manifest>, BlobError> {
        match self.read_whole(digest, MANIFEST_BYTES_MAX as u64) {
            Ok(encoded) => decode_manifest(&encoded)
                .map(Some)
                .map_err(|source| BlobError::Manifest { digest, source }),
            Err(BlobError::Missing(_) | BlobError::Damaged(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Drops a blob. Absent is fine.
    pub fn remove(&self, digest: Digest) -> Result<(), BlobError> {
        match fs::remove_file(self.path(&digest)) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(self.failed(&digest, &e)),
            _ => Ok(()),
        }
    }

    /// Copies a blob while verifying it; returns its size. After an error the sink holds
    /// something that must not be used.
    pub(crate) fn copy_to(
        &self,
        digest: Digest,
        bytes_max: u64,
        sink: &mut impl Write,
    ) -> Result<u64, BlobError> {
        let (mut file, metadata) = self.open_blob(digest)?;
        if metadata.len() > bytes_max {
            return Err(BlobError::TooLarge { bytes_max });
        }
        let path = self.path(&digest);
        let (found, bytes) = hash(&mut file, bytes_max, sink).map_err(|e| e.at(&path))?;
        if found != digest {
            return Err(self.drop_damaged(digest));
        }
        Ok(bytes)
    }

    /// Opens a blob that is known to be whole; returns its size. The position in the file is
    /// anywhere.
    pub fn open_verified(&self, digest: Digest) -> Result<(File, u64), BlobError> {
        let (mut file, metadata) = self.open_blob(digest)?;
        let state = self.state(&digest, &metadata)?;
        if !self.is_known(&digest, state) {
            let path = self.path(&digest);
            let (found, _) = hash(&mut file, u64::MAX, &mut io::sink()).map_err(|e| e.at(&path))?;
            if found != digest {
                return Err(self.drop_damaged(digest));
            }
            self.know(digest, state);
        }
        Ok((file, state.bytes))
    }

    fn open_blob(&self, digest: Digest) -> Result<(File, Metadata), BlobError> {
        let path = self.path(&digest);
        let file = File::open(&path).map_err(|e| match e.kind() {
            ErrorKind::NotFound => BlobError::Missing(digest),
            _ => disk::failed(&path, &e).into(),
        })?;
        let metadata = file.metadata().map_err(|e| disk::failed(&path, &e))?;
        Ok((file, metadata))
    }

    pub(super) fn state(
        &self,
        digest: &Digest,
        metadata: &Metadata,
    ) -> Result<FileState, BlobError> {
        Ok(FileState {
            bytes: metadata.len(),
            modified: metadata.modified().map_err(|e| self.failed(digest, &e))?,
        })
    }

    fn drop_damaged(&self, digest: Digest) -> BlobError {
        tracing::error!(%digest, place = %self.root.display(), "a blob is damaged and is dropped");
        match self.remove(digest) {
            Ok(()) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                BlobError::Damaged(digest)
            }
            Err(error) => error,
        }
    }

    fn failed(&self, digest: &Digest, error: &io::Error) -> BlobError {
        disk::failed(&self.path(digest), error).into()
    }
}

/// What failed while bytes went from one place to another.
pub(super) enum CopyError {
    Read(io::Error),
    Write(io::Error),
    TooLarge(u64),
}

impl CopyError {
    /// The error of a copy from a file of this store.
    fn at(self, path: &Path) -> BlobError {
        match self {
            Self::Read(e) => disk::failed(path, &e).into(),
            Self::Write(e) => BlobError::Sink(e),
            Self::TooLarge(bytes_max) => BlobError::TooLarge { bytes_max },
        }
    }
}

/// Copies until the source ends; returns the digest and the number of bytes.
pub(super) fn hash(
    source: &mut impl Read,
    bytes_max: u64,
    sink: &mut impl Write,
) -> Result<(Digest, u64), CopyError> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut bytes = 0;
    loop {
        let length = match source.read(&mut buffer) {
            Ok(0) => return Ok((Digest(hasher.finalize().into()), bytes)),
            Ok(length) => length,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => return Err(CopyError::Read(e)),
        };
        bytes += length as u64;
        if bytes > bytes_max {
            return Err(CopyError::TooLarge(bytes_max));
        }
        hasher.update(&buffer[..length]);
        sink.write_all(&buffer[..length])
            .map_err(CopyError::Write)?;
    }
}
