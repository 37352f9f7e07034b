//! The sync actor: carries the main store to every region, and deploys to their end.
//!
//! It is level-triggered. Whatever happens (a change, a crash, a region that comes back after
//! a day), it compares what should be with what its mirrors show and commits the difference,
//! with preconditions on what it saw. It keeps nothing that it could not find again, so a
//! crash costs time only; its former life's commits that are still under way are either what
//! it would do itself or refused by their preconditions.
//!
//! It is the only writer of `version/`, `route/` and `peer/` in a partition, creates slots
//! and deletes them, and otherwise leaves slots to their schedulers and hosts. It never
//! writes from a mirror that is not loaded, and never waits for a region that cannot be
//! reached.
//!
//! A heartbeat costs a lookup; a change costs the project that it touches; everything is
//! compared once a minute.

mod batch;
mod config;
mod deploy;
mod deploys;
mod instances;
mod lane;
mod main_view;
mod projection;
mod region;
mod region_view;
mod removal;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_kernel::{Actor, Change, CommitId, Effects, Event, Mirror, Note, Now, Rng, Time};
use tidegate_protocol::{
    Address, ApiError, ApiReply, ApiRequest, GatewayRecord, Key, Message, NodeId, Record, Role,
    StoreCommitReply, StoreFeed, api_request,
};

pub use config::SyncConfig;

use batch::Batch;
use deploy::Situation;
use deploys::Deploys;
use lane::Lane;
use main_view::{MainView, Touched};
use projection::{LiveGateways, Scope};
use region::{Consequences, Region};

/// The sync actor.
#[derive(Debug, Serialize, Deserialize)]
pub struct Sync {
    config: SyncConfig,
    rng: Rng,
    mirror: Mirror,
    main: MainView,
    main_live: bool,
    regions: BTreeMap<String, Region>,
    gateways: LiveGateways,
    gateways_changed: bool,
    deploys: Deploys,
    /// Commits that delete what remains of removed projects.
    removals: BTreeMap<String, Lane>,
    /// Commits that delete old versions.
    history: Lane,
    history_due: bool,
    tick_at: Time,
    liveness_at: Time,
    compare_at: Time,
    last: Time,
}

impl Sync {
    pub fn new(config: SyncConfig, mut rng: Rng) -> Self {
        let prefixes = [Key::PROJECTS, Key::VERSIONS, Key::DEPLOYS, Key::REGIONS];
        let mirror = Mirror::new(config.main_store, &prefixes, &mut rng);
        Self {
            history: Lane::new(config.patience()),
            config,
            rng,
            mirror,
            main: MainView::default(),
            main_live: false,
            regions: BTreeMap::new(),
            gateways: BTreeMap::new(),
            gateways_changed: false,
            deploys: Deploys::default(),
            removals: BTreeMap::new(),
            history_due: false,
            tick_at: Time::ZERO,
            liveness_at: Time::ZERO,
            compare_at: Time::ZERO,
            last: Time::ZERO,
        }
    }

    fn on_message(&mut self, now: Now, from: Address, body: Message, fx: &mut Effects) {
        match body {
            Message::StoreFeed(feed) if from == self.config.main_store => {
                self.on_main_feed(now, from, feed, fx);
            }
            Message::StoreFeed(feed) => self.on_region_feed(now, from, feed, fx),
            Message::StoreCommitReply(reply) => self.on_commit_reply(now, from, &reply),
            Message::WakeReply(reply) if from.role == Role::Scheduler => {
                self.deploys.on_wake_reply(reply);
            }
            Message::ApiRequest(request) => self.on_request(from, request, fx),
            _ => {}
        }
    }

    fn on_main_feed(&mut self, now: Now, from: Address, feed: StoreFeed, fx: &mut Effects) {
        let loaded = self.mirror.is_loaded();
        for change in self.mirror.on_feed(now, from, feed, fx) {
            if loaded {
                tell(&self.main, &change, fx);
            }
            let deploy = match change.key {
                Key::Deploy(id) => Some(id),
                _ => None,
            };
            match self.main.apply(change) {
                Touched::Nothing => {}
                Touched::Project(project) => {
                    self.deploys.project_due(&self.main, &project);
                    for region in self.regions.values_mut() {
                        region.scope.projects.insert(project.clone());
                    }
                }
                Touched::Region(name) => self.place_region(now, name, fx),
            }
            if let Some(id) = deploy {
                self.deploys
                    .follow(now, &self.main, id, self.config.patience(), fx);
                self.tick_at = self.tick_at.min(now.mono + self.config.tick);
            }
        }
    }

