//! Dials peers, and reads what a link brings, whoever dialled it.

use std::sync::Arc;

use tidegate_protocol::NodeId;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status, Streaming};

use super::counts::count;
use super::link::{Facts, Link, Queue};
use super::peer::Peer;
use super::proto::{Frame, Hello, frame::Kind, mesh_client::MeshClient};
use super::{FRAME_BYTES_MAX, Inner};

impl Inner {
    /// Dials on the mesh's runtime. The peer is marked as being dialled already.
    pub(super) fn runtime_dial(&self, peer: &Arc<Peer>) {
        let Some(inner) = self.this.upgrade() else {
            return;
        };
        self.runtime.spawn(dial(inner, Arc::clone(peer)));
    }

    pub(super) fn hello(&self) -> Hello {
        Hello {
            name: self.info.name.clone(),
            incarnation: self.incarnation,
        }
    }

    /// The id of a node that greets.
    pub(super) fn check_hello(&self, hello: &Hello) -> Result<NodeId, Status> {
        super::directory::check_name(&hello.name).map_err(Status::invalid_argument)?;
        let node = NodeId::of_name(&hello.name);
        if node == self.me {
            return Err(Status::invalid_argument(format!(
                "this is {0:?}, and so says the other end; one of the two needs another --name",
                self.info.name
            )));
        }
        match self.directory.get(node) {
            Some(known) if known.name != hello.name => Err(Status::already_exists(format!(
                "the name {:?} has the same id as the node {:?}; give the node another --name",
                hello.name, known.name
            ))),
            _ => Ok(node),
        }
    }

    /// Makes a link the peer's and cuts the one that it replaces.
    pub(super) fn install(&self, peer: &Peer, link: &Arc<Link>) -> Result<(), Status> {
        let replaced = peer
            .install(self.me, link)
            .map_err(|_| Status::already_exists("the two nodes have a link already"))?;
        if let Some(replaced) = replaced {
            replaced.cut.cancel();
        }
        count(&self.counters.links);
        Ok(())
    }

    /// Hands on what a link brings, until it ends.
    pub(super) async fn read(
        self: Arc<Self>,
        peer: Arc<Peer>,
        link: Arc<Link>,
        mut frames: Streaming<Frame>,
    ) {
        let reason = loop {
            match frames.message().await {
                Ok(Some(frame)) => {
                    if let Err(reason) = self.receive(peer.node, frame) {
                        break reason;
                    }
                }
                Ok(None) => break "the peer ended it".into(),
                Err(status) => break status.message().to_owned(),
            }
            // A busy link must leave room for the other tasks of its thread.
            tokio::task::consume_budget().await;
        };
        link.cut.cancel();
        tracing::debug!(peer = %peer.node, reason, "link ended");
        if let Some(again) = peer.link_ended(&link, Instant::now()) {
            self.dial_again(&peer, again);
        }
    }

    /// Takes one frame from a peer. An error ends the link.
    fn receive(&self, peer: NodeId, frame: Frame) -> Result<(), String> {
        let Some(Kind::Envelope(envelope)) = frame.kind else {
            count(&self.counters.unintelligible);
            return Ok(());
        };
        let speaker = envelope.from.as_ref().map(|from| from.node);
        if speaker != Some(peer.0) {
            count(&self.counters.spoofed);
            let claimed = NodeId(speaker.unwrap_or_default());
            tracing::error!(%peer, %claimed, "a node spoke in another node's name; its link is cut");
            return Err(format!("it spoke as {claimed}"));
        }
        match envelope.open() {
            None => count(&self.counters.unintelligible),
            Some((_, to, _)) if to.node != self.me => count(&self.counters.misrouted),
            Some((from, to, body)) => {
                count(&self.counters.received);
                self.router.deliver(from, to, body);
            }
        }
        Ok(())
    }

