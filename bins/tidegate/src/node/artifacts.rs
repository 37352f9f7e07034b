//! The front's view of the node's blob store.

use std::fs::File;
use std::io;
use std::sync::Arc;

use tidegate_front::Artifacts;
use tidegate_protocol::limits::ARTIFACT_FILE_BYTES_MAX;
use tidegate_protocol::{Bytes, Digest, Manifest};
use tidegate_storage::BlobStore;

pub(crate) struct NodeArtifacts(pub(crate) Arc<BlobStore>);

impl Artifacts for NodeArtifacts {
    fn manifest(&self, artifact: Digest) -> io::Result<Manifest> {
        let manifest = self.0.load_manifest(artifact).map_err(io::Error::other)?;
        manifest.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn read(&self, blob: Digest) -> io::Result<Bytes> {
        self.0
            .read_whole(blob, ARTIFACT_FILE_BYTES_MAX)
            .map_err(io::Error::other)
    }

    fn open(&self, blob: Digest) -> io::Result<File> {
        let (file, _) = self.0.open_verified(blob).map_err(io::Error::other)?;
        Ok(file)
    }
}
