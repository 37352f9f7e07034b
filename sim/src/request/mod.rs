//! A request's way: client, gateway, perhaps another region's gateway, instance, and back.
//!
//! The world plays the front: it calls the gateway actor's `decide` and `finished`, as
//! hyper's request tasks do, and it owns the connections. What a connection does when
//! something breaks follows TCP: a dead process refuses, a dead machine and a cut link are
//! silent until somebody gives up.
//!
//! Each step of a request has a number. An event that names another number comes too late
//! and is of no effect.

mod at_gateway;
mod at_instance;
mod ending;
mod given_up;
mod judged;

use tidegate_kernel::{Refusal, Ticket, Time};

use crate::clock::SimTime;
use crate::excuse::RegionSet;
use crate::oracle::End;

const MS: u64 = 1_000_000;
pub(crate) const UNKNOWN_HOST: &str = "unknown host";
/// Mean delay between a client and the nearest gateway, one way, over a fixed millisecond.
const CLIENT_JITTER_NS: u64 = 200_000;
/// A connection attempt that nobody answers.
const CONNECT_TIMEOUT_NS: u64 = 1_000 * MS;

/// What one gateway actor knows of a request.
#[derive(Clone, Copy, Debug)]
pub struct Leg {
    pub gateway: u32,
    ticket: Ticket,
    deadline: Time,
    /// How often it sent the request on.
    sends: u8,
}

impl Leg {
    /// Whether its gateway has not heard of the request yet.
    fn is_on_its_way(&self) -> bool {
        self.deadline == Time::ZERO
    }
}

#[derive(Clone, Debug)]
pub struct Request {
    live: bool,
    step: u32,
    stream: u32,
    region: u16,
    /// Those whose gateways it was given to.
    regions: RegionSet,
    sent_at: SimTime,
    pub legs: [Leg; 2],
    /// The leg that acts: 0, or 1 in the other region.
    at: u8,
    tries: u8,
    /// It has reached its instance and is not answered.
    inside: bool,
    held_since: Option<SimTime>,
    pub instance: u32,
    end: End,
    /// A fault broke it, and not only something near it.
    struck: bool,
    /// How often its client sent it before.
    retried: u8,
    /// What the refusal asked the client to wait, in seconds.
    retry_after_s: u16,
}

/// All requests under way; places are used again.
#[derive(Debug, Default)]
pub struct Requests {
    all: Vec<Request>,
    free: Vec<u32>,
    /// Held requests by gateway and ticket.
    held: indexmap::IndexMap<(u32, Ticket), u32, rustc_hash::FxBuildHasher>,
}

impl Request {
    pub fn leg(&self) -> &Leg {
        &self.legs[usize::from(self.at)]
    }

    /// Where its client is.
    pub(crate) fn region(&self) -> usize {
        usize::from(self.region)
    }

    /// Its stream of clients.
    pub(crate) fn stream(&self) -> u32 {
        self.stream
    }

    /// The gateway actors that know of it.
    pub(crate) fn gateways(&self) -> impl Iterator<Item = u32> {
        let known = &self.legs[..=usize::from(self.at)];
        known
            .iter()
            .map(|leg| leg.gateway)
            .filter(|g| *g != u32::MAX)
    }
}

impl Requests {
    fn insert(&mut self, stream: u32, region: usize, sent_at: SimTime) -> u32 {
        let leg = Leg {
            gateway: u32::MAX,
            ticket: Ticket(0),
            deadline: Time::ZERO,
            sends: 0,
        };
        let fresh = Request {
            live: true,
            step: 0,
            stream,
            region: region as u16,
            regions: 1 << region,
            sent_at,
            legs: [leg; 2],
            at: 0,
            tries: 0,
            inside: false,
            held_since: None,
            instance: u32::MAX,
            end: End::Served,
            struck: false,
            retried: 0,
            retry_after_s: 0,
        };
        match self.free.pop() {
            Some(place) => {
                let slot = &mut self.all[place as usize];
                // The number goes on, so that events of the former user stay without effect.
                let step = slot.step + 1;
                *slot = Request { step, ..fresh };
                place
            }
            None => {
                self.all.push(fresh);
                self.all.len() as u32 - 1
            }
        }
    }

    fn remove(&mut self, request: u32) {
        let slot = &mut self.all[request as usize];
        slot.live = false;
        slot.step += 1;
        self.free.push(request);
    }

    #[inline]
    fn get(&mut self, request: u32) -> &mut Request {
        &mut self.all[request as usize]
    }

    /// The request, if that step of it is the present one.
    #[inline]
    pub fn current(&self, request: u32, step: u32) -> Option<&Request> {
        let r = self.all.get(request as usize)?;
        (r.live && r.step == step).then_some(r)
    }

    fn live(&self) -> impl Iterator<Item = (u32, &Request)> {
        (0..).zip(&self.all).filter(|(_, r)| r.live)
    }

    /// Requests under way at an instance.
    fn inside(&self, instance: u32) -> Vec<u32> {
        self.live()
            .filter(|(_, r)| r.inside && r.instance == instance)
            .map(|(place, _)| place)
            .collect()
    }
}

fn end_of(refusal: &Refusal) -> End {
    match refusal {
        Refusal::UnknownHost => End::Refused(UNKNOWN_HOST),
        Refusal::NotHereYet { .. } => End::Refused("not here yet"),
        Refusal::QueueFull { .. } => End::Refused("queue full"),
        Refusal::HoldTimeout { .. } => End::Refused("hold timeout"),
        Refusal::NoCapacity { .. } => End::Refused("no capacity"),
        Refusal::StartFailed { .. } => End::Refused("start failed"),
        Refusal::Unreachable { .. } => End::Failed("unreachable"),
        Refusal::Broken => End::Failed("broken"),
        Refusal::Deadline => End::Failed("deadline"),
        Refusal::Loop => End::Failed("loop"),
    }
}
