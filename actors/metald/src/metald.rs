//! The actor: what each event means to the lives on this host.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use tidegate_artifact::{Fetcher, FetcherConfig, Progress};
use tidegate_kernel::{
    Actor, Change, DriverCommand, DriverInstance, DriverReport, Duration, Effect, Effects, Event,
    Load, Mirror, Note, Now, Rng, Seed, Time, origin_of,
};
use tidegate_protocol::{
    Address, Digest, InstanceRef, Key, Message, Provision, SlotState, StoreFeed,
};

use crate::{
    MetaldConfig,
    alarms::{Alarms, Deadline, Subject, restore_deadline},
    converge,
    heartbeat::Heartbeat,
    instance::Instance,
    life::{Life, Place},
    logs::LogReads,
    recovery::Phase,
    region::Region,
};

/// The state machine of one host. See the crate's page.
#[derive(Debug, Serialize, Deserialize)]
pub struct Metald {
    pub(crate) config: MetaldConfig,
    pub(crate) rng: Rng,
    pub(crate) mirror: Mirror,
    pub(crate) region: Region,
    pub(crate) phase: Phase,
    pub(crate) instances: BTreeMap<Life, Instance>,
    pub(crate) alarms: Alarms,
    pub(crate) fetcher: Fetcher,
    pub(crate) logs: LogReads,
    heartbeat: Heartbeat,
    /// The earliest of all deadlines; computed once for each event.
    #[serde(deserialize_with = "restore_deadline")]
    wake: Option<Deadline>,
}

impl Metald {
    /// A metald that knows nothing yet; [`Event::Start`] sets it to work.
    pub fn new(config: MetaldConfig, mut rng: Rng) -> Self {
        let prefixes = [Key::SLOTS, Key::VERSIONS, Key::LEASE, Key::GATEWAYS];
        let artifacts = FetcherConfig {
            origin_first: false,
            ..FetcherConfig::new(config.origin)
        };
        Self {
            mirror: Mirror::new(config.store, &prefixes, &mut rng),
            region: Region::default(),
            phase: Phase::Recovering { inventory: None },
            instances: BTreeMap::new(),
            alarms: Alarms::default(),
            heartbeat: Heartbeat::default(),
            fetcher: Fetcher::new(artifacts, Seed(rng.u64()).rng()),
            logs: LogReads::default(),
            wake: None,
            config,
            rng,
        }
    }

    /// Whether it has adopted what runs and takes on work.
    pub fn is_ready(&self) -> bool {
        self.is_serving()
    }

    fn on_start(&mut self, now: Now, fx: &mut Effects) {
        self.heartbeat.start(now);
        self.mirror.on_timer(now, fx);
        self.ask_inventory(now, fx);
        self.beat_host(now, fx);
        let offset = self.draw_offset(self.config.host_beat_every);
        let next = (now.mono + offset, "host heartbeat");
        self.alarms.set(Subject::HostBeat, Some(next));
    }

    fn on_timer(&mut self, now: Now, fx: &mut Effects) {
        self.mirror.on_timer(now, fx);
        self.fetcher.on_timer(now, fx);
        for subject in self.alarms.due(now.mono) {
            match subject {
                Subject::HostBeat => self.beat_host(now, fx),
                Subject::InstancesBeat => {
                    self.beat_instances(fx);
                    let next = now.mono + self.config.instances_beat_every;
                    self.alarms.set(subject, Some((next, "instance heartbeat")));
                }
                Subject::Inventory => self.ask_inventory(now, fx),
                Subject::Instance(life) => self.on_instance_time(now, life, fx),
                Subject::LogRead(request) => self.logs.give_up(request),
            }
        }
    }

    fn beat_host(&mut self, now: Now, fx: &mut Effects) {
        let next = self.heartbeat.host(now, &self.config, &mut self.rng, fx);
        self.alarms
            .set(Subject::HostBeat, Some((next, "host heartbeat")));
    }

    pub(crate) fn beat_instances(&mut self, fx: &mut Effects) {
        let statuses = self.instances.values().map(Instance::status);
        self.heartbeat
            .instances(&self.config, statuses, &mut self.rng, fx);
    }

