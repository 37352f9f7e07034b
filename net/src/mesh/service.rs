//! The accepting side of the mesh.

use std::pin::Pin;
use std::sync::Arc;

use futures_core::Stream;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::control::{self, Updates};
use super::counts::count;
use super::dial::first_hello;
use super::link::{Facts, Link, Queue};
use super::proto::mesh_server::{Mesh, MeshServer};
use super::proto::{Frame, JoinRequest};
use super::transport::{Bound, Connection, incoming};
use super::{FRAME_BYTES_MAX, Inner};

/// Serves connections until the mesh ends.
pub(super) async fn serve(inner: Arc<Inner>, bound: Bound) {
    let root = inner.root.clone();
    let connections = incoming(bound, root.clone());
    let server = inner.transport.server();
    let service = MeshServer::new(Service { inner })
        .max_decoding_message_size(FRAME_BYTES_MAX)
        .max_encoding_message_size(DIRECTORY_BYTES_MAX);
    let served = server
        .serve_with_incoming_shutdown(service, connections, root.cancelled_owned())
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the mesh accepts no connections any more");
    }
}

/// Bytes of a whole directory: [`super::NODES_MAX`] nodes of the largest size.
pub(super) const DIRECTORY_BYTES_MAX: usize = 8 * 1024 * 1024;

struct Service {
    inner: Arc<Inner>,
}

impl Service {
    fn authenticate<T>(&self, request: &Request<T>) -> Result<Connection, Status> {
        let connection = request
            .extensions()
            .get::<Connection>()
            .cloned()
            .unwrap_or_else(|| Connection {
                remote: "unknown".into(),
                cut: CancellationToken::new(),
            });
        self.inner
            .token
            .check(request.metadata())
            .inspect_err(|status| {
                count(&self.inner.counters.unauthenticated);
                let reason = status.message();
                tracing::warn!(remote = connection.remote, reason, "a node is refused");
            })?;
        Ok(connection)
    }
}

#[tonic::async_trait]
impl Mesh for Service {
    type LinkStream = Pin<Box<dyn Stream<Item = Result<Frame, Status>> + Send>>;
    type JoinStream = Updates;

    async fn link(
        &self,
        request: Request<Streaming<Frame>>,
    ) -> Result<Response<Self::LinkStream>, Status> {
        let Connection { remote, cut } = self.authenticate(&request)?;
        let inner = &self.inner;
        let mut frames = request.into_inner();
        let limit = inner.transport.connect_timeout;
        let hello = tokio::time::timeout(limit, first_hello(&mut frames))
            .await
            .map_err(|_| Status::deadline_exceeded("no greeting came in time"))??;
        let node = inner.check_hello(&hello).inspect_err(|status| {
            tracing::warn!(remote, reason = status.message(), "a node is refused");
        })?;
        let peer = inner
            .add_peer(node)
            .ok_or_else(|| Status::resource_exhausted("this node has as many peers as it may"))?;
        let facts = Facts {
            dialler: node,
            incarnation: hello.incarnation,
        };
        let (queue, outgoing) = Queue::new(inner.hello(), Arc::clone(&inner.counters));
        let link = Link::new(facts, cut, queue);
        inner.install(&peer, &link)?;
        tracing::debug!(peer = %node, name = hello.name, remote, "linked");
        tokio::spawn(Arc::clone(inner).read(peer, link, frames));
        Ok(Response::new(Box::pin(outgoing.map(Ok))))
    }

    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<Updates>, Status> {
        let connection = self.authenticate(&request)?;
        control::join(&self.inner, connection, request.into_inner())
            .await
            .map(Response::new)
    }
}
