//! A store, its engine and its mirrors over a network that loses, repeats and reorders, with
//! restarts on both sides: once the faults stop, every mirror holds what the engine holds,
//! and it has reported the changes in commit order.

use std::collections::BTreeMap;

use tidegate_engine::{Engine as _, MemoryEngine, run_op};
use tidegate_kernel::{
    Actor as _, Duration, Effect, Effects, EngineOp, EngineReply, Event, Mirror, Now, Rng, Seed,
    Time, WallTime,
};
use tidegate_protocol::{
    Address, HostRecord, Key, Message, NodeId, Record, Role, RouteRecord, StoreCommit, Txn, Write,
    store_commit_reply::Outcome,
};
use tidegate_store::{StoreActor, StoreConfig};

const STORE: Address = Address::new(NodeId(1), Role::Store, 1);
const CLIENT: Address = Address::new(NodeId(2), Role::Client, 0);
const WATCHED: [&[&str]; 5] = [
    &[""],
    &["route/"],
    &["host/"],
    &["host/0000000", "route/p1", "route/"],
    &["host/00000003", "lease/"],
];
const STEP: Duration = Duration::from_millis(50);

struct Watcher {
    address: Address,
    prefixes: &'static [&'static str],
    mirror: Mirror,
    /// What the reported changes add up to.
    seen: BTreeMap<String, u64>,
    reported: u64,
    lives: u32,
}

struct World {
    rng: Rng,
    now: Now,
    faults: bool,
    store: StoreActor,
    engine: MemoryEngine,
    ops: Vec<EngineOp>,
    replies: Vec<EngineReply>,
    watchers: Vec<Watcher>,
    network: Vec<(Address, Address, Message)>,
    next_commit: u64,
    applied: u64,
    resets: u64,
}