    /// Begins, moves or ends the mirror of a region as its record says.
    fn place_region(&mut self, now: Now, name: String, fx: &mut Effects) {
        self.gateways_changed = true;
        let store = self.main.regions.get(&name).map(|record| {
            Address::new(
                NodeId(record.store_node),
                Role::Store,
                Address::PARTITION_STORE,
            )
        });
        let known = self.regions.get(&name).map(|region| region.mirror.store());
        if store == known {
            return;
        }
        if let Some(mut left) = self.regions.remove(&name) {
            left.lane.abandon(fx);
        }
        if let Some(store) = store {
            let patience = self.config.patience();
            let region = Region::new(now, name.clone(), store, patience, &mut self.rng);
            self.regions.insert(name, region);
        }
        self.deploys.all_due();
    }

    fn on_region_feed(&mut self, now: Now, from: Address, feed: StoreFeed, fx: &mut Effects) {
        // The session tells regions apart that share a store by mistake.
        for region in self
            .regions
            .values_mut()
            .filter(|r| r.mirror.store() == from)
        {
            let Consequences { versions, gateways } = region.on_feed(now, from, feed.clone(), fx);
            for id in versions {
                self.deploys.due(id);
            }
            if gateways {
                self.gateways_changed = true;
                self.deploys.all_due();
            }
        }
    }

    fn on_commit_reply(&mut self, now: Now, from: Address, reply: &StoreCommitReply) {
        let Some(outcome) = &reply.outcome else {
            return;
        };
        let commit = CommitId(reply.id);
        let patience = self.config.patience();
        let rng = &mut self.rng;
        if from == self.config.main_store {
            let context = (&self.mirror, patience, &mut *rng);
            if self.deploys.on_answer(now, reply, outcome, context) {
                return;
            }
            for lane in self.removals.values_mut().chain([&mut self.history]) {
                lane.on_answer(now, commit, outcome, (&self.mirror, patience, &mut *rng));
            }
            return;
        }
        for region in self
            .regions
            .values_mut()
            .filter(|r| r.mirror.store() == from)
        {
            let context = (&region.mirror, patience, &mut *rng);
            region.lane.on_answer(now, commit, outcome, context);
        }
    }

    fn on_request(&self, from: Address, request: ApiRequest, fx: &mut Effects) {
        let Some(api_request::Call::ListInstances(call)) = request.call else {
            return;
        };
        let reply = if self.main_live {
            let regions: Vec<&Region> = self.regions.values().collect();
            instances::list(&self.main, &regions, request.id, &call)
        } else {
            ApiReply {
                id: request.id,
                error: ApiError::Unavailable.into(),
                reason: "the main store cannot be reached; try again in some seconds".into(),
                ..ApiReply::default()
            }
        };
        fx.send(from, Message::ApiReply(reply));
    }

    fn on_time(&mut self, now: Now, fx: &mut Effects) {
        let patience = self.config.patience();
        self.mirror.on_timer(now, fx);
        for region in self.regions.values_mut() {
            region.mirror.on_timer(now, fx);
            region.lane.on_time(now, patience, &mut self.rng, fx);
        }
        self.deploys.on_time(now, patience, &mut self.rng, fx);
        for lane in self.removals.values_mut().chain([&mut self.history]) {
            lane.on_time(now, patience, &mut self.rng, fx);
        }
        if now.mono >= self.liveness_at {
            self.liveness_at = now.mono + self.config.liveness_tick;
            for region in self.regions.values_mut() {
                let after = self.config.gateway_silence;
                if region.view.find_silent(now, &region.mirror, after) {
                    self.gateways_changed = true;
                    self.deploys.all_due();
                }
            }
        }
        if now.mono >= self.compare_at {
            self.compare_at = now.mono + self.config.compare_every;
            self.history_due = true;
            for region in self.regions.values_mut() {
                region.scope = Scope::everything();
            }
        }
    }

    fn watch_liveness(&mut self, now: Now, fx: &mut Effects) {
        let live = self.mirror.is_live(now);
        if live != self.main_live {
            self.main_live = live;
            let store = self.config.main_store;
            fx.note(Note::Feed { store, live });
            self.deploys.all_due();
        }
        for region in self.regions.values_mut() {
            if region.watch_liveness(now, fx) {
                self.gateways_changed = true;
                self.deploys.all_due();
            }
        }
    }

    fn gather_gateways(&mut self) {
        if !std::mem::take(&mut self.gateways_changed) {
            return;
        }
        let loaded = self.regions.values().filter(|r| r.mirror.is_loaded());
        let gateways: LiveGateways = loaded
            .map(|region| {
                let live = region.view.live_gateways();
                let peers = live.map(|(node, record)| (node, as_peer(region, record)));
                (region.name.clone(), peers.collect())
            })
            .collect();
        self.gateways = gateways;
        for region in self.regions.values_mut() {
            region.scope.peers = true;
        }
    }

