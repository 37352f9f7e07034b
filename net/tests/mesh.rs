//! Whole nodes on loopback: messages, membership, restarts.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tidegate_net::mesh::{Io, Membership, Mesh, MeshConfig, MeshError, Token};
use tidegate_net::{Inbound, Node, NodeBuilder, StartError};
use tidegate_protocol::{Address, Message, NodeId, Probe, Role, limits::ENVELOPE_BYTES_MAX};

const TOKEN: &str = "a-token-for-tests";

fn config(membership: Membership) -> MeshConfig {
    let listen = "127.0.0.1:0".parse().unwrap();
    MeshConfig::new("", listen, Token::new(TOKEN).unwrap(), membership)
}

fn joining(control: &Node) -> MeshConfig {
    let address = mesh(control).address().to_string();
    let mut config = config(Membership::Join(address));
    config.region = "syd".into();
    config
}

async fn start(name: &str, config: MeshConfig) -> Node {
    try_start(name, config).await.unwrap()
}

async fn try_start(name: &str, config: MeshConfig) -> Result<Node, StartError> {
    within(NodeBuilder::new(name).mesh(config).start()).await
}

/// Starts a node anew, whose end control may not have noticed yet.
async fn restart(name: &str, control: &Node) -> Node {
    let restarting = async {
        loop {
            match try_start(name, joining(control)).await {
                Ok(node) => return node,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    within(restarting).await
}

async fn control() -> Node {
    start("control", config(Membership::Control)).await
}

fn mesh(node: &Node) -> &Mesh {
    node.mesh().unwrap()
}

fn at(name: &str) -> Address {
    Address::new(NodeId::of_name(name), Role::Client, 0)
}

fn open(node: &Node) -> Inbound {
    node.router().open(at(node.name()), 4_096).unwrap()
}

fn probe(sequence: u64, bytes: usize) -> Message {
    Message::Probe(Probe {
        sequence,
        payload: vec![7; bytes].into(),
    })
}

fn send(from: &Node, to: &str, sequence: u64) {
    let router = from.router();
    router.send(at(from.name()), at(to), probe(sequence, 100));
}

/// Sends until something arrives: the mesh may lose what is sent while it reconnects.
async fn reach(from: &Node, to: &mut Inbound, name: &str) {
    let reaching = async {
        loop {
            send(from, name, 0);
            let wait = Duration::from_millis(20);
            if let Ok((sender, _)) = tokio::time::timeout(wait, to.receive()).await {
                assert_eq!(sender, at(from.name()));
                while to.try_receive().is_some() {}
                return;
            }
        }
    };
    within(reaching).await;
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .expect("it comes to an end")
}

async fn until(mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    within(wait).await;
}

async fn knows(node: &Node, name: &str) {
    let id = NodeId::of_name(name);
    within(
        mesh(node)
            .directory()
            .wait_for(|nodes| nodes.contains_key(&id)),
    )
    .await;
}

#[tokio::test]
async fn messages_flow_both_ways_and_nothing_is_lost_on_a_whole_link() {
    let control = control().await;
    let member = start("member", joining(&control)).await;
    let (mut at_control, mut at_member) = (open(&control), open(&member));
    for sequence in 0..200 {
        send(&member, "control", sequence);
        let got = within(at_control.receive()).await;
        assert_eq!(got, (at("member"), probe(sequence, 100)));
        send(&control, "member", sequence);
        let got = within(at_member.receive()).await;
        assert_eq!(got, (at("control"), probe(sequence, 100)));
    }
    assert_eq!(mesh(&control).counts().links, 1);
}

#[tokio::test]
async fn members_find_each_other_by_the_directory() {
    let control = control().await;
    let a = start("a", joining(&control)).await;
    let b = start("b", joining(&control)).await;
    knows(&a, "b").await;
    let (mut at_a, mut at_b) = (open(&a), open(&b));
    send(&a, "b", 1);
    assert_eq!(within(at_b.receive()).await, (at("a"), probe(1, 100)));
    send(&b, "a", 2);
    assert_eq!(within(at_a.receive()).await, (at("b"), probe(2, 100)));
    let info = mesh(&a).directory().get(b.id()).unwrap();
    assert_eq!((info.name.as_str(), info.region.as_str()), ("b", "syd"));
    send(&a, "nobody", 3);
    assert_eq!(mesh(&a).counts().unknown_node, 1);
}

#[tokio::test]
async fn a_peer_that_was_killed_is_found_where_it_comes_back() {
    let control = control().await;
    let a = start("a", joining(&control)).await;
    let mut at_a = open(&a);
    let mut former = None;
    for _ in 0..2 {
        let b = restart("b", &control).await;
        assert_ne!(former.replace(mesh(&b).address()), Some(mesh(&b).address()));
        let mut at_b = open(&b);
        reach(&a, &mut at_b, "b").await;
        reach(&b, &mut at_a, "a").await;
        // Its connections break, and nothing is said before.
        b.shutdown().await;
        drop((b, at_b));
        until(|| !mesh(&a).is_linked(NodeId::of_name("b"))).await;
    }
}

#[tokio::test]
async fn a_wrong_token_is_told_at_both_ends() {
    let control = control().await;
    let mut wrong = joining(&control);
    wrong.token = Token::new("another-token-for-tests").unwrap();
    let refused = try_start("member", wrong).await.err().unwrap();
    assert!(
        matches!(&refused, StartError::Mesh(MeshError::Refused(_))),
        "{refused}"
    );
    assert!(refused.to_string().contains("--token"), "{refused}");
    assert_eq!(mesh(&control).counts().unauthenticated, 1);
    assert_eq!(mesh(&control).directory().nodes().len(), 1);
}

#[tokio::test]
async fn a_message_that_is_too_large_is_lost_alone() {
    let control = control().await;
    let member = start("member", joining(&control)).await;
    let mut at_control = open(&control);
    let router = member.router();
    let largest = ENVELOPE_BYTES_MAX - 64;
    for (sequence, bytes) in [(1, largest), (2, ENVELOPE_BYTES_MAX), (3, largest)] {
        router.send(at("member"), at("control"), probe(sequence, bytes));
    }
    for sequence in [1, 3] {
        let (_, body) = within(at_control.receive()).await;
        assert!(body == probe(sequence, largest), "the message {sequence}");
    }
    assert_eq!(mesh(&member).counts().oversized, 1);
    assert_eq!(mesh(&control).counts().links, 1);
}

#[tokio::test]
async fn a_name_stands_for_one_live_node() {
    let control = control().await;
    let first = start("a", joining(&control)).await;
    let address = mesh(&first).address().to_string();
    let refused = try_start("a", joining(&control)).await.err().unwrap();
    assert!(refused.to_string().contains(&address), "{refused}");
    let refused = try_start("control", joining(&control)).await.err().unwrap();
    assert!(refused.to_string().contains("--name"), "{refused}");

    first.shutdown().await;
    let second = restart("a", &control).await;
    let info = mesh(&control).directory().get(second.id()).unwrap();
    assert_eq!(info.address, mesh(&second).address().to_string());
}

fn keeping(config: MeshConfig, folder: &Path) -> MeshConfig {
    let mut config = config;
    config.data_dir = Some(folder.into());
    config
}

#[tokio::test]
async fn a_node_that_starts_while_control_is_down_finds_its_peers() {
    let folder = tempfile::tempdir().unwrap();
    let control = control().await;
    let a = start("a", keeping(joining(&control), folder.path())).await;
    let b = start("b", joining(&control)).await;
    knows(&a, "b").await;
    // The file is written beside the change.
    let on_disk = || std::fs::read(folder.path().join("directory")).unwrap_or_default();
    let address = mesh(&b).address().to_string();
    until(|| String::from_utf8_lossy(&on_disk()).contains(&address)).await;
    let rejoin = joining(&control);
    control.shutdown().await;
    a.shutdown().await;
    drop((a, control));

    let a = start("a", keeping(rejoin, folder.path())).await;
    let mut at_b = open(&b);
    reach(&a, &mut at_b, "b").await;
}

#[tokio::test]
async fn control_keeps_its_directory_and_is_joined_anew() {
    let folder = tempfile::tempdir().unwrap();
    let first = start(
        "control",
        keeping(config(Membership::Control), folder.path()),
    )
    .await;
    let a = start("a", joining(&first)).await;
    let address = mesh(&first).address();
    first.shutdown().await;
    drop(first);

    let mut again = keeping(config(Membership::Control), folder.path());
    again.listen = address;
    let control = start("control", again).await;
    assert!(mesh(&control).directory().get(a.id()).is_some());
    let (mut at_control, mut at_a) = (open(&control), open(&a));
    reach(&control, &mut at_a, "a").await;
    reach(&a, &mut at_control, "control").await;
    // It has joined again: what happens now reaches it.
    let _b = start("b", joining(&control)).await;
    knows(&a, "b").await;
}

#[tokio::test]
async fn an_operator_removes_a_node_that_is_gone() {
    let control = control().await;
    let a = start("a", joining(&control)).await;
    let b = start("b", joining(&control)).await;
    knows(&a, "b").await;
    assert!(!mesh(&control).remove("b").await.unwrap(), "it is joined");
    b.shutdown().await;
    while !mesh(&control).remove("b").await.unwrap() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let gone = mesh(&a)
        .directory()
        .wait_for(|nodes| !nodes.contains_key(&b.id()));
    within(gone).await;
}

#[tokio::test]
async fn a_node_that_cannot_be_dialled_is_reached_by_the_link_it_made() {
    let control = control().await;
    let mut hidden = joining(&control);
    hidden.advertise = Some("127.0.0.1:1".into());
    let member = start("member", hidden).await;
    let mut at_member = open(&member);
    reach(&control, &mut at_member, "member").await;
}

/// Counts the connections that a node has accepted and that are open.
fn counting(mut config: MeshConfig, open: &Arc<AtomicUsize>) -> MeshConfig {
    let (bind, open) = (Arc::clone(&config.transport.bind), Arc::clone(open));
    config.transport.bind = Arc::new(move |address| {
        let (bind, open) = (Arc::clone(&bind), Arc::clone(&open));
        Box::pin(async move {
            let mut bound = bind(address).await?;
            let (sender, accepted) = tokio::sync::mpsc::channel(8);
            let mut all = std::mem::replace(&mut bound.accepted, accepted);
            tokio::spawn(async move {
                while let Some((io, remote)) = all.recv().await {
                    open.fetch_add(1, SeqCst);
                    let counted = counted::Counted::new(io, Arc::clone(&open));
                    let counted: Box<dyn Io> = Box::new(counted);
                    if sender.send((counted, remote)).await.is_err() {
                        return;
                    }
                }
            });
            Ok(bound)
        })
    });
    config
}

mod counted {
    use super::{Arc, AtomicUsize, Io, SeqCst};
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    pub(crate) struct Counted {
        io: Box<dyn Io>,
        open: Arc<AtomicUsize>,
    }

    impl Counted {
        pub(crate) fn new(io: Box<dyn Io>, open: Arc<AtomicUsize>) -> Self {
            Self { io, open }
        }
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            self.open.fetch_sub(1, SeqCst);
        }
    }

    impl AsyncRead for Counted {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.io).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Counted {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.io).poll_write(cx, buf)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.io).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.io).poll_shutdown(cx)
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_dial_at_once_end_with_one_connection() {
    let control = control().await;
    for round in 0..8 {
        let connections = Arc::new(AtomicUsize::new(0));
        let names = [format!("a{round}"), format!("b{round}")];
        let a = start(&names[0], counting(joining(&control), &connections)).await;
        let b = start(&names[1], counting(joining(&control), &connections)).await;
        knows(&a, &names[1]).await;
        let (mut at_a, mut at_b) = (open(&a), open(&b));
        // Control dials neither of them: it is linked by them.
        send(&a, &names[1], 1);
        send(&b, &names[0], 1);
        reach(&a, &mut at_b, &names[1]).await;
        reach(&b, &mut at_a, &names[0]).await;
        until(|| connections.load(SeqCst) == 1).await;
        reach(&a, &mut at_b, &names[1]).await;
        reach(&b, &mut at_a, &names[0]).await;
        assert_eq!(connections.load(SeqCst), 1);
        tokio::join!(a.shutdown(), b.shutdown());
    }
}
