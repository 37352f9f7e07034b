//! The real front on loopback.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tidegate_front::{Artifacts, Front, FrontConfig};
use tidegate_net::Node;
use tidegate_protocol::{Bytes, Digest, Manifest};

use crate::Pair;
use crate::fixture::{self, HOST};

const CLIENTS: usize = 8;
const TURNS: usize = 8;
const TURN: Duration = Duration::from_secs(2);
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

pub(crate) struct Measured {
    /// Per CPU second of the gateway's thread (and of the recorder's).
    pub(crate) requests: Pair,
    /// Per second.
    pub(crate) wall: Pair,
    /// CPU time of the recorder's thread, as a part of the gateway's.
    pub(crate) recorder_share: f64,
    pub(crate) bytes_per_request: f64,
}

/// What some turns took.
#[derive(Default)]
struct Sum {
    requests: u64,
    gateway_s: f64,
    recorder_s: f64,
    wall_s: f64,
}

/// The platform has no static files here.
struct NoArtifacts;

impl Artifacts for NoArtifacts {
    fn manifest(&self, _: Digest) -> io::Result<Manifest> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn read(&self, _: Digest) -> io::Result<Bytes> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn open(&self, _: Digest) -> io::Result<std::fs::File> {
        Err(io::ErrorKind::NotFound.into())
    }
}

pub(crate) fn measure() -> Measured {
    let dir = tempfile::tempdir().expect("a folder");
    let endpoint = instance();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let (plain, off) = runtime.block_on(start("plain", None, endpoint));
    let (recorded, on) = runtime.block_on(start("recorded", Some(dir.path()), endpoint));
    turn(off.address());
    turn(on.address());
    let mut sums = (Sum::default(), Sum::default());
    for _ in 0..TURNS {
        sums.0.add(turn(off.address()));
        sums.1.add(turn(on.address()));
    }
    off.shutdown();
    on.shutdown();
    runtime.block_on(plain.shutdown());
    runtime.block_on(recorded.shutdown());
    let (off, on) = sums;
    Measured {
        requests: Pair {
            off: off.requests as f64 / off.gateway_s,
            on: on.requests as f64 / (on.gateway_s + on.recorder_s),
        },
        wall: Pair {
            off: off.requests as f64 / off.wall_s,
            on: on.requests as f64 / on.wall_s,
        },
        recorder_share: on.recorder_s / on.gateway_s,
        bytes_per_request: bytes_of_a_request(dir.path()),
    }
}

impl Sum {
    fn add(&mut self, turn: Sum) {
        self.requests += turn.requests;
        self.gateway_s += turn.gateway_s;
        self.recorder_s += turn.recorder_s;
        self.wall_s += turn.wall_s;
    }
}

async fn start(name: &str, dir: Option<&Path>, endpoint: SocketAddr) -> (Node, Front) {
    let node = fixture::node(name, dir).await;
    let mut store = fixture::open_store(&node);
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = FrontConfig::new(Arc::new(NoArtifacts), "secret");
    let gateway = fixture::gateway(&node);
    let front = Front::start(&node, 1, any, None, config, gateway).expect("a front");
    fixture::feed(&node, &mut store, endpoint).await;
    let address = front.address();
    while ask(&mut connect(address)).is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    (node, front)
}

/// Asks for a while with some clients.
fn turn(address: SocketAddr) -> Sum {
    let stop = Arc::new(AtomicBool::new(false));
    let before = (cpu_seconds("gateway-0"), cpu_seconds("recorder"));
    let begun = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                let mut stream = connect(address);
                let mut requests = 0;
                while !stop.load(Ordering::Relaxed) {
                    ask(&mut stream).expect("an answer of the app");
                    requests += 1;
                }
                requests
            })
        })
        .collect();
    std::thread::sleep(TURN);
    stop.store(true, Ordering::Relaxed);
    let requests = clients.into_iter().map(|c| c.join().expect("a client"));
    Sum {
        requests: requests.sum::<u64>(),
        gateway_s: cpu_seconds("gateway-0") - before.0,
        recorder_s: cpu_seconds("recorder") - before.1,
        wall_s: begun.elapsed().as_secs_f64(),
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_nodelay(true).expect("a socket option");
    stream
}

/// One request; `None`: it was not the app that answered.
fn ask(stream: &mut TcpStream) -> Option<()> {
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    let mut part = [0; 1_024];
    while !answer.ends_with(b"hello") {
        match stream.read(&mut part).ok()? {
            0 => return None,
            n => answer.extend_from_slice(&part[..n]),
        }
        if !answer.starts_with(b"HTTP/1.1 200") {
            return None;
        }
    }
    Some(())
}

/// An instance that answers whatever it is asked.
fn instance() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || serve(stream?));
        }
    });
    address
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut part = [0; 4_096];
    let mut head = Vec::new();
    loop {
        let n = stream.read(&mut part)?;
        if n == 0 {
            return Ok(());
        }
        head.extend_from_slice(&part[..n]);
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            stream.write_all(ANSWER)?;
        }
    }
}

/// CPU time of all threads of this name, from the scheduler.
fn cpu_seconds(name: &str) -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let nanos = tasks.flatten().filter_map(|task| {
        let comm = std::fs::read_to_string(task.path().join("comm")).ok()?;
        let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        let ran = stat.split(' ').next()?.parse::<u64>().ok()?;
        (comm.trim_end() == name).then_some(ran)
    });
    nanos.sum::<u64>() as f64 / 1e9
}

/// From the last segment that is whole.
fn bytes_of_a_request(dir: &Path) -> f64 {
    let folder = std::fs::read_dir(dir).expect("recordings").next();
    let folder = folder.expect("a gateway's").expect("a folder").path();
    let files = std::fs::read_dir(folder).expect("a folder").flatten();
    let largest = files.max_by_key(|file| file.metadata().map_or(0, |m| m.len()));
    let bytes = std::fs::read(largest.expect("a file").path()).expect("a file");
    let recording = tidegate_recording::Recording::read(&bytes).expect("a recording");
    // A request is decided and finished.
    let requests = recording.steps().len() as f64 / 2.0;
    (recording.length() - recording.snapshot_at()) as f64 / requests
}
