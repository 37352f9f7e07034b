//! How bytes travel between nodes: both ends of a connection are configured here and
//! nowhere else.
//!
//! HTTP/2 over whatever `bind` and `dial` give: TCP in production, a simulated network in
//! conformance tests, and the place where mutual TLS wraps both. Pings find a dead or paused
//! peer within `keepalive_interval + keepalive_timeout`. Every connection can be cut from
//! this side, whatever the other one does.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use hyper_util::rt::TokioIo;
use tidegate_kernel::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint, Server};

/// A byte stream.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

type Boxed<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;
/// Connects to "host:port".
pub type Dial = Arc<dyn Fn(String) -> Boxed<Box<dyn Io>> + Send + Sync>;
/// Listens on an address.
pub type Bind = Arc<dyn Fn(SocketAddr) -> Boxed<Bound> + Send + Sync>;

/// A listener that is bound.
pub struct Bound {
    /// The real address, where port 0 was asked for.
    pub address: SocketAddr,
    /// Connections with the address of the other end.
    pub accepted: mpsc::Receiver<(Box<dyn Io>, SocketAddr)>,
}

/// Connections that are accepted and not yet served.
const ACCEPTED_MAX: usize = 128;
/// Bytes in flight on a stream, and on a connection.
const WINDOW_BYTES: u32 = 1024 * 1024;
/// Calls at once on one connection; a node needs one.
const CALLS_MAX: u32 = 8;

/// How both ends of every connection are set up.
#[derive(Clone)]
pub struct Transport {
    /// Time between pings.
    pub keepalive_interval: Duration,
    /// How long a ping may be unanswered before the connection is given up.
    pub keepalive_timeout: Duration,
    /// How long connecting and greeting may take together.
    pub connect_timeout: Duration,
    pub dial: Dial,
    pub bind: Bind,
}

impl Transport {
    /// Plain TCP: for networks that nobody else can reach.
    pub fn tcp() -> Self {
        Self {
            keepalive_interval: Duration::from_secs(1),
            keepalive_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(3),
            dial: Arc::new(|address| Box::pin(dial_tcp(address))),
            bind: Arc::new(|address| Box::pin(bind_tcp(address))),
        }
    }

    /// A server to which services are added. Ends when `incoming` does.
    pub(super) fn server(&self) -> Server {
        Server::builder()
            .http2_keepalive_interval(Some(self.keepalive_interval))
            .http2_keepalive_timeout(Some(self.keepalive_timeout))
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .max_concurrent_streams(CALLS_MAX)
    }

    /// Connects to a node. The connection ends when `cut` is cancelled.
    pub(super) async fn connect(
        &self,
        address: &str,
        cut: &CancellationToken,
    ) -> Result<Channel, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?
            .http2_keep_alive_interval(self.keepalive_interval)
            .keep_alive_timeout(self.keepalive_timeout)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .connect_timeout(self.connect_timeout);
        let dial = Arc::clone(&self.dial);
        let (address, cut) = (address.to_owned(), cut.clone());
        let connector = tower::service_fn(move |_| {
            let connecting = dial(address.clone());
            let (remote, cut) = (address.clone(), cut.clone());
            async move {
                let io = connecting.await?;
                io::Result::Ok(TokioIo::new(MeshIo::new(io, Connection { remote, cut })))
            }
        });
        endpoint.connect_with_connector(connector).await
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport")
            .field("keepalive_interval", &self.keepalive_interval)
            .field("keepalive_timeout", &self.keepalive_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .finish_non_exhaustive()
    }
}

async fn dial_tcp(address: String) -> io::Result<Box<dyn Io>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

async fn bind_tcp(address: SocketAddr) -> io::Result<Bound> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let (sender, accepted) = mpsc::channel(ACCEPTED_MAX);
    tokio::spawn(accept(listener, sender));
    Ok(Bound { address, accepted })
}

/// Accepts until nobody takes the connections any more.
async fn accept(listener: TcpListener, accepted: mpsc::Sender<(Box<dyn Io>, SocketAddr)>) {
    loop {
        let connection = tokio::select! {
            biased;
            () = accepted.closed() => return,
            connection = listener.accept() => connection,
        };
        match connection {
            Ok((stream, remote)) => {
                let _ = stream.set_nodelay(true);
                if accepted.send((Box::new(stream), remote)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                // Out of file descriptors, mostly: the next try would fail as well.
                tracing::warn!(%error, "cannot accept a connection; trying again in a moment");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// The connections of a listener as the server takes them; each ends when `root` is
/// cancelled, or alone.
pub(super) fn incoming(
    bound: Bound,
    root: CancellationToken,
) -> impl Stream<Item = io::Result<MeshIo>> {
    Incoming {
        accepted: ReceiverStream::new(bound.accepted),
        root,
    }
}

struct Incoming {
    accepted: ReceiverStream<(Box<dyn Io>, SocketAddr)>,
    root: CancellationToken,
}

impl Stream for Incoming {
    type Item = io::Result<MeshIo>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let accepted = std::task::ready!(Pin::new(&mut self.accepted).poll_next(cx));
        Poll::Ready(accepted.map(|(io, remote)| {
            let connection = Connection {
                remote: remote.to_string(),
                cut: self.root.child_token(),
            };
            Ok(MeshIo::new(io, connection))
        }))
    }
}

/// What a call's handler knows of the connection that it came by.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    /// Address of the other end.
    pub(super) remote: String,
    /// Cancelling it ends the connection.
    pub(super) cut: CancellationToken,
}

/// A connection that can be cut.
pub(super) struct MeshIo {
    io: Box<dyn Io>,
    connection: Connection,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl MeshIo {
    fn new(io: Box<dyn Io>, connection: Connection) -> Self {
        Self {
            io,
            cut: Box::pin(connection.cut.clone().cancelled_owned()),
            connection,
        }
    }

    /// The task that reads also writes, so its waker is the one that matters.
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.connection.cut.is_cancelled() || self.cut.as_mut().poll(cx).is_ready() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }
}

impl Connected for MeshIo {
    type ConnectInfo = Connection;

    fn connect_info(&self) -> Connection {
        self.connection.clone()
    }
}

impl AsyncRead for MeshIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_cut(cx)?;
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for MeshIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_cut(cx)?;
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_cut(cx)?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_cut(cx)?;
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
