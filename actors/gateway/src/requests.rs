//! The requests that a gateway actor has admitted and not yet finished.
//!
//! A slab with generations: a ticket of a finished request finds nothing, and after warm-up
//! admitting a request allocates nothing.

use serde::{Deserialize, Serialize};
use tidegate_kernel::{Ticket, Time};
use tidegate_protocol::{InstanceRef, NodeId};

use crate::version::VersionIndex;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// About to be placed.
    Arrived,
    /// Taken out of a queue, about to be placed again.
    Replaced,
    Waiting,
    Forwarded(InstanceRef),
    Hopping(NodeId),
    Static,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) version: VersionIndex,
    pub(crate) stage: Stage,
    pub(crate) hopped: bool,
    pub(crate) tries: u8,
    pub(crate) deadline: Time,
    /// While waiting: when it is given up.
    pub(crate) hold_until: Time,
    /// The instance that refused the last connection.
    pub(crate) avoid: Option<InstanceRef>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Requests {
    entries: Vec<Entry>,
    free: Vec<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    generation: u32,
    request: Option<Request>,
}

impl Requests {
    pub(crate) fn insert(&mut self, request: Request) -> Ticket {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry {
                generation: 0,
                request: None,
            });
            (self.entries.len() - 1) as u32
        });
        let entry = &mut self.entries[index as usize];
        entry.request = Some(request);
        Ticket(u64::from(entry.generation) << 32 | u64::from(index))
    }

    pub(crate) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut Request> {
        let entry = self.entries.get_mut(ticket.0 as u32 as usize)?;
        (entry.generation == (ticket.0 >> 32) as u32)
            .then_some(entry.request.as_mut())
            .flatten()
    }

    pub(crate) fn remove(&mut self, ticket: Ticket) -> Option<Request> {
        let request = *self.get_mut(ticket)?;
        let index = ticket.0 as u32;
        let entry = &mut self.entries[index as usize];
        entry.request = None;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(index);
        Some(request)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(version: VersionIndex) -> Request {
        Request {
            version,
            stage: Stage::Arrived,
            hopped: false,
            tries: 0,
            deadline: Time(1),
            hold_until: Time(1),
            avoid: None,
        }
    }

    #[test]
    fn a_ticket_of_a_finished_request_finds_nothing() {
        let mut requests = Requests::default();
        let first = requests.insert(request(1));
        assert!(requests.remove(first).is_some());
        let second = requests.insert(request(2));
        assert_ne!(first, second);
        assert!(requests.get_mut(first).is_none());
        assert!(requests.remove(first).is_none());
        assert_eq!(requests.get_mut(second).map(|r| r.version), Some(2));
        assert_eq!(requests.len(), 1);
        assert!(requests.get_mut(Ticket(99)).is_none());
    }
}