fn store(rng: &mut Rng) -> StoreActor {
    let config = StoreConfig {
        // Small, so that feeds and snapshots come in many parts.
        feed_bytes_max: 120,
        batch_txns_max: 4,
        ..StoreConfig::new(STORE)
    };
    StoreActor::new(config, Seed(rng.u64()).rng())
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Seed(seed).derive("convergence").rng();
        let watchers = (10..)
            .zip(WATCHED)
            .map(|(node, prefixes)| Watcher {
                address: Address::new(NodeId(node), Role::Gateway, 0),
                prefixes,
                mirror: Mirror::new(STORE, prefixes, &mut rng),
                seen: BTreeMap::new(),
                reported: 0,
                lives: 1,
            })
            .collect();
        Self {
            store: store(&mut rng),
            rng,
            now: Now::default(),
            faults: true,
            // Forgets early, so that snapshots are needed.
            engine: MemoryEngine::with_log(40),
            ops: Vec::new(),
            replies: Vec::new(),
            watchers,
            network: Vec::new(),
            next_commit: 0,
            applied: 0,
            resets: 0,
        }
    }

    fn step(&mut self, commits: bool) {
        self.now.mono = self.now.mono + STEP;
        self.now.wall = WallTime {
            unix_ms: self.now.mono.0 / 1_000_000,
        };
        if commits && self.rng.chance(400_000) {
            self.commit();
        }
        if self.faults && self.rng.chance(3_000) {
            self.restart_store();
        }
        if self.faults && self.rng.chance(5_000) {
            self.restart_watcher();
        }
        self.timers();
        self.run_engine();
        self.deliver();
    }

    fn commit(&mut self) {
        self.next_commit += 1;
        let writes = (0..self.rng.between(1, 3)).map(|_| self.write()).collect();
        let txn = Some(Txn {
            preconditions: Vec::new(),
            writes,
        });
        let id = self.next_commit;
        let body = Message::StoreCommit(StoreCommit { id, txn });
        self.network.push((CLIENT, STORE, body));
    }

    fn write(&mut self) -> Write {
        let n = self.rng.below(6) as u32;
        let record = if self.rng.chance(500_000) {
            Record::Host(HostRecord {
                node: n,
                beat: self.rng.u64(),
                ..HostRecord::default()
            })
        } else {
            Record::Route(RouteRecord {
                project: format!("p{n}"),
                epoch: self.rng.u64(),
                ..RouteRecord::default()
            })
        };
        let key = match &record {
            Record::Host(_) => Key::Host(NodeId(n)),
            _ => Key::Route(format!("p{n}")),
        };
        Write {
            key: key.to_string(),
            value: (!self.rng.chance(200_000)).then(|| record.encode()),
        }
    }

    fn restart_store(&mut self) {
        self.store = store(&mut self.rng);
        self.ops.clear();
        self.replies.clear();
    }

    fn restart_watcher(&mut self) {
        let chosen = self.rng.index(self.watchers.len()).unwrap();
        let watcher = &mut self.watchers[chosen];
        watcher.mirror = Mirror::new(STORE, watcher.prefixes, &mut self.rng);
        watcher.seen.clear();
        watcher.reported = 0;
        watcher.lives += 1;
    }

    fn timers(&mut self) {
        let mut fx = Effects::new();
        for watcher in &mut self.watchers {
            if watcher.mirror.next_deadline().0 <= self.now.mono {
                watcher.mirror.on_timer(self.now, &mut fx);
                send_all(&mut fx, watcher.address, &mut self.network);
            }
        }
        if due(self.store.next_deadline(), self.now) {
            self.store_event(Event::Timer);
        }
    }

    fn run_engine(&mut self) {
        while !self.ops.is_empty() && self.rng.chance(700_000) {
            let reply = run_op(&mut self.engine, self.ops.remove(0)).unwrap();
            self.replies.push(reply);
        }
        while !self.replies.is_empty() && self.rng.chance(700_000) {
            let reply = self.replies.remove(0);
            self.store_event(Event::Engine(reply));
        }
    }

    fn store_event(&mut self, event: Event) {
        let mut fx = Effects::new();
        self.store.handle(self.now, event, &mut fx);
        self.store.check();
        for effect in fx.take() {
            match effect {
                Effect::Engine(op) => self.ops.push(op),
                Effect::Send { to, body, .. } => {
                    if let Message::StoreCommitReply(reply) = &body
                        && let Some(Outcome::Applied(revision)) = reply.outcome
                    {
                        assert!(revision <= self.engine.revision(), "answered too early");
                        self.applied += 1;
                    }
                    if let Message::StoreFeed(feed) = &body {
                        self.resets += u64::from(feed.reset);
                    }
                    self.network.push((STORE, to, body));
                }
                Effect::Note(_) => {}
                other => panic!("a store does not ask for {other:?}"),
            }
        }
    }

    fn deliver(&mut self) {
        for _ in 0..self.rng.below(2 + 2 * self.network.len() as u64) {
            let Some(chosen) = self.rng.index(self.network.len()) else {
                return;
            };
            if self.faults && self.rng.chance(100_000) {
                self.network.swap_remove(chosen);
                continue;
            }
            let (from, to, body) = if self.faults && self.rng.chance(100_000) {
                self.network[chosen].clone()
            } else {
                self.network.remove(chosen)
            };
            match body {
                Message::StoreFeed(feed) => self.feed(to, feed),
                body if to == STORE => self.store_event(Event::Message { from, body }),
                _ => {}
            }
        }
    }

    fn feed(&mut self, to: Address, feed: tidegate_protocol::StoreFeed) {
        let mut fx = Effects::new();
        let watcher = self.watchers.iter_mut().find(|w| w.address == to).unwrap();
        for change in watcher.mirror.on_feed(self.now, STORE, feed, &mut fx) {
            let key = change.key.to_string();
            // A deletion that a snapshot revealed has no revision.
            if change.revision > 0 {
                assert!(watcher.reported <= change.revision, "out of commit order");
                watcher.reported = change.revision;
            }
            match change.record {
                Some(_) => watcher.seen.insert(key, change.revision),
                None => watcher.seen.remove(&key),
            };
        }
        send_all(&mut fx, to, &mut self.network);
    }

    fn check_converged(&self, seed: u64) {
        for watcher in &self.watchers {
            let prefixes: Vec<String> = watcher.prefixes.iter().map(|p| (*p).into()).collect();
            let (revision, entries) = self.engine.snapshot(&prefixes).unwrap();
            let expected: BTreeMap<String, u64> =
                entries.into_iter().map(|e| (e.key, e.revision)).collect();
            assert_eq!(
                watcher.seen, expected,
                "seed {seed}, {:?}",
                watcher.prefixes
            );
            for (key, revision) in &expected {
                let key = Key::parse(key).unwrap();
                assert_eq!(watcher.mirror.revision_of(&key), *revision);
            }
            assert!(watcher.mirror.is_live(self.now), "seed {seed}");
            assert_eq!(watcher.mirror.revision(), revision, "seed {seed}");
        }
    }
}

fn due(deadline: Option<(Time, &'static str)>, now: Now) -> bool {
    deadline.is_some_and(|(at, _)| at <= now.mono)
}

fn send_all(fx: &mut Effects, from: Address, network: &mut Vec<(Address, Address, Message)>) {
    for effect in fx.take() {
        match effect {
            Effect::Send { to, body, .. } => network.push((from, to, body)),
            Effect::Note(_) => {}
            other => panic!("a mirror does not ask for {other:?}"),
        }
    }
}

#[test]
fn mirrors_converge_once_the_faults_stop() {
    let (mut applied, mut resets, mut lives) = (0, 0, 0);
    for seed in 0..60 {
        let mut world = World::new(seed);
        for _ in 0..1_500 {
            world.step(true);
        }
        world.faults = false;
        // Commits go on for a while, then everybody has 15 s.
        for step in 0..400 {
            world.step(step < 100);
        }
        world.check_converged(seed);
        applied += world.applied;
        resets += world.resets;
        lives += world.watchers.iter().map(|w| w.lives).sum::<u32>();
    }
    // The runs reached what they are meant to reach.
    assert!(applied > 10_000, "{applied}");
    assert!(resets > 1_000, "{resets}");
    assert!(lives > 500, "{lives}");
}
