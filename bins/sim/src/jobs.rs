//! Work on several threads, numbered from a first number on.
//!
//! Each thread takes the next number and works on it; the caller takes what comes out, in the
//! order in which it is done, on its own thread, and may end it all. What was begun by then is
//! finished and thrown away.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;

/// Results that wait for the caller at most; then the threads wait.
const WAITING_MAX: usize = 64;

/// Works on `first`, `first + 1` and so on until `work` has none for a number, or `take` says
/// that it has enough, or fails.
pub(crate) fn run<T: Send>(
    jobs: u64,
    first: u64,
    work: impl Fn(u64) -> Option<T> + Sync,
    mut take: impl FnMut(T) -> Result<bool, String>,
) -> Result<(), String> {
    let (next, stop) = (AtomicU64::new(first), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (tell, told) = mpsc::sync_channel(WAITING_MAX);
        for _ in 0..jobs {
            let (tell, next, stop, work) = (tell.clone(), &next, &stop, &work);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let Some(done) = work(next.fetch_add(1, Ordering::Relaxed)) else {
                        return;
                    };
                    if tell.send(done).is_err() {
                        return;
                    }
                }
            });
        }
        drop(tell);
        for done in told {
            let enough = take(done);
            if enough != Ok(false) {
                stop.store(true, Ordering::Relaxed);
            }
            enough?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_worked_on_once() {
        let mut done = Vec::new();
        let work = |n: u64| (n < 500).then_some(n);
        let all = run(3, 100, work, |n| {
            done.push(n);
            Ok(false)
        });
        assert_eq!(all, Ok(()));
        done.sort_unstable();
        assert!(done.into_iter().eq(100..500));
    }

    #[test]
    fn it_ends_when_the_caller_has_enough_and_when_it_fails() {
        let mut taken = 0;
        let endless = |n: u64| Some(n);
        let all = run(2, 0, endless, |_| {
            taken += 1;
            Ok(true)
        });
        assert_eq!(all, Ok(()));
        assert!(taken > 0);
        let failed = run(2, 0, endless, |_| Err("no".to_owned()));
        assert_eq!(failed, Err("no".to_owned()));
    }
}
