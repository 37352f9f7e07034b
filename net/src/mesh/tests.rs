//! The mesh against peers that do not behave: raw clients and servers on real sockets.

use tidegate_kernel::{Duration, Seed};
use tidegate_protocol::{Address, Envelope, Message, NodeId, Probe, Role};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::proto::mesh_client::MeshClient;
use super::proto::mesh_server::{Mesh as MeshService, MeshServer};
use super::proto::{DirectoryUpdate, Frame, Hello, JoinRequest, frame::Kind};
use super::transport::incoming;
use super::{
    FRAME_BYTES_MAX, Membership, Mesh, MeshConfig, NodeInfo, QUEUE_BYTES_MAX, QUEUE_MAX, Token,
    Transport, control,
};
use crate::{Inbound, Router};

const RAW: &str = "raw";

fn token() -> Token {
    Token::new("a-token-for-tests").unwrap()
}

fn at(name: &str) -> Address {
    Address::new(NodeId::of_name(name), Role::Client, 0)
}

fn probe(sequence: u64, bytes: usize) -> Message {
    Message::Probe(Probe {
        sequence,
        payload: vec![7; bytes].into(),
    })
}

async fn control(transport: Transport) -> (Mesh, Router, Inbound) {
    let router = Router::new(NodeId::of_name("control"));
    let inbound = router.open(at("control"), 64).unwrap();
    let listen = "127.0.0.1:0".parse().unwrap();
    let mut config = MeshConfig::new("control", listen, token(), Membership::Control);
    config.transport = transport;
    let mesh = Mesh::start(config, router.clone(), Seed(1)).await.unwrap();
    (mesh, router, inbound)
}

async fn until(mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    within(wait).await;
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .expect("it comes to an end")
}

/// A client that says what it likes.
struct RawClient {
    frames: mpsc::Sender<Frame>,
    answers: Streaming<Frame>,
    _cut: CancellationToken,
}

impl RawClient {
    async fn link(mesh: &Mesh, name: &str) -> Self {
        let cut = CancellationToken::new();
        let address = mesh.address().to_string();
        let channel = Transport::tcp().connect(&address, &cut).await.unwrap();
        let (frames, outgoing) = mpsc::channel(64);
        let mut request = Request::new(ReceiverStream::new(outgoing));
        token().present(request.metadata_mut());
        let hello = Hello {
            name: name.into(),
            incarnation: 1,
        };
        frames.send(Kind::Hello(hello).into()).await.unwrap();
        let answers = MeshClient::new(channel).link(request).await.unwrap();
        let mut client = Self {
            frames,
            answers: answers.into_inner(),
            _cut: cut,
        };
        let first = client.answers.message().await.unwrap().unwrap();
        assert!(matches!(first.kind, Some(Kind::Hello(hello)) if hello.name == "control"));
        client
    }

    async fn send(&self, from: &str, to: &str, body: Message) {
        let envelope = Envelope::new(at(from), at(to), body);
        let frame = Kind::Envelope(envelope).into();
        // The other end may have ended the link already.
        let _ = self.frames.send(frame).await;
    }

    async fn ended(&mut self) {
        let end = async { while let Ok(Some(_)) = self.answers.message().await {} };
        within(end).await;
    }
}

#[tokio::test]
async fn a_node_that_speaks_in_anothers_name_is_cut_off() {
    let (mesh, _router, mut inbound) = control(Transport::tcp()).await;
    let mut raw = RawClient::link(&mesh, RAW).await;
    raw.send(RAW, "control", probe(1, 0)).await;
    assert_eq!(within(inbound.receive()).await, (at(RAW), probe(1, 0)));
    raw.send("control", "control", probe(2, 0)).await;
    raw.send(RAW, "control", probe(3, 0)).await;
    raw.ended().await;
    assert_eq!(inbound.try_receive(), None);
    assert_eq!((mesh.counts().received, mesh.counts().spoofed), (1, 1));
    until(|| !mesh.is_linked(NodeId::of_name(RAW))).await;
}

