//! The thread that writes what the tapes bring.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tidegate_recording::End;
use tidegate_recording::format::end_frame;

use super::shelf::{Place, Shelf};
use super::tape::{Piece, Reel};

/// How often tapes are looked at: what a killed process loses of its recording.
const EVERY: Duration = Duration::from_millis(20);
/// After an error, the disk is left alone for so long.
const REST: Duration = Duration::from_secs(10);
/// Gaps and errors are logged once in so long.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What the thread is told.
pub(super) enum Order {
    Record(Reel),
    Finish,
}

/// Writes until it is told to finish.
pub(super) fn run(shelf: Shelf, orders: &Receiver<Order>) {
    let mut disk = Disk {
        shelf,
        told: None,
        rest_until: None,
        is_behind: 0,
    };
    let mut tracks: Vec<Track> = Vec::new();
    loop {
        let finish = match orders.recv_timeout(EVERY) {
            Ok(Order::Record(reel)) => {
                tracks.push(Track { reel, place: None });
                continue;
            }
            Ok(Order::Finish) | Err(RecvTimeoutError::Disconnected) => true,
            Err(RecvTimeoutError::Timeout) => false,
        };
        disk.rest_until = disk.rest_until.filter(|until| Instant::now() < *until);
        tracks.retain_mut(|track| disk.write(track));
        disk.tell();
        if finish {
            return;
        }
    }
}

struct Disk {
    shelf: Shelf,
    /// When a gap was logged last, and how many inputs no segment has since.
    told: Option<Instant>,
    is_behind: u64,
    /// Since an error.
    rest_until: Option<Instant>,
}

/// The tape of one life of an actor, and the file that it goes to.
struct Track {
    reel: Reel,
    place: Option<Place>,
}

impl Disk {
    /// Writes what a tape has brought; `false`: it has ended.
    fn write(&mut self, track: &mut Track) -> bool {
        let shared = Arc::clone(&track.reel.shared);
        let is_resting = self.rest_until.is_some();
        shared.is_resting.store(is_resting, Ordering::Relaxed);
        let had_file = track.place.is_some();
        let was_abandoned = track.reel.is_abandoned();
        let actor = track.reel.actor;
        let mut to = (&mut *self, &mut track.place);
        track.reel.take(
            &mut to,
            |(disk, place), frames| disk.append(place, frames),
            |(disk, place), piece| disk.piece(actor, place, piece),
        );
        if had_file && track.place.is_none() {
            shared.is_broken.store(true, Ordering::Relaxed);
        }
        if let Err(error) = self.shelf.tidy() {
            self.failed(&error);
        }
        if was_abandoned && let Some(place) = track.place.take() {
            self.shelf.close(place);
        }
        !was_abandoned
    }

    fn piece(
        &mut self,
        actor: tidegate_protocol::Address,
        place: &mut Option<Place>,
        piece: Piece,
    ) {
        if let Some(lost) = piece.begins_after {
            if lost > 0 {
                self.is_behind += lost;
                self.append(place, &end_frame(End::Gap));
            }
            if let Some(former) = place.take() {
                self.shelf.close(former);
            }
            if self.rest_until.is_none() {
                match self.shelf.begin(actor) {
                    Ok(begun) => *place = Some(begun),
                    Err(error) => self.failed(&error),
                }
            }
        }
        self.append(place, &piece.bytes);
    }

    fn append(&mut self, place: &mut Option<Place>, bytes: &[u8]) {
        let Some(open) = place else {
            return;
        };
        match open.file.write_all(bytes) {
            Ok(()) => self.shelf.grew(open, bytes.len() as u64),
            Err(error) => {
                self.failed(&error);
                // What is there of the frame is known as cut off when it is read.
                if let Some(broken) = place.take() {
                    self.shelf.close(broken);
                }
            }
        }
    }

    fn failed(&mut self, error: &io::Error) {
        if self.rest_until.is_none() {
            tracing::error!(%error, pause_s = REST.as_secs(), "the recorder cannot write; it tries again after a pause");
        }
        self.rest_until = Some(Instant::now() + REST);
    }

    fn tell(&mut self) {
        if self.is_behind > 0 && self.told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            tracing::warn!(
                inputs = self.is_behind,
                "the disk could not keep up with the recorder: recordings have gaps"
            );
            self.is_behind = 0;
            self.told = Some(Instant::now());
        }
    }
}
