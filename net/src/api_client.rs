//! Asks actors from outside the platform: the API front and the command line.
//!
//! One client address for all calls of a front; answers find their call by id. A message may
//! be lost on either way, so every call has a time limit, and whoever calls decides whether
//! asking again is safe.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_kernel::Duration;
use tidegate_protocol::{
    Address, ApiReply, ApiRequest, LogData, LogRead, Message, api_request::Call,
};
use tokio::sync::oneshot;

use crate::router::{AddressTaken, Endpoint, Registration, Router, Undelivered};

/// Calls that may wait for their answers at once.
pub const CALLS_MAX: usize = 4_096;

/// Why a call has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// None came in time. Whether the call took effect is unknown.
    Timeout { to: Address },
    /// [`CALLS_MAX`] calls are waiting; this one was not sent.
    Busy,
}

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NoAnswer::Timeout { to } => write!(
                f,
                "{to} did not answer in time; look at the state before trying again"
            ),
            NoAnswer::Busy => write!(
                f,
                "{CALLS_MAX} calls are waiting for answers; try again later"
            ),
        }
    }
}

impl std::error::Error for NoAnswer {}

/// A client of the node's actors and, through the mesh, of all others.
pub struct ApiClient {
    router: Router,
    registration: Registration,
    calls: Arc<Calls>,
    next_id: AtomicU64,
}

impl ApiClient {
    /// Takes a client address. `first_id` should be random, so that an answer to a former
    /// process is never taken for one to this.
    ///
    /// # Errors
    /// No client address is free.
    pub fn new(router: Router, first_id: u64) -> Result<Self, AddressTaken> {
        let calls = Arc::new(Calls::default());
        let registration = router.register_client(Arc::<Calls>::clone(&calls))?;
        Ok(Self {
            router,
            registration,
            calls,
            next_id: AtomicU64::new(first_id),
        })
    }

    pub fn address(&self) -> Address {
        self.registration.address()
    }

    /// Asks control (or sync) and waits for the answer, at most for `limit`.
    ///
    /// # Errors
    /// No answer came.
    pub async fn call(
        &self,
        to: Address,
        call: Call,
        limit: Duration,
    ) -> Result<ApiReply, NoAnswer> {
        let request = |id| {
            let call = Some(call);
            Message::ApiRequest(ApiRequest { id, call })
        };
        match self.ask(to, request, limit).await? {
            Message::ApiReply(reply) => Ok(reply),
            _ => Err(NoAnswer::Timeout { to }),
        }
    }

    /// Reads output of a version's instances from the metald of a host. The request's id is
    /// set here.
    ///
    /// # Errors
    /// No answer came.
    pub async fn read_log(
        &self,
        metald: Address,
        read: LogRead,
        limit: Duration,
    ) -> Result<LogData, NoAnswer> {
        let request = |id| Message::LogRead(LogRead { id, ..read });
        match self.ask(metald, request, limit).await? {
            Message::LogData(data) => Ok(data),
            _ => Err(NoAnswer::Timeout { to: metald }),
        }
    }

    async fn ask(
        &self,
        to: Address,
        request: impl FnOnce(u64) -> Message,
        limit: Duration,
    ) -> Result<Message, NoAnswer> {
        let id = self.next_id.fetch_add(1, Relaxed);
        let (sender, receiver) = oneshot::channel();
        {
            let mut waiting = self.calls.lock();
            if waiting.len() >= CALLS_MAX {
                return Err(NoAnswer::Busy);
            }
            waiting.insert((to, id), sender);
        }
        // Forgets the call when it is answered, late, or given up by the caller.
        let _waiting = Waiting {
            calls: &self.calls,
            key: (to, id),
        };
        self.router.send(self.address(), to, request(id));
        match tokio::time::timeout(limit, receiver).await {
            Ok(Ok(answer)) => Ok(answer),
            _ => Err(NoAnswer::Timeout { to }),
        }
    }
}

type Key = (Address, u64);

#[derive(Default)]
struct Calls {
    waiting: Mutex<BTreeMap<Key, oneshot::Sender<Message>>>,
}

impl Calls {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, oneshot::Sender<Message>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Endpoint for Calls {
    fn deliver(&self, from: Address, body: Message) -> Result<(), Undelivered> {
        let id = match &body {
            Message::ApiReply(reply) => reply.id,
            Message::LogData(data) => data.id,
            _ => return Err(Undelivered::Gone),
        };
        let caller = self.lock().remove(&(from, id)).ok_or(Undelivered::Gone)?;
        caller.send(body).map_err(|_| Undelivered::Gone)
    }
}

struct Waiting<'a> {
    calls: &'a Calls,
    key: Key,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.calls.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_protocol::{ListProjects, NodeId, Role};

    const ME: NodeId = NodeId(7);
    const CONTROL: Address = Address::new(ME, Role::Control, 0);
    const LIMIT: Duration = Duration::from_secs(30);

    fn list() -> Call {
        Call::ListProjects(ListProjects {})
    }

    #[tokio::test]
    async fn an_answer_finds_its_call() {
        let router = Router::new(ME);
        let mut control = router.open(CONTROL, 4).unwrap();
        let client = ApiClient::new(router.clone(), 40).unwrap();
        let answer = async {
            let (from, body) = control.receive().await;
            let Message::ApiRequest(request) = body else {
                panic!("not a request: {body:?}");
            };
            let reply = |id| ApiReply {
                id,
                reason: format!("answer {id}"),
                ..ApiReply::default()
            };
            for id in [request.id + 1, request.id] {
                router.send(CONTROL, from, Message::ApiReply(reply(id)));
            }
        };
        let (reply, ()) = tokio::join!(client.call(CONTROL, list(), LIMIT), answer);
        assert_eq!(reply.unwrap().reason, "answer 40");
        assert!(client.calls.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_without_an_answer_ends_and_leaves_nothing() {
        let client = ApiClient::new(Router::new(ME), 1).unwrap();
        assert_eq!(
            client.call(CONTROL, list(), LIMIT).await,
            Err(NoAnswer::Timeout { to: CONTROL })
        );
        assert!(client.calls.lock().is_empty());
    }
}
