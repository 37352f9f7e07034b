//! The real front on loopback.
//!
//! Three fronts of one process take turns of a sixth of a second: one that does not record,
//! one that does, and a second one that does not. The same clients, connected to all three,
//! ask whichever has its turn. Where threads and memory come to lie differs from front to
//! front by more than what is measured, so all three are started anew many times; what counts
//! is the mean of the ratios, with its standard error, and that of the two fronts that do not
//! record beside it.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tidegate_front::{Artifacts, Front, FrontConfig};
use tidegate_net::Node;
use tidegate_protocol::{Bytes, Digest, Manifest};

use crate::fixture::{self, HOST};
use crate::{Mean, Pair, median};

const CLIENTS: usize = 8;
/// How often the fronts are started, and the turns of each then; the first is not counted.
const STARTS: usize = 48;
const ROUNDS: usize = 6;
const TURN: Duration = Duration::from_millis(150);
/// Until the clients have come over from the front before.
const SETTLE: Duration = Duration::from_millis(15);
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

pub(crate) struct Measured {
    /// Per CPU second of the gateway's thread (and of the recorder's), medians.
    pub(crate) requests: Pair,
    /// Per second, medians.
    pub(crate) wall: Pair,
    /// Requests per CPU second when it records, of those when it does not.
    pub(crate) ratio: Mean,
    /// The same of two that do not record: 1, but for what else the machine does.
    pub(crate) null_ratio: Mean,
    /// CPU time of the recorder's thread, as a part of the gateway's.
    pub(crate) recorder_share: f64,
    pub(crate) bytes_per_request: f64,
}

/// What a turn came to.
#[derive(Clone, Copy)]
struct Turn {
    per_cpu_second: f64,
    per_second: f64,
    recorder_share: f64,
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
    let endpoint = instance();
    let mut bytes_per_request = 0.0;
    let turns: Vec<[Turn; 3]> = (0..STARTS)
        .map(|_| {
            let dir = tempfile::tempdir().expect("a folder");
            let turns = started(dir.path(), endpoint);
            bytes_per_request = bytes_of_a_request(dir.path());
            turns
        })
        .collect();
    let each = |figure: fn(&[Turn; 3]) -> f64| turns.iter().map(figure).collect::<Vec<f64>>();
    Measured {
        requests: Pair {
            off: median(each(|t| t[0].per_cpu_second)),
            on: median(each(|t| t[1].per_cpu_second)),
        },
        wall: Pair {
            off: median(each(|t| t[0].per_second)),
            on: median(each(|t| t[1].per_second)),
        },
        ratio: Mean::of(&each(|t| {
            2.0 * t[1].per_cpu_second / (t[0].per_cpu_second + t[2].per_cpu_second)
        })),
        null_ratio: Mean::of(&each(|t| t[2].per_cpu_second / t[0].per_cpu_second)),
        recorder_share: median(each(|t| t[1].recorder_share)),
        bytes_per_request,
    }
}

/// Some rounds of three fronts that are started for them: the medians of each.
fn started(dir: &Path, endpoint: SocketAddr) -> [Turn; 3] {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let started = [("off", None), ("on", Some(dir)), ("again", None)]
        .map(|(name, dir)| runtime.block_on(start(name, dir, endpoint)));
    let addresses = started.each_ref().map(|(_, front)| front.address());
    let clients = Clients::start(addresses);
    let rounds: Vec<[Turn; 3]> = (0..=ROUNDS).map(|n| clients.round(n)).collect();
    clients.stop();
    for (node, front) in started {
        front.shutdown();
        runtime.block_on(node.shutdown());
    }
    let of = |front: usize, figure: fn(&Turn) -> f64| {
        median(rounds[1..].iter().map(|r| figure(&r[front])).collect())
    };
    [0, 1, 2].map(|front| Turn {
        per_cpu_second: of(front, |t| t.per_cpu_second),
        per_second: of(front, |t| t.per_second),
        recorder_share: of(front, |t| t.recorder_share),
    })
}

/// Clients that ask one front at a time, without a pause.
struct Clients {
    threads: Vec<std::thread::JoinHandle<()>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Whose turn it is; nobody's: they end.
    turn: AtomicUsize,
    answered: AtomicU64,
}

impl Clients {
    fn start(addresses: [SocketAddr; 3]) -> Self {
        let shared = Arc::<Shared>::default();
        let threads = (0..CLIENTS).map(|_| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                let mut streams = addresses.map(connect);
                while let Some(stream) = streams.get_mut(shared.turn.load(Ordering::Relaxed)) {
                    ask(stream).expect("an answer of the app");
                    shared.answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        Self {
            threads: threads.collect(),
            shared,
        }
    }

    fn stop(self) {
        self.shared.turn.store(usize::MAX, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a client");
        }
    }

    /// A turn of each front; another one begins each round.
    fn round(&self, number: usize) -> [Turn; 3] {
        let mut turns = [None; 3];
        for n in 0..3 {
            let front = (number + n) % 3;
            turns[front] = Some(self.turn(front));
        }
        turns.map(|turn| turn.expect("each had its turn"))
    }

    fn turn(&self, front: usize) -> Turn {
        self.shared.turn.store(front, Ordering::Relaxed);
        std::thread::sleep(SETTLE);
        let answered = || self.shared.answered.load(Ordering::Relaxed) as f64;
        let cpu = || (cpu_seconds("gateway-0"), cpu_seconds("recorder"));
        let (begun, before, (gateway, recorder)) = (Instant::now(), answered(), cpu());
        std::thread::sleep(TURN);
        let (requests, wall) = (answered() - before, begun.elapsed().as_secs_f64());
        let now = cpu();
        let (gateway, recorder) = (now.0 - gateway, now.1 - recorder);
        // The recorder's thread also looks for work while nobody gives it any; that is not
        // the cost of a front that does not record.
        let recorder = if front == 1 { recorder } else { 0.0 };
        Turn {
            per_cpu_second: requests / (gateway + recorder),
            per_second: requests / wall,
            recorder_share: recorder / gateway,
        }
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
