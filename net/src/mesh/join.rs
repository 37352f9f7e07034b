//! The joining side of membership: a node asks control for the directory, and keeps it.
//!
//! What cannot get better by asking again (a wrong token, a name in use, an address that is
//! not control's) ends the start of a node with an error for its operator. Everything else
//! is asked again for ever, with pauses; meanwhile the node lives by the directory it kept.

use std::sync::Arc;

use tidegate_kernel::{Backoff, Duration};
use tidegate_protocol::NodeId;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status, Streaming};

use super::control::updated;
use super::dial::with_causes;
use super::proto::mesh_client::MeshClient;
use super::proto::{DirectoryUpdate, JoinRequest};
use super::service::DIRECTORY_BYTES_MAX;
use super::{FRAME_BYTES_MAX, Inner, directory};

/// First and longest pause between two tries.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Control, or who was taken for it, does not let this node join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRefused {
    /// The address that was asked.
    pub control: String,
    pub reason: String,
}

impl std::fmt::Display for JoinRefused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot join at {}: {}", self.control, self.reason)
    }
}

impl std::error::Error for JoinRefused {}

/// Joins once, then stays joined in the background.
pub(super) async fn start(inner: &Arc<Inner>, control: String) -> Result<(), JoinRefused> {
    let refused = |reason: &str| JoinRefused {
        control: control.clone(),
        reason: reason.to_owned(),
    };
    directory::check_address(&control).map_err(|reason| refused(&reason))?;
    let cut = inner.root.child_token();
    let first = match ask(inner, &control, &cut).await {
        Ok(joined) => Some(joined),
        Err(status) if is_final(status.code()) => return Err(refused(status.message())),
        Err(status) => {
            let known = inner.directory.nodes().len();
            let reason = status.message();
            tracing::warn!(
                control,
                reason,
                known,
                "control does not answer; starting with the nodes known from before"
            );
            None
        }
    };
    tokio::spawn(stay(Arc::clone(inner), control, first));
    Ok(())
}

/// No later try can succeed unless somebody changes something.
fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::Unauthenticated
            | Code::AlreadyExists
            | Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::ResourceExhausted
            | Code::Unimplemented
    )
}

/// Control's stream of updates, after the whole directory has come.
async fn ask(
    inner: &Inner,
    control: &str,
    cut: &CancellationToken,
) -> Result<Streaming<DirectoryUpdate>, Status> {
    let limit = inner.transport.connect_timeout;
    let asking = async {
        let channel = inner
            .transport
            .connect(control, cut)
            .await
            .map_err(|e| Status::unavailable(with_causes(&e)))?;
        let mut client = MeshClient::new(channel)
            .max_decoding_message_size(DIRECTORY_BYTES_MAX)
            .max_encoding_message_size(FRAME_BYTES_MAX);
        let mut request = Request::new(JoinRequest {
            node: Some(inner.info.clone()),
            incarnation: inner.incarnation,
        });
        inner.token.present(request.metadata_mut());
        let mut updates = client.join(request).await?.into_inner();
        let first = updates.message().await?;
        let first = first.ok_or_else(|| Status::unavailable("control is ending"))?;
        take(inner, first).await;
        Ok(updates)
    };
    tokio::time::timeout(limit, asking)
        .await
        .unwrap_or_else(|_| Err(Status::unavailable("no answer in time")))
}

/// Follows the directory for ever, joining anew whenever the connection ends.
async fn stay(inner: Arc<Inner>, control: String, first: Option<Streaming<DirectoryUpdate>>) {
    let root = inner.root.clone();
    let following = async {
        let mut rng = inner.seed.derive("join").rng();
        let mut backoff = Backoff::new(PAUSE.0, PAUSE.1);
        let mut joined = first;
        loop {
            if let Some(updates) = joined.take() {
                backoff.reset();
                follow(&inner, updates).await;
            }
            tokio::time::sleep(backoff.fail(&mut rng)).await;
            let cut = inner.root.child_token();
            match ask(&inner, &control, &cut).await {
                Ok(updates) => joined = Some(updates),
                Err(status) => log_failure(&control, &status),
            }
        }
    };
    tokio::select! {
        biased;
        () = root.cancelled() => {}
        () = following => {}
    }
}

async fn follow(inner: &Inner, mut updates: Streaming<DirectoryUpdate>) {
    loop {
        match updates.message().await {
            Ok(Some(update)) => take(inner, update).await,
            Ok(None) => return,
            Err(status) => {
                let reason = status.message();
                tracing::warn!(
                    reason,
                    "lost control; going on with the nodes known from it"
                );
                return;
            }
        }
    }
}

async fn take(inner: &Inner, update: DirectoryUpdate) {
    let control = NodeId::of_name(&update.control);
    let before = inner.directory.nodes();
    let after = updated(&before, update);
    if *before != after
        && let Err(error) = inner.directory.adopt(after).await
    {
        tracing::error!(%error, "cannot keep the directory of nodes; a later change tries again");
    }
    // Control may have something for a node that it cannot dial.
    if let Some(peer) = inner.find_peer(control)
        && peer.keep()
    {
        inner.runtime_dial(&peer);
    }
}

fn log_failure(control: &str, status: &Status) {
    let reason = status.message();
    if is_final(status.code()) {
        tracing::error!(control, reason, "control does not let this node join");
    } else {
        tracing::warn!(control, reason, "control does not answer");
    }
}
