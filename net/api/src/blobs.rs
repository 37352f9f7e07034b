//! Uploads of artifacts.

use std::io;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use futures_util::TryStreamExt;
use serde_json::json;
use tidegate_protocol::Digest;
use tidegate_protocol::limits::ARTIFACT_FILE_BYTES_MAX;
use tidegate_storage::BlobError;
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::problem::Fault;
use crate::server::Api;

fn digest_of(text: &str) -> Result<Digest, Fault> {
    let malformed = |error| Fault::invalid(format!("`{text}`: {error}"));
    text.parse().map_err(malformed)
}

/// `GET /v1/blobs/{digest}`: whether it is here, so that it need not be sent.
pub(crate) async fn is_here(
    State(api): State<Api>,
    Path(digest): Path<String>,
) -> Result<Json<serde_json::Value>, Fault> {
    let digest = digest_of(&digest)?;
    let present = blocking(move || api.blobs.check(digest)).await?;
    Ok(Json(json!({ "present": present })))
}

/// `PUT /v1/blobs/{digest}`: stores the body, if it is what the digest says.
pub(crate) async fn upload(
    State(api): State<Api>,
    Path(digest): Path<String>,
    body: Body,
) -> Result<StatusCode, Fault> {
    let digest = digest_of(&digest)?;
    let stream = body.into_data_stream().map_err(io::Error::other);
    let mut reader = SyncIoBridge::new(StreamReader::new(stream));
    let stored = blocking(move || api.blobs.put_stream(&mut reader, ARTIFACT_FILE_BYTES_MAX)).await;
    let (stored, _) = stored?;
    if stored != digest {
        return Err(Fault::invalid(format!(
            "the body's digest is {stored}, not {digest}; it was damaged on the way, or it \
             changed while it was read: send it again"
        )));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// A version may be created only when its manifest and all of its files are here.
pub(crate) async fn artifact_is_complete(api: &Api, artifact: &[u8]) -> Result<(), Fault> {
    let digest =
        Digest::try_from(artifact).map_err(|error| Fault::invalid(format!("artifact: {error}")))?;
    let blobs = std::sync::Arc::clone(&api.blobs);
    let missing = blocking(move || {
        let Some(manifest) = blobs.load_manifest(digest)? else {
            return Ok(Some("its manifest".to_owned()));
        };
        for file in &manifest.files {
            let present = match Digest::try_from(&file.digest) {
                Ok(blob) => blobs.check(blob)?,
                Err(_) => false,
            };
            if !present {
                return Ok(Some(format!("its file `{}`", file.path)));
            }
        }
        Ok(None)
    })
    .await?;
    match missing {
        None => Ok(()),
        Some(what) => Err(Fault::invalid(format!(
            "artifact {digest}: {what} was not uploaded; send it with PUT /v1/blobs first"
        ))),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(Fault::internal)?.map_err(Fault::internal)
}
