//! `decide` and `finished` on a gateway's cell.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tidegate_gateway::Gateway;
use tidegate_kernel::{Decision, FrontCall, Outcome, RequestHead, Ticket};
use tidegate_net::{Front, LocalCell};

use crate::fixture::{self, HOST};
use crate::{Pair, median};

/// Requests of a measured batch; their recording fits into memory.
const BATCH: u32 = 4_000;
const BATCHES: u32 = 100;
/// For the disk.
const PAUSE: Duration = Duration::from_millis(60);

struct Nobody;

impl Front for Nobody {
    fn resume(&self, _: Ticket, _: Decision) {}
    fn restarted(&self) {}
}

type Cell = LocalCell<Gateway, Rc<Nobody>>;

/// Nanoseconds for a request, medians of the batches.
pub(crate) fn measure() -> Pair {
    let dir = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let (off, on) = runtime.block_on(async {
        let plain = fixture::node("plain", None).await;
        let recorded = fixture::node("recorded", Some(dir.path())).await;
        let mut samples = (Vec::new(), Vec::new());
        let (off, off_mail) = seat(&plain);
        let (on, on_mail) = seat(&recorded);
        let mut stores = (fixture::open_store(&plain), fixture::open_store(&recorded));
        let endpoint = ([127, 0, 0, 1], 9).into();
        let work = async {
            fixture::feed(&plain, &mut stores.0, endpoint).await;
            fixture::feed(&recorded, &mut stores.1, endpoint).await;
            until_served(&off).await;
            until_served(&on).await;
            for _ in 0..BATCHES {
                samples.0.push(batch(&off));
                samples.1.push(batch(&on));
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::select! {
            () = off.run(off_mail) => unreachable!("it runs for ever"),
            () = on.run(on_mail) => unreachable!("it runs for ever"),
            () = work => {}
        }
        drop((off, on));
        plain.shutdown().await;
        recorded.shutdown().await;
        samples
    });
    Pair {
        off: median(off),
        on: median(on),
    }
}

fn seat(node: &tidegate_net::Node) -> (Cell, tidegate_net::Inbound) {
    let seat = node.gateway_seat(0).expect("an address");
    let (me, make) = (seat.address(), fixture::gateway(node));
    seat.take(move |rng| make(me, rng), Rc::new(Nobody))
}

fn request(cell: &Cell) -> bool {
    let head = RequestHead {
        host: HOST,
        hopped: false,
    };
    let decided = cell.call(FrontCall::Decide(head)).flatten();
    let Some(Decision::Forward { ticket, .. }) = decided else {
        return false;
    };
    let outcome = Outcome::Answered;
    cell.call(FrontCall::Finished { ticket, outcome });
    true
}

async fn until_served(cell: &Cell) {
    while !request(cell) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn batch(cell: &Cell) -> f64 {
    let begun = Instant::now();
    for _ in 0..BATCH {
        assert!(request(cell), "the app runs");
    }
    begun.elapsed().as_nanos() as f64 / f64::from(BATCH)
}
