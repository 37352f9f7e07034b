//! The flight recorder of a node: what its actors are given goes to a bounded ring of files.
//!
//! Each life of an actor has a [`Tape`]: a ring of bytes in memory that the actor's thread
//! fills without a lock, and that one thread of the node empties to disk, some fifty times a
//! second. So a process that is killed loses the last moments at most, and an actor that
//! panics none. Nothing here waits for the disk: when it cannot keep up, the recording of
//! the actor has a gap, which is logged, and goes on with its next snapshot.
//!
//! What is recorded, and how, is decided in [`tidegate_recording`]; here it is decided where
//! the bytes go and how many are kept.

mod disk;
mod shelf;
mod tape;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use tidegate_protocol::Address;
use tidegate_recording::{Limits, Subject, Writer};

use disk::Order;
use shelf::Shelf;
pub(crate) use tape::Tape;

/// Fewer bytes than this do not hold a few segments of each actor.
pub const RECORD_BYTES_MIN: u64 = 16 << 20;
/// A segment with a small snapshot is no longer than this.
const SEGMENT_BYTES_MAX: u64 = 8 << 20;

/// How much is recorded, and by what.
#[derive(Clone, Debug)]
pub struct RecorderConfig {
    /// All files together; from the actor that has most of them, the oldest goes first.
    pub bytes_max: u64,
    /// Actors that run at once. Segments are so short that a few of each fit.
    pub actors_max: u64,
    /// What build this is, for whoever replays.
    pub build: String,
}

/// Records the actors of a node. Clones are of the same recorder.
#[derive(Clone, Debug)]
pub struct Recorder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    orders: mpsc::Sender<Order>,
    limits: Limits,
    build: String,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Recorder {
    /// Records into a folder, which is made if need be, beside what was recorded there
    /// before.
    ///
    /// # Errors
    /// The folder cannot be made or read, or there is no thread to be had.
    pub fn start(dir: &Path, config: RecorderConfig) -> io::Result<Recorder> {
        let shelf = Shelf::open(dir, config.bytes_max)?;
        let (orders, taken) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("recorder".into())
            .spawn(move || disk::run(shelf, &taken))?;
        let each = (config.bytes_max / config.actors_max.max(1)) as usize;
        Ok(Recorder(Arc::new(Inner {
            orders,
            limits: Limits {
                segment_bytes: (each / 8).min(SEGMENT_BYTES_MAX as usize),
                segment_bytes_max: each / 2,
            },
            build: config.build,
            thread: Mutex::new(Some(thread)),
        })))
    }

    /// Records a life of an actor.
    pub(crate) fn writer(&self, actor: Address, life: u64) -> Writer<Tape> {
        let (tape, reel) = tape::new(actor);
        // Without the thread the tape is abandoned, and nothing is recorded.
        let _ = self.0.orders.send(Order::Record(reel));
        let subject = Subject {
            actor,
            build: self.0.build.clone(),
            life,
        };
        Writer::new(subject, self.0.limits, tape)
    }

    /// Writes what there is, and ends. Blocks until all of it is with the operating system.
    /// To be called after the actors have ended.
    pub fn finish(&self) {
        // Has it ended already, there is nothing to tell it.
        let _ = self.0.orders.send(Order::Finish);
        let thread = self.0.thread.lock();
        let thread = thread.unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the recorder failed; the ends of its recordings are missing");
        }
    }
}
