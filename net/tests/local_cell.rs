//! A gateway's cell: called directly by the tasks of its thread, with messages and timers
//! beside, and a new life after a panic.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_kernel::{
    Actor, Called, Decision, Effect, Effects, Event, Now, Refusal, Rng, Ticket, Time,
};
use tidegate_net::{Front, LocalCell, NodeBuilder};
use tidegate_protocol::{Message, Probe, Role};

/// Holds every request until a probe comes, and refuses those that wait for 20 ms.
#[derive(Default, Serialize)]
struct Doorman {
    held: Vec<(Ticket, Time)>,
    next: u64,
}

impl Doorman {
    fn hold(&mut self, now: Now) -> Ticket {
        self.next += 1;
        let deadline = now.mono + Duration::from_millis(20);
        self.held.push((Ticket(self.next), deadline));
        Ticket(self.next)
    }

    fn let_go(&mut self, refusal: &Refusal, fx: &mut Effects) {
        for (ticket, _) in self.held.drain(..) {
            let decision = Decision::Refuse(refusal.clone());
            fx.push(Effect::Resume { ticket, decision });
        }
    }
}

/// What a doorman is asked.
#[derive(Clone, Copy, Serialize, Deserialize)]
enum Ask {
    Nothing,
    Hold,
    Panic,
}

impl Called for Doorman {
    type Call<'a> = Ask;
    type Answer = Option<Ticket>;

    fn call(&mut self, now: Now, ask: Ask, _: &mut Effects) -> Option<Ticket> {
        match ask {
            Ask::Nothing => None,
            Ask::Hold => Some(self.hold(now)),
            Ask::Panic => panic!("as ordered"),
        }
    }
}

impl Actor for Doorman {
    fn handle(&mut self, _: Now, event: Event, fx: &mut Effects) {
        match event {
            Event::Timer => self.let_go(&Refusal::Deadline, fx),
            Event::Message { .. } => self.let_go(&Refusal::Broken, fx),
            _ => {}
        }
    }

    fn next_deadline(&self) -> Option<(Time, &'static str)> {
        self.held.first().map(|(_, at)| (*at, "hold"))
    }
}

#[derive(Default)]
struct Seen {
    resumed: RefCell<Vec<(Ticket, Decision)>>,
    restarts: RefCell<u32>,
}

impl Front for Seen {
    fn resume(&self, ticket: Ticket, decision: Decision) {
        self.resumed.borrow_mut().push((ticket, decision));
    }

    fn restarted(&self) {
        *self.restarts.borrow_mut() += 1;
    }
}

/// Runs `check` beside the cell of a node's gateway.
async fn on_stage(
    check: impl AsyncFnOnce(&tidegate_net::Node, &LocalCell<Doorman, Rc<Seen>>, &Seen),
) {
    let node = NodeBuilder::new("stage").start().await.unwrap();
    let seen = Rc::new(Seen::default());
    let make = |_: Rng| Doorman::default();
    let (cell, inbound) = node.gateway_seat(0).unwrap().take(make, Rc::clone(&seen));
    assert_eq!(cell.call(Ask::Nothing), None, "its life has not begun");
    tokio::select! {
        () = cell.run(inbound) => unreachable!("it runs for ever"),
        () = async {
            until(|| cell.call(Ask::Nothing).is_some()).await;
            check(&node, &cell, &seen).await;
        } => {}
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("it comes to no end"),
    }
}

async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn hold(cell: &LocalCell<Doorman, Rc<Seen>>) -> Ticket {
    cell.call(Ask::Hold).flatten().unwrap()
}

#[tokio::test]
async fn a_deadline_set_by_a_call_rings() {
    on_stage(async |_, cell, seen| {
        for _ in 0..3 {
            let ticket = hold(cell);
            until(|| !seen.resumed.borrow().is_empty()).await;
            let resumed = seen.resumed.take();
            assert_eq!(resumed, [(ticket, Decision::Refuse(Refusal::Deadline))]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_message_reaches_the_cell() {
    on_stage(async |node, cell, seen| {
        let ticket = hold(cell);
        let from = node.address(Role::Scheduler, 0);
        let to = node.address(Role::Gateway, 0);
        node.router()
            .send(from, to, Message::Probe(Probe::default()));
        until(|| !seen.resumed.borrow().is_empty()).await;
        assert_eq!(seen.resumed.borrow()[0].0, ticket);
    })
    .await;
}

#[tokio::test]
async fn a_panic_in_a_call_voids_the_tickets_and_begins_a_new_life() {
    on_stage(async |_, cell, seen| {
        hold(cell);
        hold(cell);
        let result = cell.call(Ask::Panic);
        assert_eq!((result, *seen.restarts.borrow()), (None, 1));
        until(|| cell.call(Ask::Nothing).is_some()).await;
        assert_eq!(hold(cell), Ticket(1), "a fresh actor");
    })
    .await;
}
