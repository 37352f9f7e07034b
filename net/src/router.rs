//! Who gets a message: an endpoint on this node, or the mesh.
//!
//! Every sink of the node sends through here, from any thread. Looking an address up takes
//! no lock (the table is replaced whole when an endpoint comes or goes, which is rare).
//! Delivery is at most once and never waits: an endpoint that is full, and an address that
//! nobody has, lose the message, and the loss is counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use arc_swap::ArcSwap;
use tidegate_protocol::{Address, Message, NodeId, Role};
use tokio::sync::mpsc;

/// Takes messages for one address of this node. Must not block.
pub trait Endpoint: Send + Sync {
    /// # Errors
    /// The message is lost, and why.
    fn deliver(&self, from: Address, body: Message) -> Result<(), Undelivered>;
}

/// Takes messages for other nodes. Must not block; may lose them.
pub trait Remote: Send + Sync {
    fn send(&self, from: Address, to: Address, body: Message);
}

/// Why an endpoint lost a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undelivered {
    /// As much waits there as may wait.
    Full,
    /// Its receiver has ended, or is being restarted.
    Gone,
}

/// The address has an endpoint already, or (for clients) no index is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressTaken(pub Address);

impl std::fmt::Display for AddressTaken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is in use on this node; end its owner first", self.0)
    }
}

impl std::error::Error for AddressTaken {}

/// What was lost on this node, since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouterCounts {
    /// The endpoint was full.
    pub full: u64,
    /// The endpoint had ended or was being restarted.
    pub gone: u64,
    /// No endpoint has the address.
    pub unknown: u64,
    /// For another node, on a node without a mesh.
    pub no_mesh: u64,
}

type Table = BTreeMap<Address, Arc<dyn Endpoint>>;

/// A handle; copies route alike.
#[derive(Clone)]
pub struct Router {
    inner: Arc<Inner>,
}

struct Inner {
    me: NodeId,
    table: ArcSwap<Table>,
    /// Held while the table is replaced.
    writing: Mutex<()>,
    remote: OnceLock<Weak<dyn Remote>>,
    full: AtomicU64,
    gone: AtomicU64,
    unknown: AtomicU64,
    no_mesh: AtomicU64,
}

impl Router {
    pub fn new(me: NodeId) -> Self {
        Self {
            inner: Arc::new(Inner {
                me,
                table: ArcSwap::default(),
                writing: Mutex::new(()),
                remote: OnceLock::new(),
                full: AtomicU64::new(0),
                gone: AtomicU64::new(0),
                unknown: AtomicU64::new(0),
                no_mesh: AtomicU64::new(0),
            }),
        }
    }

    pub fn me(&self) -> NodeId {
        self.inner.me
    }

    /// Sends to wherever `to` is.
    pub fn send(&self, from: Address, to: Address, body: Message) {
        if to.node == self.inner.me {
            self.deliver(from, to, body);
            return;
        }
        match self.inner.remote.get().and_then(Weak::upgrade) {
            Some(remote) => remote.send(from, to, body),
            None => {
                self.inner.no_mesh.fetch_add(1, Relaxed);
            }
        }
    }

    /// Hands a message to an endpoint of this node.
    pub fn deliver(&self, from: Address, to: Address, body: Message) {
        let lost = match self.inner.table.load().get(&to) {
            None => &self.inner.unknown,
            Some(endpoint) => match endpoint.deliver(from, body) {
                Ok(()) => return,
                Err(Undelivered::Full) => &self.inner.full,
                Err(Undelivered::Gone) => &self.inner.gone,
            },
        };
        lost.fetch_add(1, Relaxed);
    }

    /// Gives `address` to an endpoint until the registration is dropped.
    ///
    /// # Errors
    /// The address is of another node, or taken.
    pub fn register(
        &self,
        address: Address,
        endpoint: Arc<dyn Endpoint>,
    ) -> Result<Registration, AddressTaken> {
        let _writing = self.write_lock();
        let mut table = Table::clone(&self.inner.table.load());
        if address.node != self.inner.me || table.contains_key(&address) {
            return Err(AddressTaken(address));
        }
        table.insert(address, endpoint);
        self.inner.table.store(Arc::new(table));
        Ok(Registration {
            address,
            router: self.clone(),
        })
    }

    /// Gives `address` to a bounded channel, for receivers that are no hosted actors
    /// (gateway threads). More than `capacity` waiting messages are lost.
    ///
    /// # Errors
    /// As [`Router::register`].
    pub fn open(&self, address: Address, capacity: usize) -> Result<Inbound, AddressTaken> {
        let (sender, receiver) = mpsc::channel(capacity);
        let registration = self.register(address, Arc::new(Channel(sender)))?;
        Ok(Inbound {
            receiver,
            registration,
        })
    }

