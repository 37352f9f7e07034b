//! The front over real sockets: a gateway fed by hand, an instance of a few lines.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tidegate_front::{Artifacts, Front, FrontConfig};
use tidegate_gateway::{Gateway, GatewayConfig};
use tidegate_kernel::Seed;
use tidegate_net::{Inbound, Node, NodeBuilder};
use tidegate_protocol::{
    AckRecord, Address, AppKind, Bytes, Digest, FeedEntry, Holder, Key, LeaseRecord, Manifest,
    ManifestEntry, Message, NodeId, Record, Role, RouteRecord, SlotRecord, SlotState, StoreFeed,
    VersionSpec, Wake,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const NAME: &str = "gw";
const NODE: NodeId = NodeId::of_name(NAME);
const STORE: Address = Address::new(NODE, Role::Store, 1);
const SCHEDULER: Address = Address::new(NODE, Role::Scheduler, 0);
const WAIT: Duration = Duration::from_secs(20);
/// What a gateway says until its first feed.
const NOT_HERE_YET: &str = "503 the app is still on its way to this region\n";

/// Blobs in memory.
#[derive(Default)]
struct Blobs(BTreeMap<Digest, Bytes>, Manifest);

impl Artifacts for Blobs {
    fn manifest(&self, _: Digest) -> io::Result<Manifest> {
        Ok(self.1.clone())
    }

    fn read(&self, blob: Digest) -> io::Result<Bytes> {
        let found = self.0.get(&blob).cloned();
        found.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn open(&self, blob: Digest) -> io::Result<std::fs::File> {
        use std::io::{Seek as _, Write as _};
        let mut file = tempfile::tempfile()?;
        file.write_all(&self.read(blob)?)?;
        file.rewind()?;
        Ok(file)
    }
}

impl Blobs {
    fn with(files: &[(&str, Vec<u8>)]) -> Self {
        let mut blobs = Blobs::default();
        for (path, content) in files {
            let digest = Digest(Sha256::digest(content).into());
            blobs.1.files.push(ManifestEntry {
                path: (*path).to_owned(),
                digest: digest.into(),
                size: content.len() as u64,
                executable: false,
            });
            blobs.0.insert(digest, content.clone().into());
        }
        blobs
    }
}

/// A front with one worker, whose store and scheduler are played by the test.
struct Bench {
    front: Front,
    node: Node,
    store: Inbound,
    scheduler: Inbound,
    session: u64,
    revision: u64,
}

impl Bench {
    async fn start(blobs: Blobs, tune: impl FnOnce(&mut FrontConfig)) -> Bench {
        let node = NodeBuilder::new(NAME).seed(Seed(1)).start().await.unwrap();
        let store = node.router().open(STORE, 100).unwrap();
        let scheduler = node.router().open(SCHEDULER, 1_000).unwrap();
        let mut config = FrontConfig::new(Arc::new(blobs), "secret");
        tune(&mut config);
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let front = Front::start(&node, 1, any, Some(any), config, |me, rng| {
            Gateway::new(GatewayConfig::new(me, "syd", STORE), rng)
        })
        .unwrap();
        let mut bench = Bench {
            front,
            node,
            store,
            scheduler,
            session: 0,
            revision: 0,
        };
        let (_, message) = bench.store.receive().await;
        let Message::StoreWatch(watch) = message else {
            panic!("a gateway subscribes first: {message:?}");
        };
        bench.session = watch.session;
        bench
    }

    fn put(&mut self, records: &[(Key, Record)]) {
        let after_revision = self.revision;
        self.revision += 1;
        let entry = |(key, record): &(Key, Record)| FeedEntry {
            key: key.to_string(),
            value: Some(record.encode()),
            revision: self.revision,
        };
        let feed = StoreFeed {
            session: self.session,
            after_revision,
            revision: self.revision,
            entries: records.iter().map(entry).collect(),
            ..StoreFeed::default()
        };
        let gateway = Address::new(NODE, Role::Gateway, 0);
        self.node
            .router()
            .send(STORE, gateway, Message::StoreFeed(feed));
    }

    /// Routes `app.test` to version 1, and waits until the front serves it.
    async fn route(&mut self, kind: AppKind) {
        let spec = VersionSpec {
            id: 1,
            project: "app".into(),
            kind: kind.into(),
            artifact: Bytes::from(Digest([1; 32])),
            concurrency: 100,
            instances_max: 1,
            ..VersionSpec::default()
        };
        let ack = AckRecord {
            node: NODE.0,
            version: 1,
            artifact: Bytes::from(Digest([1; 32])),
        };
        let route = RouteRecord {
            project: "app".into(),
            version: 1,
            epoch: 1,
            hosts: vec!["app.test".into()],
        };
        let lease = LeaseRecord {
            holder: Some(Holder {
                node: NODE.0,
                index: 0,
            }),
            epoch: 1,
            beat: 0,
        };
        let node = NODE;
        self.put(&[
            (Key::Lease, Record::Lease(lease)),
            (Key::Version(1), Record::Version(spec)),
            (Key::Ack { node, version: 1 }, Record::Ack(ack)),
            (Key::Route("app".into()), Record::Route(route)),
        ]);
    }

    fn run_instance(&mut self, endpoint: SocketAddr) {
        let slot = SlotRecord {
            version: 1,
            index: 0,
            epoch: 1,
            state: SlotState::Running.into(),
            host: 9,
            endpoint: endpoint.to_string(),
            fence: 1,
        };
        let key = Key::Slot {
            version: 1,
            index: 0,
        };
        self.put(&[(key, Record::Slot(slot))]);
    }

    async fn next_wake(&mut self) -> Wake {
        loop {
            let received = tokio::time::timeout(WAIT, self.scheduler.receive()).await;
            if let (_, Message::Wake(wake)) = received.expect("a wake") {
                return wake;
            }
        }
    }

    /// Sends bytes on a connection of their own; returns all that comes back until it closes.
    async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.front.address()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(WAIT, stream.read_to_end(&mut answer))
            .await
            .expect("the front answers and closes")
            .unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn get(&self, path: &str, headers: &str) -> String {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n{headers}\r\n");
        self.raw(request.as_bytes()).await
    }

    /// Asks until the gateway has what the store feeds it.
    async fn get_when_routed(&self, path: &str) -> String {
        loop {
            let answer = self.get(path, "").await;
            if !answer.ends_with(NOT_HERE_YET) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// An instance that answers each request with what it received, head and body.
async fn echo_instance() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut seen: Vec<u8> = Vec::new();
                let mut chunk = [0; 4096];
                loop {
                    let Some(end) = request_end(&seen) else {
                        match stream.read(&mut chunk).await {
                            Ok(0) | Err(_) => return,
                            Ok(n) => seen.extend_from_slice(&chunk[..n]),
                        }
                        continue;
                    };
                    let body: Vec<u8> = seen.drain(..end).collect();
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                    if stream.write_all(head.as_bytes()).await.is_err()
                        || stream.write_all(&body).await.is_err()
                    {
                        return;
                    }
                }
            });
        }
    });
    (address, connections)
}

