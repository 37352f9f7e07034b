//! An artifact: the files of one version, each a blob, and the manifest that names them.
//!
//! Decides which directories can be an artifact, which manifests are believed, and how a
//! directory is made of one again. A manifest comes from the network: nothing in it reaches
//! the file system before [`validate_manifest`] has seen it whole.

mod build;
mod error;
mod manifest;
mod materialize;

pub use build::build_artifact;
pub use error::ArtifactError;
pub use manifest::{ManifestError, decode_manifest, validate_manifest};
pub use materialize::materialize;