    /// A moment in `(0, period]`, so that hosts that started together do not write together.
    pub(crate) fn draw_offset(&mut self, period: Duration) -> Duration {
        let nanos = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.rng.between(1, nanos.max(1)))
    }

    fn on_message(&mut self, now: Now, from: Address, body: Message, fx: &mut Effects) {
        match body {
            Message::StoreFeed(feed) => self.on_feed(now, from, feed, fx),
            Message::Provision(_) if fx.buggify("buggify: a host waits for its mirror") => {}
            Message::Provision(provision) => self.on_provision(now, provision, fx),
            Message::Stop(stop) => {
                if let Some(instance) = stop.instance {
                    self.act(now, instance.into(), fx, |i, turn| {
                        i.stop("the scheduler stops it", turn);
                    });
                }
            }
            Message::BlobData(data) => {
                let progress = self.fetcher.on_message(now, from, data, fx);
                self.on_progress(now, progress, fx);
            }
            Message::LogRead(read) => {
                self.logs
                    .ask(now, &self.config, from, read, &mut self.alarms, fx);
            }
            // What became of any other commit is seen in the mirror.
            Message::StoreCommitReply(reply) if from == self.config.store => {
                if let Some(again) = self.heartbeat.on_reply(now, &self.config, &reply) {
                    let why = "host heartbeat that was refused";
                    self.alarms.set(Subject::HostBeat, Some((again, why)));
                }
            }
            _ => {}
        }
    }

    fn on_feed(&mut self, now: Now, from: Address, feed: StoreFeed, fx: &mut Effects) {
        let changes = self.mirror.on_feed(now, from, feed, fx);
        for change in &changes {
            self.on_gateway_change(change);
        }
        let places = changes.into_iter().filter_map(|c| self.region.apply(c));
        let mut places: Vec<Place> = places.collect();
        places.sort_unstable();
        places.dedup();
        for place in places {
            self.on_slot_change(place);
            self.converge(now, place, fx);
        }
        self.try_recover(now, fx);
    }

    /// Every gateway node of the region has the artifacts of its versions. One that shares
    /// this host has the same blobs as it.
    fn on_gateway_change(&mut self, change: &Change) {
        match (&change.key, &change.record) {
            (Key::Gateway(node), _) if *node == self.config.me.node => {}
            (Key::Gateway(node), Some(_)) => self.fetcher.add_peer(origin_of(*node)),
            (Key::Gateway(node), None) => self.fetcher.remove_peer(origin_of(*node)),
            _ => {}
        }
    }

    /// A scheduler has claimed a slot for this host. The mirror says so too, sooner or
    /// later; when it does already, or when anything is still in the slot's place, the
    /// message is no news.
    fn on_provision(&mut self, now: Now, provision: Provision, fx: &mut Effects) {
        let (Some(slot), Some(spec)) = (provision.slot, provision.spec) else {
            return malformed("a Provision without a slot or a version", fx);
        };
        if slot.host != self.config.me.node.0 || spec.id != slot.version {
            return malformed("a Provision for another host or of another version", fx);
        }
        let life = Life::from(slot.instance());
        let known = self.region.slot(life.place).map(|s| s.epoch);
        let is_news = known.is_none_or(|epoch| epoch < life.epoch)
            && slot.state() == SlotState::Starting
            && self.lives_of(life.place).is_empty();
        if is_news && self.is_serving() {
            let claim = converge::announced(now, self.config.confirm_within);
            self.provision(now, life, Arc::new(spec), claim, fx);
        }
    }

    /// Artifacts have arrived, or never will: whoever waited for one goes on.
    fn on_progress(&mut self, now: Now, progress: Vec<Progress>, fx: &mut Effects) {
        for progress in progress {
            match progress {
                Progress::Fetched { digest } => {
                    for life in self.waiting_for(digest) {
                        self.act(now, life, fx, |i, turn| i.on_artifact(digest, turn));
                    }
                }
                Progress::Unusable { digest, reason } => {
                    let reason = format!("its artifact cannot be used: {reason}");
                    for life in self.waiting_for(digest) {
                        self.act(now, life, fx, |i, turn| i.fail(reason.clone(), turn));
                    }
                }
                // It is on its way; `start_timeout_ms` bounds the wait.
                Progress::Missing { .. } => {}
            }
        }
    }

    /// The lives that cannot go on before this artifact is here.
    pub(crate) fn waiting_for(&self, digest: Digest) -> Vec<Life> {
        let waits = |i: &&Instance| i.state.fetching() == Some(digest);
        let waiting = self.instances.values().filter(waits);
        waiting.map(|i| i.life).collect()
    }

    fn on_driver(&mut self, now: Now, report: DriverReport, fx: &mut Effects) {
        if let DriverReport::Log {
            request,
            cursor,
            lines,
        } = report
        {
            let alarms = &mut self.alarms;
            return self.logs.answer(request, cursor, lines, alarms, fx);
        }
        if !self.is_serving() {
            self.on_report_while_recovering(report);
            return self.try_recover(now, fx);
        }
        match report {
            DriverReport::Started { instance, endpoint } => {
                self.on_started(now, instance, endpoint, fx);
            }
            DriverReport::StartFailed { instance, reason } => {
                let again = self.instances.get_mut(&instance.into());
                if let Some(digest) = again.and_then(Instance::look_again) {
                    fx.mark("a start that failed is tried again");
                    return self.fetch(now, instance.into(), digest, fx);
                }
                self.act(now, instance.into(), fx, |i, turn| {
                    i.on_gone(&reason, "", turn);
                });
            }
            DriverReport::Checked { instance, healthy } => {
                self.act(now, instance.into(), fx, |i, turn| {
                    i.on_checked(healthy, turn);
                });
            }
            DriverReport::Exited {
                instance,
                reason,
                log_tail,
            } => {
                self.act(now, instance.into(), fx, |i, turn| {
                    i.on_gone(&reason, &log_tail, turn);
                });
            }
            DriverReport::Inventory(found) => self.on_inventory(now, &found, fx),
            DriverReport::Log { .. } => {}
        }
    }

    /// An end that nobody reported is seen in the inventory, which is asked for when an
    /// instance does not end.
    fn on_inventory(&mut self, now: Now, found: &[DriverInstance], fx: &mut Effects) {
        let found: BTreeSet<Life> = found.iter().map(|i| i.instance.into()).collect();
        let missing = self.instances.keys().filter(|life| !found.contains(life));
        let missing: Vec<Life> = missing.copied().collect();
        for life in missing {
            self.act(now, life, fx, Instance::on_missing);
        }
    }

    fn on_started(&mut self, now: Now, instance: InstanceRef, endpoint: String, fx: &mut Effects) {
        let life = Life::from(instance);
        if self.instances.get(&life).is_none_or(|i| i.state.is_gone()) {
            // Nobody would ever end it.
            fx.push(Effect::Driver(DriverCommand::Kill { instance }));
            return;
        }
        self.act(now, life, fx, |i, turn| i.on_started(endpoint, turn));
    }
}

fn malformed(what: &str, fx: &mut Effects) {
    fx.note(Note::Malformed {
        what: what.to_owned(),
    });
}

impl Actor for Metald {
    fn handle(&mut self, now: Now, event: Event, fx: &mut Effects) {
        match event {
            Event::Start => self.on_start(now, fx),
            Event::Timer => self.on_timer(now, fx),
            Event::Message { from, body } => self.on_message(now, from, body, fx),
            Event::Driver(report) => self.on_driver(now, report, fx),
            Event::Blob(report) => {
                let progress = self.fetcher.on_blob(now, report, fx);
                self.on_progress(now, progress, fx);
            }
            Event::Engine(_) => {}
        }
        let mirror = Some(self.mirror.next_deadline());
        let deadlines = [mirror, self.alarms.first(), self.fetcher.next_deadline()];
        self.wake = deadlines.into_iter().flatten().min();
    }

    fn next_deadline(&self) -> Option<(Time, &'static str)> {
        self.wake
    }

    fn check(&self) {
        self.check_invariants();
    }

    fn load(&self) -> Vec<Load> {
        let reads = Load::new("log reads", self.logs.len(), self.config.log_reads_max);
        let mut load = self.fetcher.load();
        load.push(reads);
        load
    }
}
