//! The edge of a gateway node: holds the artifact of every version of its region, and says
//! so.
//!
//! An ack in the partition store is a promise that the node holds an artifact, verified; the
//! cutover waits for it, and the node's gateways route to no version without it. The edge
//! decides which acks stand: it fetches what a version names, writes the ack when all of it
//! has been verified, and takes it back when the version is gone or the blobs are. After a
//! restart everything is checked anew; an ack of the former life stands while that goes on
//! and falls at the first blob that is not there. What it holds it looks at again, slowly
//! and without end: an ack falls as well when a blob has rotted, until it was fetched anew.
//!
//! It must never write an ack for an artifact that was not found whole in this life, nor
//! for a version that it has not seen. Beside that it is the node's sign of life for sync
//! (`gateway/{node}`), and tells control that its region exists.
//!
//! It costs a look at the versions, acks and gateways that changed, never at all of them.

mod acks;
mod ledger;
mod scrub;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use tidegate_artifact::{Fetcher, FetcherConfig, Progress};
use tidegate_kernel::{
    Actor, BlobReport, Change, CommitId, Duration, Effects, Event, Load, Mirror, Note, Now, Rng,
    Seed, Time, origin_of,
};
use tidegate_protocol::{
    Address, Digest, GatewayRecord, Key, Message, NodeId, Record, RegionHello, StoreFeed, Txn,
    Write,
};

use acks::Acks;
use ledger::Ledger;
pub use scrub::Pace;
use scrub::{Found, Scrub};

/// Settings of an edge.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EdgeConfig {
    pub me: Address,
    /// The operator's name of the node.
    pub name: String,
    pub region: String,
    /// The partition store of the region.
    pub store: Address,
    pub control: Address,
    /// Where artifacts come from; the region's other edges are asked after it.
    pub origin: Address,
    /// "ip:port" on which the node takes hops from other regions' gateways.
    pub hop_endpoint: String,
    /// Gateway actors on the node, one for each worker thread.
    pub gateway_actors: u32,
    /// Between two heartbeats.
    pub beat_every: Duration,
    /// After a heartbeat that the store refused.
    pub beat_again: Duration,
    /// Between two hellos to control before it has welcomed the region, and after.
    pub hello_every: Duration,
    pub hello_every_welcomed: Duration,
    /// A commit that stays without an answer for so long is forgotten and decided anew.
    pub commit_timeout: Duration,
    /// Acks written or deleted in one commit.
    pub acks_per_commit: usize,
    /// How fast held artifacts are looked at again.
    pub scrub: Pace,
}

