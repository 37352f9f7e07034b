//! Worker threads, their sockets and their connections.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use socket2::{Domain, Protocol, Socket, Type};
use tidegate_gateway::Gateway;
use tidegate_kernel::Rng;
use tidegate_net::{AddressTaken, Clock, GatewaySeat, Node};
use tidegate_protocol::Address;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::LocalSet;

use crate::FrontConfig;
use crate::body::Answer;
use crate::connection::Inspected;
use crate::refusal;
use crate::service::{Door, serve};
use crate::worker::{Waiting, Worker};

/// Earlier answers on a connection whose next request was refused get so long to finish.
const LINGER_MAX: Duration = Duration::from_secs(60);
/// A refusal gets so long to be read.
const PARTING_MAX: Duration = Duration::from_secs(5);
/// Connections that still have a request in flight get so long at shutdown.
const SHUTDOWN_MAX: Duration = Duration::from_secs(30);

/// A running front. Dropping it closes the sockets at once; [`Front::shutdown`] lets requests
/// finish.
pub struct Front {
    threads: Vec<std::thread::JoinHandle<()>>,
    stop: watch::Sender<bool>,
    address: SocketAddr,
    hop_address: Option<SocketAddr>,
}

/// Why a front does not start.
#[derive(Debug)]
pub enum FrontError {
    /// A listening socket cannot be had.
    Listen(SocketAddr, io::Error),
    /// A gateway actor's address is in use on this node.
    Address(AddressTaken),
    /// No thread, or no runtime on it.
    Thread(io::Error),
}

impl std::fmt::Display for FrontError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FrontError::Listen(address, error) => write!(
                f,
                "cannot listen on {address}: {error}; choose another address, or end what uses it"
            ),
            FrontError::Address(taken) => taken.fmt(f),
            FrontError::Thread(error) => write!(f, "cannot start a worker thread: {error}"),
        }
    }
}

impl std::error::Error for FrontError {}

impl Front {
    /// Starts `workers` threads that serve `listen`, and hops of other gateways on
    /// `hop_listen`. `gateway` makes each life of the actor of each worker.
    ///
    /// # Errors
    /// A socket, an address or a thread cannot be had.
    pub fn start(
        node: &Node,
        workers: u16,
        listen: SocketAddr,
        hop_listen: Option<SocketAddr>,
        config: FrontConfig,
        gateway: impl Fn(Address, Rng) -> Gateway + Clone + Send + 'static,
    ) -> Result<Front, FrontError> {
        let (stop, stopped) = watch::channel(false);
        let mut front = Front {
            threads: Vec::new(),
            stop,
            address: listen,
            hop_address: hop_listen,
        };
        for index in 0..workers {
            let public = bind(&mut front.address)?;
            let hops = match &mut front.hop_address {
                Some(address) => Some(bind(address)?),
                None => None,
            };
            let worker = Thread {
                seat: node.gateway_seat(index).map_err(FrontError::Address)?,
                clock: node.clock(),
                gateway: gateway.clone(),
                config: config.clone(),
                public,
                hops,
                stopped: stopped.clone(),
            };
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(FrontError::Thread)?;
            let thread = std::thread::Builder::new()
                .name(format!("gateway-{index}"))
                .spawn(move || LocalSet::new().block_on(&runtime, worker.run()))
                .map_err(FrontError::Thread)?;
            front.threads.push(thread);
        }
        Ok(front)
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where gateways of other regions connect.
    pub fn hop_address(&self) -> Option<SocketAddr> {
        self.hop_address
    }

    /// Takes no new connection, lets requests finish (30 s at most), and ends. Blocks.
    pub fn shutdown(mut self) {
        self.stop.send_replace(true);
        for thread in self.threads.drain(..) {
            // A worker that panicked has nothing left to finish.
            let _ = thread.join();
        }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// Binds with `SO_REUSEPORT`; port 0 becomes the port that was given, for the next worker.
fn bind(address: &mut SocketAddr) -> Result<StdListener, FrontError> {
    let bound = (|| {
        let socket = Socket::new(
            Domain::for_address(*address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&(*address).into())?;
        socket.listen(1024)?;
        Ok(StdListener::from(socket))
    })();
    let listener = bound.map_err(|error| FrontError::Listen(*address, error))?;
    *address = listener
        .local_addr()
        .map_err(|error| FrontError::Listen(*address, error))?;
    Ok(listener)
}

struct Thread<G> {
    seat: GatewaySeat,
    clock: Clock,
    gateway: G,
    config: FrontConfig,
    public: StdListener,
    hops: Option<StdListener>,
    stopped: watch::Receiver<bool>,
}

impl<G: Fn(Address, Rng) -> Gateway + 'static> Thread<G> {
    async fn run(self) {
        let me = self.seat.address();
        let make = self.gateway;
        let (cell, inbound) = self
            .seat
            .take(move |rng| make(me, rng), Rc::<Waiting>::default());
        let cell = Rc::new(cell);
        let worker = Worker::new(Rc::clone(&cell), self.clock, Rc::new(self.config));
        tokio::task::spawn_local(async move { cell.run(inbound).await });
        let tidy = Rc::clone(&worker);
        tokio::task::spawn_local(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(10)).await;
                tidy.pool.tidy();
            }
        });
        let connections = Rc::new(Connections::default());
        let mut accepts = vec![(self.public, Door::Public)];
        accepts.extend(self.hops.map(|hops| (hops, Door::Hop)));
        for (listener, door) in accepts {
            match TcpListener::from_std(listener) {
                Ok(listener) => {
                    let accept = accept(
                        listener,
                        door,
                        Rc::clone(&worker),
                        Rc::clone(&connections),
                        self.stopped.clone(),
                    );
                    tokio::task::spawn_local(accept);
                }
                Err(error) => tracing::error!(%me, %error, "a listening socket is unusable"),
            }
        }
        let mut stopped = self.stopped;
        // An error means that the front is gone, which is a stop as well.
        let _ = stopped.wait_for(|stop| *stop).await;
        let drained = async {
            while connections.count.get() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(SHUTDOWN_MAX, drained).await.is_err() {
            tracing::warn!(%me, "requests were cut off by the shutdown");
        }
    }
}

#[derive(Default)]
struct Connections {
    count: std::cell::Cell<usize>,
}

async fn accept(
    listener: TcpListener,
    door: Door,
    worker: Rc<Worker>,
    connections: Rc<Connections>,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.wait_for(|stop| *stop) => return,
        };
        let (stream, client) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or the client is gone already: both pass.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        if connections.count.get() >= worker.config.connections_max {
            tracing::warn!(%client, "too many connections; this one is closed");
            continue;
        }
        connections.count.set(connections.count.get() + 1);
        let (worker, connections) = (Rc::clone(&worker), Rc::clone(&connections));
        let stopped = stopped.clone();
        tokio::task::spawn_local(async move {
            connection(worker, stream, client, door, stopped).await;
            connections.count.set(connections.count.get() - 1);
        });
    }
}