    /// Dials a peer that is to be linked always, after a pause.
    fn dial_again(&self, peer: &Arc<Peer>, at: Instant) {
        let (this, root, peer) = (self.this.clone(), self.root.clone(), Arc::clone(peer));
        self.runtime.spawn(async move {
            tokio::select! {
                biased;
                () = root.cancelled() => return,
                () = tokio::time::sleep_until(at) => {}
            }
            if let Some(inner) = this.upgrade()
                && peer.keep()
            {
                inner.runtime_dial(&peer);
            }
        });
    }
}

/// Dials a peer and serves the link until it ends.
async fn dial(inner: Arc<Inner>, peer: Arc<Peer>) {
    let cut = inner.root.child_token();
    let limit = inner.transport.connect_timeout;
    let greeted = tokio::time::timeout(limit, greet(&inner, &peer, &cut)).await;
    let linked = match greeted {
        Ok(Ok((link, frames))) => inner.install(&peer, &link).map(|()| (link, frames)),
        Ok(Err(status)) => Err(status),
        Err(_) => Err(Status::deadline_exceeded(format!(
            "it did not greet within {} s",
            limit.as_secs_f32()
        ))),
    };
    match linked {
        Ok((link, frames)) => {
            tracing::debug!(peer = %peer.node, "linked");
            inner.read(peer, link, frames).await;
        }
        Err(status) => {
            cut.cancel();
            if inner.root.is_cancelled() {
                return;
            }
            let (lost, again) = peer.dial_failed(Instant::now());
            for _ in 0..lost {
                count(&inner.counters.disconnected);
            }
            log_failure(&inner, &peer, &status);
            if let Some(again) = again {
                inner.dial_again(&peer, again);
            }
        }
    }
}

/// Connects, greets and is greeted.
async fn greet(
    inner: &Inner,
    peer: &Peer,
    cut: &CancellationToken,
) -> Result<(Arc<Link>, Streaming<Frame>), Status> {
    let info = inner
        .directory
        .get(peer.node)
        .ok_or_else(|| Status::not_found("the directory does not name it"))?;
    let channel = inner
        .transport
        .connect(&info.address, cut)
        .await
        .map_err(|e| Status::unavailable(with_causes(&e)))?;
    let mut client = MeshClient::new(channel)
        .max_decoding_message_size(FRAME_BYTES_MAX)
        .max_encoding_message_size(FRAME_BYTES_MAX);
    let (queue, outgoing) = Queue::new(inner.hello(), Arc::clone(&inner.counters));
    let mut request = Request::new(outgoing);
    inner.token.present(request.metadata_mut());
    let mut frames = client.link(request).await?.into_inner();
    let hello = first_hello(&mut frames).await?;
    let node = inner.check_hello(&hello)?;
    if node != peer.node {
        return Err(Status::failed_precondition(format!(
            "at {} answers {:?}, not {:?}",
            info.address, hello.name, info.name
        )));
    }
    let facts = Facts {
        dialler: inner.me,
        incarnation: hello.incarnation,
    };
    Ok((Link::new(facts, cut.clone(), queue), frames))
}

/// The greeting, which must come first.
pub(super) async fn first_hello(frames: &mut Streaming<Frame>) -> Result<Hello, Status> {
    match frames.message().await? {
        Some(Frame {
            kind: Some(Kind::Hello(hello)),
        }) => Ok(hello),
        _ => Err(Status::invalid_argument("the first frame is no greeting")),
    }
}

fn log_failure(inner: &Inner, peer: &Peer, status: &Status) {
    let name = inner.directory.get(peer.node).map(|info| info.name.clone());
    let (name, reason) = (name.unwrap_or_default(), status.message());
    match status.code() {
        Code::AlreadyExists => {
            tracing::debug!(peer = %peer.node, name, reason, "a link was not needed");
        }
        Code::Unauthenticated => {
            tracing::error!(peer = %peer.node, name, reason, "a node refuses this node's token");
        }
        _ => tracing::warn!(peer = %peer.node, name, reason, "cannot reach a node"),
    }
}

/// An error with its causes, which tonic's own text leaves out.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