#[tokio::test]
async fn what_is_for_another_node_or_unintelligible_is_passed_over() {
    let (mesh, _router, mut inbound) = control(Transport::tcp()).await;
    let raw = RawClient::link(&mesh, RAW).await;
    raw.send(RAW, "elsewhere", probe(1, 0)).await;
    let unknown_body = Envelope {
        from: Some(at(RAW).into()),
        to: Some(at("control").into()),
        body: None,
    };
    raw.frames
        .send(Kind::Envelope(unknown_body).into())
        .await
        .unwrap();
    raw.frames.send(Frame { kind: None }).await.unwrap();
    raw.send(RAW, "control", probe(2, 0)).await;
    assert_eq!(within(inbound.receive()).await, (at(RAW), probe(2, 0)));
    assert_eq!(
        (mesh.counts().misrouted, mesh.counts().unintelligible),
        (1, 2)
    );
}

#[tokio::test]
async fn a_frame_that_is_too_large_ends_its_link_and_nothing_else() {
    let (mesh, _router, mut inbound) = control(Transport::tcp()).await;
    let mut raw = RawClient::link(&mesh, RAW).await;
    let other = RawClient::link(&mesh, "other").await;
    raw.send(RAW, "control", probe(1, FRAME_BYTES_MAX)).await;
    raw.ended().await;
    other.send("other", "control", probe(2, 0)).await;
    assert_eq!(within(inbound.receive()).await, (at("other"), probe(2, 0)));
    assert_eq!(mesh.counts().received, 1);
}

#[tokio::test]
async fn a_node_of_ones_own_name_is_refused() {
    let (mesh, _router, _inbound) = control(Transport::tcp()).await;
    let hello = Hello {
        name: "control".into(),
        incarnation: 1,
    };
    let refused = mesh.inner.check_hello(&hello).unwrap_err();
    assert!(refused.message().contains("--name"), "{refused}");
}

/// A server that greets and then never reads.
struct Stalled {
    unread: mpsc::Sender<Streaming<Frame>>,
}

#[tonic::async_trait]
impl MeshService for Stalled {
    type LinkStream = ReceiverStream<Result<Frame, Status>>;
    type JoinStream = ReceiverStream<Result<DirectoryUpdate, Status>>;