impl EdgeConfig {
    pub fn new(
        me: Address,
        name: impl Into<String>,
        region: impl Into<String>,
        store: Address,
        control: Address,
        origin: Address,
        hop_endpoint: String,
    ) -> Self {
        Self {
            me,
            name: name.into(),
            region: region.into(),
            store,
            control,
            origin,
            hop_endpoint,
            gateway_actors: 1,
            beat_every: Duration::from_secs(15),
            beat_again: Duration::from_secs(1),
            hello_every: Duration::from_secs(2),
            hello_every_welcomed: Duration::from_secs(300),
            commit_timeout: Duration::from_secs(5),
            acks_per_commit: 64,
            scrub: Pace {
                pause: Duration::from_secs(1),
                bytes_per_second: 16 << 20,
            },
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Edge {
    config: EdgeConfig,
    rng: Rng,
    mirror: Mirror,
    fetcher: Fetcher,
    ledger: Ledger,
    acks: Acks,
    scrub: Scrub,
    beat: u64,
    beat_at: Time,
    /// The write of the last heartbeat.
    beat_commit: Option<CommitId>,
    hello_at: Time,
    welcomed: bool,
}

impl Edge {
    pub fn new(config: EdgeConfig, mut rng: Rng) -> Self {
        let own_acks = format!("{}{}/", Key::ACKS, config.me.node);
        let prefixes = [Key::VERSIONS, &own_acks, Key::GATEWAYS];
        let mirror = Mirror::new(config.store, &prefixes, &mut rng);
        let fetcher_rng = Seed(rng.u64()).rng();
        Self {
            fetcher: Fetcher::new(FetcherConfig::new(config.origin), fetcher_rng),
            mirror,
            ledger: Ledger::default(),
            acks: Acks::default(),
            scrub: Scrub::new(config.scrub),
            // Readers compare beats for change only.
            beat: rng.u64(),
            beat_at: Time::ZERO,
            beat_commit: None,
            hello_at: Time::ZERO,
            welcomed: false,
            rng,
            config,
        }
    }

    /// Whether this edge has found the artifact whole in this life.
    pub fn holds(&self, artifact: &Digest) -> bool {
        self.ledger.holds(artifact)
    }

    fn on_message(&mut self, now: Now, from: Address, body: Message, fx: &mut Effects) {
        match body {
            Message::StoreFeed(feed) => self.on_feed(now, from, feed, fx),
            Message::StoreCommitReply(reply)
                if reply.is_refusal() && self.beat_commit == Some(CommitId(reply.id)) =>
            {
                self.beat_at = now.mono + self.config.beat_again;
            }
            Message::StoreCommitReply(reply) => {
                let revision = self.mirror.revision();
                self.acks
                    .on_reply(now, &reply, revision, self.config.commit_timeout);
            }
            Message::BlobData(data) => {
                let progress = self.fetcher.on_message(now, from, data, fx);
                self.on_progress(progress, fx);
            }
            Message::RegionWelcome(welcome)
                if from == self.config.control
                    && welcome.region == self.config.region
                    && !self.welcomed =>
            {
                self.welcomed = true;
                self.hello_at = now.mono + self.config.hello_every_welcomed;
            }
            _ => {}
        }
    }

    fn on_feed(&mut self, now: Now, from: Address, feed: StoreFeed, fx: &mut Effects) {
        for change in self.mirror.on_feed(now, from, feed, fx) {
            let Change { key, record, .. } = change;
            match (key, record) {
                (Key::Version(id), Some(Record::Version(spec))) => {
                    match Digest::try_from(&spec.artifact) {
                        Ok(artifact) => self.on_version(now, id, artifact, fx),
                        Err(error) => {
                            let what = format!("the artifact of version {id}: {error}");
                            fx.note(Note::Malformed { what });
                            self.on_version_gone(now, id, fx);
                        }
                    }
                }
                (Key::Version(id), _) => self.on_version_gone(now, id, fx),
                (Key::Ack { version, .. }, record) => {
                    let artifact = match record {
                        Some(Record::Ack(ack)) => Some(Digest::try_from(&ack.artifact).ok()),
                        _ => None,
                    };
                    self.ledger.set_ack(version, artifact);
                }
                (Key::Gateway(node), record) => self.on_gateway(node, record.is_some()),
                _ => {}
            }
        }
    }

    /// Another edge of the region may have what this one lacks.
    fn on_gateway(&mut self, node: NodeId, is_there: bool) {
        if node == self.config.me.node {
            return;
        }
        if is_there {
            self.fetcher.add_peer(origin_of(node));
        } else {
            self.fetcher.remove_peer(origin_of(node));
        }
    }

    fn on_version(&mut self, now: Now, id: u64, artifact: Digest, fx: &mut Effects) {
        if let Some(unneeded) = self.ledger.set_version(id, artifact) {
            self.fetcher.forget(now, &unneeded, fx);
        }
        if self.ledger.holds(&artifact) {
            fx.note(Note::Verified {
                version: id,
                artifact,
            });
        } else if !self.ledger.is_unusable(&artifact) {
            self.want(now, artifact, fx);
        }
    }

    fn on_version_gone(&mut self, now: Now, id: u64, fx: &mut Effects) {
        if let Some(unneeded) = self.ledger.remove_version(id) {
            self.fetcher.forget(now, &unneeded, fx);
        }
    }

    fn want(&mut self, now: Now, artifact: Digest, fx: &mut Effects) {
        if !self.fetcher.want(now, artifact, fx) {
            self.ledger.set_unusable(artifact);
        }
    }

    fn on_blob(&mut self, now: Now, report: BlobReport, fx: &mut Effects) {
        let found = self.scrub.on_blob(now, &report);
        let progress = self.fetcher.on_blob(now, report, fx);
        self.on_progress(progress, fx);
        match found {
            Some(Found::Damaged(artifact)) if self.ledger.holds(&artifact) => {
                fx.mark("a held artifact was found damaged");
                self.ledger.set_missing(artifact);
                self.want(now, artifact, fx);
            }
            Some(Found::Dropped) => {
                fx.mark("held artifacts are checked anew");
                for artifact in self.ledger.doubt_held() {
                    self.want(now, artifact, fx);
                }
            }
            _ => {}
        }
    }

    fn on_progress(&mut self, progress: Vec<Progress>, fx: &mut Effects) {
        for step in progress {
            match step {
                Progress::Fetched { digest } => {
                    for &version in self.ledger.set_held(digest) {
                        fx.note(Note::Verified {
                            version,
                            artifact: digest,
                        });
                    }
                }
                Progress::Missing { digest } => self.ledger.set_missing(digest),
                Progress::Unusable { digest, reason } => {
                    let what = format!("artifact {digest}: {reason}");
                    fx.note(Note::Malformed { what });
                    self.ledger.set_unusable(digest);
                }
            }
        }
    }

    fn on_timer(&mut self, now: Now, fx: &mut Effects) {
        self.mirror.on_timer(now, fx);
        self.fetcher.on_timer(now, fx);
        self.acks.on_timer(now, fx);
        self.scrub.on_timer(now, &self.ledger, fx);
        if now.mono >= self.beat_at {
            self.beat_at = now.mono + self.config.beat_every;
            self.send_beat(fx);
        }
        if now.mono >= self.hello_at {
            self.hello_at = now.mono
                + if self.welcomed {
                    self.config.hello_every_welcomed
                } else {
                    self.config.hello_every
                };
            fx.send(
                self.config.control,
                Message::RegionHello(RegionHello {
                    region: self.config.region.clone(),
                    store_node: self.config.store.node.0,
                }),
            );
            // What could not be used may have been a fault of the disk.
            for artifact in self.ledger.take_unusable() {
                self.want(now, artifact, fx);
            }
        }
    }

    /// Writes the heartbeat, blind: nobody else writes the record, and a lost one is
    /// followed by the next. One that was refused is followed soon: after three that are
    /// missing nobody waits for this gateway any more.
    fn send_beat(&mut self, fx: &mut Effects) {
        self.beat = self.beat.wrapping_add(1);
        let node = self.config.me.node;
        let record = Record::Gateway(GatewayRecord {
            node: node.0,
            name: self.config.name.clone(),
            region: self.config.region.clone(),
            hop_endpoint: self.config.hop_endpoint.clone(),
            beat: self.beat,
            actors: self.config.gateway_actors,
        });
        let write = Write {
            key: Key::Gateway(node).to_string(),
            value: Some(record.encode()),
        };
        let txn = Txn {
            preconditions: Vec::new(),
            writes: vec![write],
        };
        let id = CommitId(self.rng.u64());
        self.beat_commit = Some(id);
        fx.commit(id, self.config.store, txn);
    }

    /// Brings the acks in the store to what the ledger says, as far as may be now.
    fn reconcile(&mut self, now: Now, fx: &mut Effects) {
        if !self.mirror.is_loaded()
            || !self.acks.may_write(now, self.mirror.revision())
            || fx.buggify("buggify: an edge puts its acknowledgements off")
        {
            return;
        }
        let node = self.config.me.node;
        let txn = self
            .ledger
            .next_txn(node, &self.mirror, self.config.acks_per_commit);
        if let Some(txn) = txn {
            let id = CommitId(self.rng.u64());
            self.acks.asked(id, now.mono + self.config.commit_timeout);
            fx.commit(id, self.config.store, txn);
        }
    }
}

impl Actor for Edge {
    fn handle(&mut self, now: Now, event: Event, fx: &mut Effects) {
        match event {
            Event::Start | Event::Timer => self.on_timer(now, fx),
            Event::Message { from, body } => self.on_message(now, from, body, fx),
            Event::Blob(report) => self.on_blob(now, report, fx),
            Event::Engine(_) | Event::Driver(_) => {}
        }
        self.reconcile(now, fx);
    }

    fn next_deadline(&self) -> Option<(Time, &'static str)> {
        let own = [
            self.mirror.next_deadline(),
            (self.beat_at, "heartbeat"),
            (self.hello_at, "hello to control"),
            self.scrub.next_deadline(),
        ];
        let parts = [self.fetcher.next_deadline(), self.acks.next_deadline()];
        own.into_iter().chain(parts.into_iter().flatten()).min()
    }

    fn check(&self) {
        self.fetcher.check();
        self.ledger.check();
    }

    fn load(&self) -> Vec<Load> {
        self.fetcher.load()
    }
}