    /// Gives an endpoint the lowest free client address of this node.
    ///
    /// # Errors
    /// All 65,536 are in use.
    pub fn register_client(
        &self,
        endpoint: Arc<dyn Endpoint>,
    ) -> Result<Registration, AddressTaken> {
        let client = |index| Address::new(self.inner.me, Role::Client, index);
        let mut taken = AddressTaken(client(u16::MAX));
        for index in 0..=u16::MAX {
            match self.register(client(index), Arc::clone(&endpoint)) {
                Ok(registration) => return Ok(registration),
                Err(error) => taken = error,
            }
        }
        Err(taken)
    }

    /// What was lost so far.
    pub fn counts(&self) -> RouterCounts {
        RouterCounts {
            full: self.inner.full.load(Relaxed),
            gone: self.inner.gone.load(Relaxed),
            unknown: self.inner.unknown.load(Relaxed),
            no_mesh: self.inner.no_mesh.load(Relaxed),
        }
    }

    /// Connects the mesh. The router does not keep it alive. Only the first call counts.
    pub(crate) fn set_remote(&self, remote: Weak<dyn Remote>) {
        let _ = self.inner.remote.set(remote);
    }

    fn write_lock(&self) -> std::sync::MutexGuard<'_, ()> {
        self.inner
            .writing
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// An endpoint's place in the router; dropping it takes the endpoint out.
pub struct Registration {
    address: Address,
    router: Router,
}

impl Registration {
    pub fn address(&self) -> Address {
        self.address
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let _writing = self.router.write_lock();
        let mut table = Table::clone(&self.router.inner.table.load());
        table.remove(&self.address);
        self.router.inner.table.store(Arc::new(table));
    }
}

/// The receiving end of an address that was opened with [`Router::open`].
pub struct Inbound {
    receiver: mpsc::Receiver<(Address, Message)>,
    registration: Registration,
}

impl Inbound {
    pub fn address(&self) -> Address {
        self.registration.address
    }

    /// The next message and its sender. Dropping the future loses nothing.
    pub async fn receive(&mut self) -> (Address, Message) {
        match self.receiver.recv().await {
            Some(message) => message,
            // The sender is in the table as long as the registration lives.
            None => std::future::pending().await,
        }
    }

    /// A message that is already here.
    pub fn try_receive(&mut self) -> Option<(Address, Message)> {
        self.receiver.try_recv().ok()
    }
}

struct Channel(mpsc::Sender<(Address, Message)>);

impl Endpoint for Channel {
    fn deliver(&self, from: Address, body: Message) -> Result<(), Undelivered> {
        self.0.try_send((from, body)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Undelivered::Full,
            mpsc::error::TrySendError::Closed(_) => Undelivered::Gone,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_protocol::Probe;

    const ME: NodeId = NodeId(7);
    const GATEWAY: Address = Address::new(ME, Role::Gateway, 0);
    const EDGE: Address = Address::new(ME, Role::Edge, 0);

    fn probe(sequence: u64) -> Message {
        Message::Probe(Probe {
            sequence,
            ..Probe::default()
        })
    }

    #[test]
    fn a_message_reaches_the_endpoint_of_its_address() {
        let router = Router::new(ME);
        let mut gateway = router.open(GATEWAY, 4).unwrap();
        let mut edge = router.open(EDGE, 4).unwrap();
        router.send(EDGE, GATEWAY, probe(1));
        assert_eq!(gateway.try_receive(), Some((EDGE, probe(1))));
        assert_eq!(edge.try_receive(), None);
    }

    #[test]
    fn what_cannot_be_delivered_is_counted() {
        let router = Router::new(ME);
        let gateway = router.open(GATEWAY, 1).unwrap();
        router.send(EDGE, GATEWAY, probe(1));
        router.send(EDGE, GATEWAY, probe(2));
        router.send(EDGE, Address::new(ME, Role::Metald, 0), probe(3));
        router.send(EDGE, Address::new(NodeId(8), Role::Edge, 0), probe(4));
        let expected = RouterCounts {
            full: 1,
            gone: 0,
            unknown: 1,
            no_mesh: 1,
        };
        assert_eq!(router.counts(), expected);
        drop(gateway);
        router.send(EDGE, GATEWAY, probe(5));
        assert_eq!(router.counts().unknown, 2);
    }

    #[test]
    fn an_address_has_one_owner() {
        let router = Router::new(ME);
        let first = router.open(GATEWAY, 1).unwrap();
        assert_eq!(router.open(GATEWAY, 1).err(), Some(AddressTaken(GATEWAY)));
        let foreign = Address::new(NodeId(8), Role::Gateway, 0);
        assert_eq!(router.open(foreign, 1).err(), Some(AddressTaken(foreign)));
        drop(first);
        assert!(router.open(GATEWAY, 1).is_ok());
    }

    #[test]
    fn clients_get_the_lowest_free_address() {
        let router = Router::new(ME);
        let (sender, _receiver) = mpsc::channel(1);
        let client: Arc<dyn Endpoint> = Arc::new(Channel(sender));
        let register = || router.register_client(Arc::clone(&client)).unwrap();
        let first = register();
        let second = register();
        assert_eq!((first.address().index, second.address().index), (0, 1));
        drop(first);
        assert_eq!(register().address().index, 0);
    }
}
