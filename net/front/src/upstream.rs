//! Connections to instances and to other regions' gateways.
//!
//! Each worker thread keeps its own idle connections, the last used first out, so that the
//! ones beyond what the load needs grow old and are closed. A request that failed before
//! any byte of it was sent is handed back for another try.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::body::Bounded;

const CONNECT_MAX: Duration = Duration::from_secs(2);
/// Idle connections to one endpoint, and how long one may be idle.
const IDLE_MAX: usize = 64;
const IDLE_AGE_MAX: Duration = Duration::from_secs(30);

#[derive(Clone, Default)]
pub(crate) struct Pool {
    idle: Rc<RefCell<BTreeMap<SocketAddr, Vec<Idle>>>>,
}

struct Idle {
    sender: SendRequest<Bounded>,
    since: Instant,
}

/// Why there is no answer.
pub(crate) enum Failed {
    /// Nothing was sent; here is the request again.
    Unsent(Box<Request<Bounded>>),
    /// It was sent, and the connection broke.
    Broken,
}

impl Pool {
    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn send(
        &self,
        endpoint: SocketAddr,
        mut request: Request<Bounded>,
    ) -> Result<Response<Incoming>, Failed> {
        while let Some(mut sender) = self.take(endpoint) {
            if sender.ready().await.is_err() {
                continue;
            }
            match self.exchange(endpoint, sender, request).await {
                Err(Failed::Unsent(again)) => request = *again,
                other => return other,
            }
        }
        let Some(sender) = connect(endpoint).await else {
            return Err(Failed::Unsent(Box::new(request)));
        };
        self.exchange(endpoint, sender, request).await
    }

    async fn exchange(
        &self,
        endpoint: SocketAddr,
        mut sender: SendRequest<Bounded>,
        request: Request<Bounded>,
    ) -> Result<Response<Incoming>, Failed> {
        match sender.try_send_request(request).await {
            Ok(response) => {
                self.return_when_ready(endpoint, sender);
                Ok(response)
            }
            Err(mut error) => Err(match error.take_message() {
                Some(request) => Failed::Unsent(Box::new(request)),
                None => Failed::Broken,
            }),
        }
    }

    fn take(&self, endpoint: SocketAddr) -> Option<SendRequest<Bounded>> {
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(&endpoint)?;
        let now = Instant::now();
        connections.retain(|c| !c.sender.is_closed() && now - c.since < IDLE_AGE_MAX);
        let taken = connections.pop();
        if connections.is_empty() {
            idle.remove(&endpoint);
        }
        taken.map(|c| c.sender)
    }

    /// Keeps the connection once the answer's body has been read.
    fn return_when_ready(&self, endpoint: SocketAddr, mut sender: SendRequest<Bounded>) {
        let pool = self.clone();
        tokio::task::spawn_local(async move {
            if sender.ready().await.is_ok() {
                let mut idle = pool.idle.borrow_mut();
                let connections = idle.entry(endpoint).or_default();
                if connections.len() < IDLE_MAX {
                    let since = Instant::now();
                    connections.push(Idle { sender, since });
                }
            }
        });
    }

    /// Closes connections that have been idle for too long.
    pub(crate) fn tidy(&self) {
        let now = Instant::now();
        self.idle.borrow_mut().retain(|_, connections| {
            connections.retain(|c| !c.sender.is_closed() && now - c.since < IDLE_AGE_MAX);
            !connections.is_empty()
        });
    }
}

async fn connect(endpoint: SocketAddr) -> Option<SendRequest<Bounded>> {
    let connected = tokio::time::timeout(CONNECT_MAX, TcpStream::connect(endpoint)).await;
    let stream = connected.ok()?.ok()?;
    // Latency matters more than the few packets that Nagle's algorithm would save.
    stream.set_nodelay(true).ok()?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%endpoint, %error, "a connection to an instance ended");
        }
    });
    Some(sender)
}