    async fn link(
        &self,
        request: Request<Streaming<Frame>>,
    ) -> Result<Response<Self::LinkStream>, Status> {
        let (sender, receiver) = mpsc::channel(1);
        let hello = Hello {
            name: RAW.into(),
            incarnation: 1,
        };
        let _ = sender.send(Ok(Kind::Hello(hello).into())).await;
        // Neither is the stream read nor does the answer end.
        let _ = self.unread.send(request.into_inner()).await;
        tokio::spawn(async move { sender.closed().await });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn join(&self, _: Request<JoinRequest>) -> Result<Response<Self::JoinStream>, Status> {
        Err(Status::unimplemented("not control"))
    }
}

/// Enters an address as that of the node `raw`.
async fn name_raw(mesh: &Mesh, address: String) {
    let info = NodeInfo {
        name: RAW.into(),
        address,
        ..NodeInfo::default()
    };
    control::enter(&mesh.inner, info).await.unwrap();
}

#[tokio::test]
async fn a_peer_that_does_not_read_costs_its_senders_nothing() {
    let (mesh, router, _inbound) = control(Transport::tcp()).await;
    let transport = Transport::tcp();
    let bound = (transport.bind)("127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    name_raw(&mesh, bound.address.to_string()).await;
    let root = CancellationToken::new();
    let (unread, mut links) = mpsc::channel(4);
    let server = transport.server().serve_with_incoming_shutdown(
        MeshServer::new(Stalled { unread }),
        incoming(bound, root.clone()),
        root.clone().cancelled_owned(),
    );
    let server = tokio::spawn(server);

    // Far more than the connection's windows and the queue hold together.
    const BYTES: usize = 64 * 1024;
    let enough = (QUEUE_BYTES_MAX / BYTES + 1_000) as u64;
    router.send(at("control"), at(RAW), probe(0, 0));
    let _link = within(links.recv()).await.unwrap();
    until(|| mesh.is_linked(NodeId::of_name(RAW))).await;
    let mut tried = 1;
    while mesh.counts().full < enough {
        router.send(at("control"), at(RAW), probe(tried, BYTES));
        tried += 1;
        if tried.is_multiple_of(64) {
            tokio::task::yield_now().await;
        }
    }
    let counts = mesh.counts();
    let held = tried - counts.sent - counts.full - counts.disconnected;
    assert!(
        held <= (QUEUE_BYTES_MAX / BYTES + 1) as u64,
        "{held} held, {counts:?}"
    );
    // Pings are answered all the while: the link stays, and so does the peer's share.
    assert!(mesh.is_linked(NodeId::of_name(RAW)));
    mesh.shutdown().await;
    root.cancel();
    within(server).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_peer_that_accepts_and_says_nothing_costs_its_senders_nothing() {
    let mut transport = Transport::tcp();
    transport.connect_timeout = Duration::from_millis(100);
    let (mesh, router, _inbound) = control(transport).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    name_raw(&mesh, listener.local_addr().unwrap().to_string()).await;
    let mut accepted = Vec::new();
    let lost = || mesh.counts().full + mesh.counts().disconnected;
    let mut tried = 0;
    let enough = 2 * QUEUE_MAX as u64;
    let sending = async {
        while lost() < enough {
            router.send(at("control"), at(RAW), probe(tried, 16));
            tried += 1;
            if tried.is_multiple_of(256) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    };
    tokio::select! {
        () = within(sending) => {}
        () = async { loop { accepted.push(listener.accept().await); } } => {}
    }
    assert_eq!((mesh.counts().sent, mesh.counts().links), (0, 0));
    assert!(!mesh.is_linked(NodeId::of_name(RAW)));
}

#[tokio::test]
async fn a_frozen_peer_is_noticed_by_its_silence() {
    let mut transport = Transport::tcp();
    transport.keepalive_interval = Duration::from_millis(50);
    transport.keepalive_timeout = Duration::from_millis(100);
    let (mesh, router, _inbound) = control(transport).await;

    // A relay to a well-behaved peer that stops relaying, as a paused machine would.
    let peer_router = Router::new(NodeId::of_name(RAW));
    let _peer_inbound = peer_router.open(at(RAW), 4).unwrap();
    let listen = "127.0.0.1:0".parse().unwrap();
    let config = MeshConfig::new(RAW, listen, token(), Membership::Control);
    let peer = Mesh::start(config, peer_router, Seed(2)).await.unwrap();
    let relay = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    name_raw(&mesh, relay.local_addr().unwrap().to_string()).await;
    let frozen = CancellationToken::new();
    let (freeze, target) = (frozen.clone(), peer.address());
    let relaying = tokio::spawn(async move {
        let (mut near, _) = relay.accept().await.unwrap();
        let mut far = tokio::net::TcpStream::connect(target).await.unwrap();
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
            () = freeze.cancelled() => {}
        }
        (near, far, relay)
    });
    router.send(at("control"), at(RAW), probe(1, 0));
    until(|| mesh.is_linked(NodeId::of_name(RAW))).await;
    frozen.cancel();
    // The sockets stay open.
    let _open = within(relaying).await.unwrap();
    until(|| !mesh.is_linked(NodeId::of_name(RAW))).await;
}

#[tokio::test]
async fn only_control_is_joined() {
    let (control_mesh, _router, _inbound) = control(Transport::tcp()).await;
    let member_router = Router::new(NodeId::of_name("member"));
    let listen = "127.0.0.1:0".parse().unwrap();
    let join =
        |name: &str, at: String| MeshConfig::new(name, listen, token(), Membership::Join(at));
    let address = control_mesh.address().to_string();
    let member = Mesh::start(join("member", address), member_router, Seed(2))
        .await
        .unwrap();
    let other = Router::new(NodeId::of_name("other"));
    let wrong = join("other", member.address().to_string());
    let refused = Mesh::start(wrong, other, Seed(3)).await.err().unwrap();
    assert!(refused.to_string().contains("is not control"), "{refused}");
}