    /// Commits whatever is different and can be written.
    fn converge(&mut self, now: Now, fx: &mut Effects) {
        if !self.mirror.is_loaded() {
            return;
        }
        self.gather_gateways();
        for region in self.regions.values_mut() {
            if fx.buggify("buggify: sync passes a region over") {
                continue;
            }
            region.project(now, &self.main, &self.gateways, &mut self.rng, fx);
        }
        let ticked = now.mono >= self.tick_at;
        if ticked {
            self.deploys.all_due();
        }
        if self.main_live {
            let regions: Vec<&Region> = self.regions.values().collect();
            let situation = Situation {
                now,
                main: &self.main,
                regions: &regions,
                pace: self.config.pace(),
            };
            self.deploys
                .advance(&situation, &self.mirror, &mut self.rng, fx);
            if ticked {
                self.remove_projects(now, fx);
            }
            self.shorten_history(now, fx);
        }
        if ticked {
            self.tick_at = now.mono + self.config.tick;
        }
    }

    fn remove_projects(&mut self, now: Now, fx: &mut Effects) {
        self.removals
            .retain(|project, _| self.main.removed.contains(project));
        let regions: Vec<&Region> = self.regions.values().collect();
        for project in &self.main.removed {
            let patience = self.config.patience();
            let lane = self
                .removals
                .entry(project.clone())
                .or_insert_with(|| Lane::new(patience));
            if !lane.is_free(now, &self.mirror) {
                continue;
            }
            let mut batch = Batch::new(&self.mirror);
            removal::removed_project(&self.main, &regions, project, &mut batch);
            if let Some(txn) = batch.finish() {
                lane.commit(now, &self.mirror, txn, &mut self.rng, fx);
            }
        }
    }

    fn shorten_history(&mut self, now: Now, fx: &mut Effects) {
        if !self.history_due || !self.history.is_free(now, &self.mirror) {
            return;
        }
        for project in self.main.projects.keys() {
            let mut batch = Batch::new(&self.mirror);
            removal::old_versions(
                &self.main,
                project,
                self.config.versions_recorded,
                &mut batch,
            );
            if let Some(txn) = batch.finish() {
                return self
                    .history
                    .commit(now, &self.mirror, txn, &mut self.rng, fx);
            }
        }
        self.history_due = false;
    }
}

impl Actor for Sync {
    fn handle(&mut self, now: Now, event: Event, fx: &mut Effects) {
        self.last = now.mono;
        match event {
            Event::Start => {
                self.compare_at = now.mono + self.config.compare_every;
                self.history_due = true;
            }
            Event::Message { from, body } => self.on_message(now, from, body, fx),
            Event::Timer => {}
            Event::Engine(_) | Event::Driver(_) | Event::Blob(_) => return,
        }
        self.on_time(now, fx);
        self.watch_liveness(now, fx);
        self.converge(now, fx);
    }

    fn next_deadline(&self) -> Option<(Time, &'static str)> {
        let patience = self.config.patience();
        let lane = |lane: &Lane| lane.next_deadline(patience, self.last);
        let regions = self.regions.values();
        let busy = !self.deploys.is_empty() || !self.main.removed.is_empty();
        let own = [
            Some(self.mirror.next_deadline()),
            Some((self.compare_at, "compare in full")),
            (!self.regions.is_empty()).then_some((self.liveness_at, "look for silent gateways")),
            (busy && self.main_live).then_some((self.tick_at, "look at deploys and removals")),
            self.deploys.next_deadline(patience, self.last),
            lane(&self.history),
        ];
        let of_regions = regions.flat_map(|r| [Some(r.mirror.next_deadline()), lane(&r.lane)]);
        let of_removals = self.removals.values().map(lane);
        let all = own.into_iter().chain(of_regions).chain(of_removals);
        all.flatten().min_by_key(|(at, _)| *at)
    }

    fn check(&self) {
        self.deploys.check(&self.main);
        assert!(
            self.regions.keys().eq(self.main.regions.keys()),
            "the regions that are mirrored are those that are known"
        );
    }
}

/// Reports what a change of the main store means to people.
fn tell(main: &MainView, change: &Change, fx: &mut Effects) {
    match &change.record {
        Some(Record::Deploy(deploy)) if main.step_of(deploy.version) != deploy.step() => {
            fx.note(Note::Deploy {
                version: deploy.version,
                step: deploy.step(),
                reason: deploy.reason.clone(),
            });
        }
        Some(Record::Project(project)) => {
            let active = main.projects.get(&project.name).map_or(0, |old| old.active);
            if project.active != active && project.active != 0 {
                fx.note(Note::Cutover {
                    project: project.name.clone(),
                    version: project.active,
                    epoch: project.epoch,
                });
            }
        }
        _ => {}
    }
}

/// A gateway as other regions know it: its beat stays in its own region.
fn as_peer(region: &Region, record: &GatewayRecord) -> GatewayRecord {
    GatewayRecord {
        region: region.name.clone(),
        beat: 0,
        ..record.clone()
    }
}
