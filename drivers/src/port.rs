//! Which port an instance listens on.
//!
//! The kernel is asked for a free one, which is then given up for the app to take. Between
//! the two anyone may take it; then the app fails to bind, ends, and is started again
//! elsewhere. What would make that likely is two starts at once, so a port stays reserved
//! among the instances of this driver for as long as its instance lives.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

/// Ports asked for before giving up; each was reserved but not yet bound.
const TRIES_MAX: usize = 64;

/// The ports of this driver's instances.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ports {
    reserved: Arc<Mutex<BTreeSet<u16>>>,
}

/// One port, until dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    ports: Ports,
    pub endpoint: SocketAddr,
}

impl Ports {
    /// A free port.
    pub(crate) fn lease(&self, ip: IpAddr) -> io::Result<Lease> {
        for _ in 0..TRIES_MAX {
            let endpoint = TcpListener::bind((ip, 0))?.local_addr()?;
            if self.with(|reserved| reserved.insert(endpoint.port())) {
                return Ok(self.lease_of(endpoint));
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    /// The port of an instance that has it already.
    pub(crate) fn adopt(&self, endpoint: SocketAddr) -> Lease {
        self.with(|reserved| reserved.insert(endpoint.port()));
        self.lease_of(endpoint)
    }

    fn lease_of(&self, endpoint: SocketAddr) -> Lease {
        Lease {
            ports: self.clone(),
            endpoint,
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut BTreeSet<u16>) -> T) -> T {
        change(&mut self.reserved.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.ports
            .with(|reserved| reserved.remove(&self.endpoint.port()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_leases_share_a_port() -> io::Result<()> {
        let ports = Ports::default();
        let leases: Vec<Lease> = (0..50)
            .map(|_| ports.lease(IpAddr::from([127, 0, 0, 1])))
            .collect::<io::Result<_>>()?;
        let distinct: BTreeSet<u16> = leases.iter().map(|lease| lease.endpoint.port()).collect();
        assert_eq!(distinct.len(), leases.len());
        drop(leases);
        assert!(ports.with(|reserved| reserved.is_empty()));
        Ok(())
    }
}
