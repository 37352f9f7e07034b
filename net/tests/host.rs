//! The host drives an actor as the simulator would: every effect goes where it belongs, a
//! panic costs one life, and what a former life asked for is never answered to the next.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_kernel::{
    Actor, BlobCommand, BlobReport, DriverCommand, DriverReport, Effect, Effects, EngineOp,
    EngineReply, Event, Now, Rng, Time,
};
use tidegate_net::{
    EngineTurns, Hands, Inbound, MAIL_MAX, Node, NodeBuilder, Replies, blob_thread,
};
use tidegate_protocol::{Address, Digest, Message, Probe, Role};

/// Does what the payload of a probe says, and tells the asker when it is done.
#[derive(serde::Serialize)]
struct Puppet {
    life: u64,
    asker: Option<Address>,
    deadline: Option<Time>,
}

impl Puppet {
    fn new(mut rng: Rng) -> Self {
        Self {
            life: rng.u64(),
            asker: None,
            deadline: None,
        }
    }

    fn order(&mut self, now: Now, from: Address, probe: Probe, fx: &mut Effects) {
        self.asker = Some(from);
        let request = probe.sequence;
        match &*probe.payload {
            b"echo" => fx.send(from, Message::Probe(probe)),
            b"who" => self.tell("me", self.life, fx),
            b"panic" => panic!("as ordered"),
            b"timer" => self.deadline = Some(now.mono + Duration::from_millis(20)),
            b"engine" => fx.push(Effect::Engine(EngineOp::Snapshot {
                request,
                prefixes: Vec::new(),
            })),
            b"driver" => fx.push(Effect::Driver(DriverCommand::Inventory)),
            b"blob" => fx.push(Effect::Blob(BlobCommand::Check {
                digest: Digest([1; 32]),
            })),
            other => panic!("no such order: {other:?}"),
        }
    }

    fn tell(&self, what: &'static str, sequence: u64, fx: &mut Effects) {
        if let Some(asker) = self.asker {
            fx.send(asker, probe(sequence, what));
        }
    }
}

impl Actor for Puppet {
    fn handle(&mut self, now: Now, event: Event, fx: &mut Effects) {
        match event {
            Event::Start => assert!(self.asker.is_none(), "Start comes first"),
            Event::Timer => {
                assert!(self.deadline.is_some_and(|at| at <= now.mono), "not yet");
                self.deadline = None;
                self.tell("rang", 0, fx);
            }
            Event::Message {
                from,
                body: Message::Probe(probe),
            } => self.order(now, from, probe, fx),
            Event::Message { body, .. } => panic!("not sent: {body:?}"),
            Event::Engine(EngineReply::Snapshot { request, .. }) => {
                self.tell("engine", request, fx);
            }
            Event::Engine(reply) => panic!("not asked for: {reply:?}"),
            Event::Driver(report) => {
                assert_eq!(report, DriverReport::Inventory(Vec::new()));
                self.tell("driver", 0, fx);
            }
            Event::Blob(BlobReport::Checked { present, .. }) => {
                self.tell("blob", u64::from(present), fx);
            }
            Event::Blob(report) => panic!("not asked for: {report:?}"),
        }
    }

    fn next_deadline(&self) -> Option<(Time, &'static str)> {
        self.deadline.map(|at| (at, "as ordered"))
    }
}

fn probe(sequence: u64, payload: &'static str) -> Message {
    Message::Probe(Probe {
        sequence,
        payload: payload.into(),
    })
}

/// A node with a puppet, and a client that orders it about.
struct Stage {
    node: Node,
    puppet: Address,
    client: Inbound,
}

impl Stage {
    async fn new(hands: impl Fn(&Replies) -> Hands + Send + Sync + 'static) -> Self {
        let node = NodeBuilder::new("stage").start().await.unwrap();
        let client = node
            .router()
            .open(node.address(Role::Client, 0), 64)
            .unwrap();
        let puppet = node
            .spawn_actor(Role::Metald, 0, hands, Puppet::new)
            .await
            .unwrap()
            .address();
        Self {
            node,
            puppet,
            client,
        }
    }

    fn order(&self, sequence: u64, what: &'static str) {
        let from = self.client.address();
        self.node
            .router()
            .send(from, self.puppet, probe(sequence, what));
    }

    async fn answer(&mut self) -> (u64, String) {
        let (from, body) = within(self.client.receive()).await;
        assert_eq!(from, self.puppet);
        let Message::Probe(probe) = body else {
            panic!("not a probe: {body:?}");
        };
        let text = String::from_utf8(probe.payload.to_vec()).unwrap();
        (probe.sequence, text)
    }

