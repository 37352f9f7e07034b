//! Fifty actors and their messages: the least that an event loop can be asked.
//!
//! Each delivery makes an actor send one message of 64 bytes to another actor,
//! pseudo-randomly chosen, so the number in flight never changes. Every peer runs
//! this code and folds every body into a trace hash; what differs, and is
//! measured, is how a message gets from one actor to the other.

use std::time::Duration;

use tidegate_sim_queue::TraceHash;

/// How many actors there are.
pub const ACTORS: u32 = 50;
/// How long a message is.
pub const BODY_BYTES: usize = 64;
/// The shortest way from one actor to another.
pub const LATENCY_MIN: Duration = Duration::from_millis(1);
/// The longest.
pub const LATENCY_MAX: Duration = Duration::from_millis(10);
/// The load of the first row: about one message an actor.
pub const IN_FLIGHT_FEW: u32 = 50;
/// The load of the second.
pub const IN_FLIGHT_MANY: u32 = 1_000;

const BODY_WORDS: usize = BODY_BYTES / size_of::<u64>();

/// The content of a message.
#[derive(Clone, Copy, Debug)]
pub struct Body([u64; BODY_WORDS]);

impl Body {
    /// The body as a network carries it.
    pub fn to_bytes(self) -> [u8; BODY_BYTES] {
        let mut bytes = [0; BODY_BYTES];
        let (words, _) = bytes.as_chunks_mut();
        for (bytes, word) in words.iter_mut().zip(self.0) {
            *bytes = word.to_le_bytes();
        }
        bytes
    }

    /// The inverse of [`Self::to_bytes`].
    pub fn from_bytes(bytes: &[u8; BODY_BYTES]) -> Self {
        let (words, _) = bytes.as_chunks();
        Self(std::array::from_fn(|i| u64::from_le_bytes(words[i])))
    }
}

/// What an actor does in answer to a delivery.
#[derive(Clone, Copy, Debug)]
pub struct Send {
    /// The number of another actor.
    pub to: u32,
    /// What to send it.
    pub body: Body,
}

/// One of the two kinds of actor, told apart by a match as in the platform.
#[derive(Debug)]
pub enum Actor {
    /// Counts what passes.
    Relay(Inner),
    /// Stirs what passes.
    Mixer(Inner),
}

/// What both kinds have.
#[derive(Debug)]
pub struct Inner {
    id: u32,
    random: Random,
    received: u64,
}

impl Actor {
    /// The actor of a number below [`ACTORS`].
    pub fn new(id: u32) -> Self {
        let inner = Inner {
            id,
            random: Random::new(id.into()),
            received: 0,
        };
        if id.is_multiple_of(2) {
            Self::Relay(inner)
        } else {
            Self::Mixer(inner)
        }
    }

    /// All of them, in order of their numbers.
    pub fn all() -> Vec<Self> {
        (0..ACTORS).map(Self::new).collect()
    }

    /// A message that nothing caused: `in_flight / ACTORS` of them from each
    /// actor start the workload.
    pub fn start(&mut self) -> Send {
        let inner = self.inner();
        let body = Body(std::array::from_fn(|_| inner.random.draw()));
        inner.send(body)
    }

    /// Takes a delivery and answers it.
    #[inline]
    pub fn receive(&mut self, mut body: Body) -> Send {
        let inner = match self {
            Self::Relay(inner) => {
                body.0[0] = body.0[0].wrapping_add(inner.received);
                inner
            }
            Self::Mixer(inner) => {
                body.0[1] = body.0[1].rotate_left(7) ^ body.0[0];
                inner
            }
        };
        inner.received += 1;
        inner.send(body)
    }

    fn inner(&mut self) -> &mut Inner {
        match self {
            Self::Relay(inner) | Self::Mixer(inner) => inner,
        }
    }
}

impl Inner {
    #[inline]
    fn send(&mut self, body: Body) -> Send {
        let distance = 1 + self.random.below(u64::from(ACTORS) - 1) as u32;
        let to = self.id + distance;
        let to = if to < ACTORS { to } else { to - ACTORS };
        Send { to, body }
    }
}

/// Folds one delivery into the trace: when, from and to whom, and the body.
#[inline]
pub fn fold_delivery(trace: &mut TraceHash, time_ns: u64, from: u32, to: u32, body: Body) {
    let [a, b, c, d, e, f, g, h] = body.0;
    let route = u64::from(from) << 32 | u64::from(to);
    trace.fold([time_ns, route, a, b, c, d, e, f, g, h]);
}

/// A small generator (SplitMix64), so that drawing is no part of the difference
/// between peers.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator whose draws `seed` decides.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next word.
    #[inline]
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number below `bound`, by multiplication rather than division.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u64
    }

    /// A latency in nanoseconds, uniform from [`LATENCY_MIN`] to [`LATENCY_MAX`].
    #[inline]
    pub fn latency_ns(&mut self) -> u64 {
        const MIN_NS: u64 = LATENCY_MIN.as_nanos() as u64;
        const MAX_NS: u64 = LATENCY_MAX.as_nanos() as u64;
        MIN_NS + self.below(MAX_NS - MIN_NS)
    }
}