fn request_end(seen: &[u8]) -> Option<usize> {
    let head = seen.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&seen[..head]).to_lowercase();
    if text.contains("transfer-encoding: chunked") {
        let end = seen[head..].windows(5).position(|w| w == b"0\r\n\r\n")?;
        return Some(head + end + 5);
    }
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |n| n.trim().parse().unwrap());
    (seen.len() >= head + length).then_some(head + length)
}

#[tokio::test(flavor = "multi_thread")]
async fn ambiguous_requests_are_refused_and_unknown_names_not_found() {
    let mut bench = Bench::start(Blobs::default(), |_| {}).await;
    bench.put(&[]);
    bench.get_when_routed("/").await;
    for (bytes, status) in [
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "400",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "400",
        ),
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400"),
        ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        ("GET / HTTP/1.1\nHost: a\n\n", "400"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505"),
        (
            "GET / HTTP/1.1\r\nHost: nobody.test\r\nConnection: close\r\n\r\n",
            "404",
        ),
        // The second request on a connection, after an answer to the first.
        (
            "GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\nGET / HTTP/1.1\r\nHost : b\r\n\r\n",
            "404",
        ),
    ] {
        let answer = bench.raw(bytes.as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{bytes}: {answer}"
        );
    }
    let two = bench
        .raw(b"GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\nGET / HTTP/1.1\r\nHost : b\r\n\r\n")
        .await;
    assert!(two.contains("HTTP/1.1 400 "), "{two}");
    let long = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
        "y".repeat(70_000)
    );
    assert!(
        bench
            .raw(long.as_bytes())
            .await
            .starts_with("HTTP/1.1 431 ")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_request_waits_for_its_instance_and_is_forwarded_clean() {
    let mut bench = Bench::start(Blobs::default(), |_| {}).await;
    bench.route(AppKind::Program).await;
    let (instance, connections) = echo_instance().await;
    let request = "POST /path?q=1 HTTP/1.1\r\nHost: APP.test:80\r\nConnection: close, X-Secret\r\nX-Secret: 1\r\nX-Forwarded-For: 9.9.9.9\r\nX-Tidegate-Hop: guess\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let address = bench.front.address();
    let client = tokio::spawn(async move {
        let mut answer = String::new();
        // The route may still be on its way to the gateway.
        while !answer.starts_with("HTTP/1.1 200") {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            answer.clear();
            stream.read_to_string(&mut answer).await.unwrap();
        }
        answer
    });
    assert_eq!(bench.next_wake().await.version, 1);
    bench.run_instance(instance);
    let answer = tokio::time::timeout(WAIT, client).await.unwrap().unwrap();
    let echoed = answer.to_lowercase();
    assert!(echoed.contains("post /path?q=1 http/1.1"), "{answer}");
    assert!(echoed.contains("host: app.test:80"), "{answer}");
    assert!(echoed.contains("x-forwarded-for: 127.0.0.1"), "{answer}");
    assert!(echoed.contains("hello"), "{answer}");
    for gone in ["x-secret", "x-tidegate-hop", "9.9.9.9"] {
        assert!(!echoed.contains(gone), "{gone}: {answer}");
    }
    for _ in 0..5 {
        assert!(bench.get("/", "").await.starts_with("HTTP/1.1 200"));
    }
    assert_eq!(
        connections.load(Ordering::SeqCst),
        1,
        "the connection to the instance is kept"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_body_beyond_the_limit_is_refused() {
    let mut bench = Bench::start(Blobs::default(), |config| config.request_bytes_max = 10).await;
    bench.route(AppKind::Program).await;
    let answer = bench
        .raw(
            b"POST / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\nContent-Length: 11\r\n\r\n",
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hop_port_demands_proof() {
    let mut bench = Bench::start(Blobs::default(), |_| {}).await;
    bench.route(AppKind::Program).await;
    let hop = bench.front.hop_address().unwrap();
    let mut stream = TcpStream::connect(hop).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\nX-Tidegate-Hop: guess\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_app_is_answered_from_its_artifact() {
    let big: Vec<u8> = (0..600_000u32).map(|i| i as u8).collect();
    let blobs = Blobs::with(&[
        ("index.html", b"<h1>tide</h1>".to_vec()),
        ("docs/index.html", b"docs".to_vec()),
        ("big.bin", big.clone()),
    ]);
    let mut bench = Bench::start(blobs, |_| {}).await;
    bench.route(AppKind::Static).await;
    let home = bench.get_when_routed("/").await;
    assert!(home.starts_with("HTTP/1.1 200 OK"), "{home}");
    assert!(
        home.contains("content-type: text/html; charset=utf-8"),
        "{home}"
    );
    assert!(home.ends_with("<h1>tide</h1>"), "{home}");
    let tag = home
        .lines()
        .find_map(|line| line.strip_prefix("etag: "))
        .unwrap()
        .to_owned();
    let known = bench.get("/", &format!("If-None-Match: {tag}\r\n")).await;
    assert!(known.starts_with("HTTP/1.1 304 "), "{known}");
    let part = bench.get("/", "Range: bytes=4-7\r\n").await;
    assert!(
        part.starts_with("HTTP/1.1 206 ") && part.ends_with("tide"),
        "{part}"
    );
    let moved = bench.get("/docs?a", "").await;
    assert!(moved.contains("location: ./docs/?a"), "{moved}");
    assert!(bench.get("/nothing", "").await.starts_with("HTTP/1.1 404 "));
    assert!(
        bench
            .get("/../index.html", "")
            .await
            .starts_with("HTTP/1.1 404 ")
    );
    let post = bench
        .raw(b"POST / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert!(post.starts_with("HTTP/1.1 405 "), "{post}");

    let mut stream = TcpStream::connect(bench.front.address()).await.unwrap();
    stream
        .write_all(b"GET /big.bin HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.ends_with(&big), "{} bytes", answer.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_gives_up_its_place() {
    let mut bench = Bench::start(Blobs::default(), |_| {}).await;
    bench.route(AppKind::Program).await;
    let request = b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n";
    // Connections that find the route have to be held; they leave at once.
    loop {
        let mut stream = TcpStream::connect(bench.front.address()).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut byte = [0; 12];
        let read = tokio::time::timeout(Duration::from_millis(200), stream.read(&mut byte)).await;
        if read.is_err() {
            break;
        }
    }
    let wake = bench.next_wake().await;
    assert_eq!(wake.demand, 1);
    let mut held = TcpStream::connect(bench.front.address()).await.unwrap();
    held.write_all(request).await.unwrap();
    // Wakes repeat while anybody waits, and count only those who still do.
    assert_eq!(bench.next_wake().await.demand, 1);
}