    /// Waits for a life to answer, and returns what tells it from others.
    async fn life(&mut self) -> u64 {
        loop {
            self.order(0, "who");
            let answer = tokio::time::timeout(Duration::from_millis(50), self.answer()).await;
            if let Ok((life, _)) = answer {
                while self.client.try_receive().is_some() {}
                return life;
            }
        }
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .expect("it comes to an end")
}

fn expected(sequence: u64, what: &str) -> (u64, String) {
    (sequence, what.to_owned())
}

fn snapshot(request: u64) -> EngineReply {
    EngineReply::Snapshot {
        request,
        revision: 0,
        entries: Vec::new(),
    }
}

fn all_hands(replies: &Replies) -> Hands {
    let (engine, driver) = (replies.clone(), replies.clone());
    let blob = blob_thread(replies.clone(), |command| match command {
        BlobCommand::Check { digest } => Some(BlobReport::Checked {
            digest,
            present: true,
        }),
        _ => None,
    })
    .unwrap();
    Hands::none()
        .with_engine(move |op| match op {
            EngineOp::Snapshot { request, .. } => engine.engine(snapshot(request)),
            op => panic!("not ordered: {op:?}"),
        })
        .with_driver(move |command| {
            assert_eq!(command, DriverCommand::Inventory);
            driver.driver(DriverReport::Inventory(Vec::new()));
        })
        .with_blob(blob)
}

#[tokio::test]
async fn every_effect_goes_where_it_belongs_and_its_reply_comes_back() {
    let mut stage = Stage::new(all_hands).await;
    for (order, answer) in [
        ("echo", expected(3, "echo")),
        ("engine", expected(3, "engine")),
        ("driver", expected(0, "driver")),
        ("blob", expected(1, "blob")),
    ] {
        stage.order(3, order);
        assert_eq!(stage.answer().await, answer);
    }
}

#[tokio::test]
async fn a_timer_rings_when_its_time_has_come() {
    let mut stage = Stage::new(|_| Hands::none()).await;
    for _ in 0..3 {
        stage.order(0, "timer");
        assert_eq!(stage.answer().await, expected(0, "rang"));
    }
}

#[tokio::test]
async fn an_actor_that_panics_begins_a_new_life() {
    let mut stage = Stage::new(|_| Hands::none()).await;
    let mut lives = vec![stage.life().await];
    for _ in 0..2 {
        stage.order(0, "timer");
        stage.order(0, "panic");
        lives.push(stage.life().await);
    }
    lives.sort_unstable();
    lives.dedup();
    assert_eq!(lives.len(), 3, "each life has a seed of its own");
}

/// An engine that answers when it is told to, and outlives the lives of its actor.
#[derive(Clone, Default)]
struct SlowEngine {
    turns: EngineTurns,
    asked: Arc<Mutex<Vec<u64>>>,
}

impl SlowEngine {
    fn hands(&self, replies: &Replies) -> Hands {
        let asked = Arc::clone(&self.asked);
        let engine = self.turns.connect(replies, move |op| match op {
            EngineOp::Snapshot { request: 0, .. } => Err("refused as ordered"),
            EngineOp::Snapshot { request, .. } => {
                asked.lock().unwrap().push(request);
                Ok(())
            }
            op => panic!("not ordered: {op:?}"),
        });
        Hands::none().with_engine(engine)
    }

    fn take_asked(&self) -> Vec<u64> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

#[tokio::test]
async fn a_life_never_hears_what_a_former_one_asked_for() {
    let engine = SlowEngine::default();
    let hands = engine.clone();
    let mut stage = Stage::new(move |replies| hands.hands(replies)).await;
    stage.order(1, "engine");
    stage.order(0, "panic");
    stage.life().await;
    stage.order(2, "engine");
    stage.life().await;
    let asked = engine.take_asked();
    assert_eq!(asked, [1, 2]);
    for request in asked {
        engine.turns.reply::<String>(Ok(snapshot(request)));
    }
    assert_eq!(stage.answer().await, expected(2, "engine"));
    stage.order(7, "echo");
    assert_eq!(stage.answer().await, expected(7, "echo"));
}

#[tokio::test]
async fn an_engine_that_fails_ends_the_life_that_asked() {
    let engine = SlowEngine::default();
    let hands = engine.clone();
    let mut stage = Stage::new(move |replies| hands.hands(replies)).await;
    let mut lives = vec![stage.life().await];
    // It does not take the request.
    stage.order(0, "engine");
    lives.push(another_life(&mut stage, &lives).await);
    // It takes it, and cannot read.
    stage.order(3, "engine");
    stage.life().await;
    assert_eq!(engine.take_asked(), [3]);
    engine.turns.reply(Err("as ordered"));
    another_life(&mut stage, &lives).await;
}

async fn another_life(stage: &mut Stage, known: &[u64]) -> u64 {
    let waiting = async {
        loop {
            let life = stage.life().await;
            if !known.contains(&life) {
                return life;
            }
        }
    };
    within(waiting).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mailbox_is_bounded_for_messages_and_open_for_replies() {
    let (release, held) = mpsc::channel::<()>();
    let (entered_in, entered) = mpsc::channel::<Replies>();
    let held = Arc::new(Mutex::new(held));
    let mut stage = Stage::new(move |replies| {
        let (replies, held, entered) = (replies.clone(), Arc::clone(&held), entered_in.clone());
        Hands::none().with_engine(move |_| {
            entered.send(replies.clone()).unwrap();
            let _ = held.lock().unwrap().recv();
        })
    })
    .await;
    stage.order(0, "engine");
    let replies = tokio::task::spawn_blocking(move || entered.recv())
        .await
        .unwrap()
        .unwrap();
    let full_before = stage.node.router().counts().full;
    for _ in 0..MAIL_MAX + 5 {
        stage.order(0, "echo");
    }
    replies.engine(snapshot(9));
    assert_eq!(stage.node.router().counts().full - full_before, 5);
    drop(release);
    // The client's channel holds less than all the echoes, so the last answer is asked for
    // until it comes through.
    let mut seen = Vec::new();
    while !seen.contains(&expected(1, "echo")) {
        while let Some((_, Message::Probe(probe))) = stage.client.try_receive() {
            seen.push((
                probe.sequence,
                String::from_utf8_lossy(&probe.payload).into(),
            ));
        }
        stage.order(1, "echo");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_shutdown_ends_the_actors() {
    let mut stage = Stage::new(|_| Hands::none()).await;
    within(stage.node.shutdown()).await;
    stage.order(0, "echo");
    assert_eq!(stage.client.try_receive(), None);
    let counts = stage.node.router().counts();
    assert_eq!(counts.gone + counts.unknown, 1);
}