async fn connection(
    worker: Rc<Worker>,
    stream: TcpStream,
    client: SocketAddr,
    door: Door,
    mut stopped: watch::Receiver<bool>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%client, %error, "the connection is gone already");
        return;
    }
    let head_max = worker.config.head_max;
    let (inspected, shared) = Inspected::new(stream);
    let service = service_fn(move |request: Request<Incoming>| {
        let worker = Rc::clone(&worker);
        async move {
            let response: Response<Answer> = serve(worker, request, client, door).await;
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let mut hyper = Box::pin(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(head_max)
            .serve_connection(inspected, service),
    );
    let ended = tokio::select! {
        ended = hyper.as_mut() => Ended::ByHyper(ended),
        (refused, earlier) = shared.refusal() => Ended::Refused(refused, earlier),
        _ = stopped.wait_for(|stop| *stop) => Ended::Stopped,
    };
    match ended {
        Ended::ByHyper(Ok(())) => {}
        Ended::ByHyper(Err(error)) => tracing::debug!(%client, %error, "a connection broke"),
        // hyper takes a connection without its first request for a busy one.
        Ended::Stopped if !shared.any_passed() => {}
        Ended::Stopped => {
            hyper.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(SHUTDOWN_MAX, hyper).await;
        }
        Ended::Refused(refused, earlier) => {
            if earlier {
                hyper.as_mut().graceful_shutdown();
                let _ = tokio::time::timeout(LINGER_MAX, hyper).await;
            } else {
                drop(hyper);
            }
            tracing::debug!(%client, reason = refused.reason, "a request was refused");
            let answer = refusal::raw(refused);
            let parting = async {
                if shared.write_all(answer.as_bytes()).await.is_ok() {
                    shared.linger().await;
                }
            };
            let _ = tokio::time::timeout(PARTING_MAX, parting).await;
        }
    }
}

enum Ended {
    ByHyper(hyper::Result<()>),
    Refused(crate::strict::Refused, bool),
    Stopped,
}
