//! One region: its mirror, what the mirror shows, and what remains to be compared.

use serde::{Deserialize, Serialize};
use tidegate_kernel::{Effects, Mirror, Note, Now, Rng, Time};
use tidegate_protocol::{Address, SlotState, StoreFeed};

use crate::batch::Batch;
use crate::lane::{Lane, Patience};
use crate::main_view::MainView;
use crate::projection::{LiveGateways, Partition, Scope};
use crate::region_view::{RegionView, Touched};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Region {
    pub(crate) name: String,
    pub(crate) mirror: Mirror,
    pub(crate) view: RegionView,
    pub(crate) lane: Lane,
    /// What may differ from the projection.
    pub(crate) scope: Scope,
    /// Since when this life knows of the region.
    pub(crate) known_since: Time,
    pub(crate) live: bool,
}

/// What the changes of a region ask of the rest of sync.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Consequences {
    /// Versions whose deploy may go on.
    pub(crate) versions: Vec<u64>,
    pub(crate) gateways: bool,
}

impl Region {
    pub(crate) fn new(
        now: Now,
        name: String,
        store: Address,
        patience: Patience,
        rng: &mut Rng,
    ) -> Self {
        Self {
            name,
            // The empty prefix: everything.
            mirror: Mirror::new(store, &[""], rng),
            view: RegionView::default(),
            lane: Lane::new(patience),
            scope: Scope::everything(),
            known_since: now.mono,
            live: false,
        }
    }

    pub(crate) fn on_feed(
        &mut self,
        now: Now,
        from: Address,
        feed: StoreFeed,
        fx: &mut Effects,
    ) -> Consequences {
        let mut consequences = Consequences::default();
        for change in self.mirror.on_feed(now, from, feed, fx) {
            match self.view.apply(now, change) {
                Touched::Nothing => {}
                Touched::Project(project) => {
                    self.scope.projects.insert(project);
                }
                Touched::Version(id) => {
                    self.scope.versions.insert(id);
                    consequences.versions.push(id);
                }
                Touched::Slot { version, state } => {
                    self.on_slot(version, state, &mut consequences);
                }
                Touched::Ack(version) => consequences.versions.push(version),
                Touched::Gateways => consequences.gateways = true,
                Touched::Peers => self.scope.peers = true,
            }
        }
        consequences
    }

    /// Slots change with every wake and sleep. Only a free slot of a version that has left
    /// is to be deleted.
    fn on_slot(&mut self, version: u64, state: SlotState, consequences: &mut Consequences) {
        match state {
            SlotState::Running => consequences.versions.push(version),
            SlotState::Free if !self.view.versions.contains_key(&version) => {
                self.scope.versions.insert(version);
            }
            SlotState::Free => consequences.versions.push(version),
            _ => {}
        }
    }

    /// Notes whether the region can be reached; says whether that changed.
    pub(crate) fn watch_liveness(&mut self, now: Now, fx: &mut Effects) -> bool {
        let live = self.mirror.is_live(now);
        if live == self.live {
            return false;
        }
        self.live = live;
        let store = self.mirror.store();
        fx.note(Note::Feed { store, live });
        if live {
            self.scope = Scope::everything();
        }
        true
    }

    /// Commits the next part of what differs from the projection.
    pub(crate) fn project(
        &mut self,
        now: Now,
        main: &MainView,
        gateways: &LiveGateways,
        rng: &mut Rng,
        fx: &mut Effects,
    ) {
        if self.scope.is_empty() || !self.live || !self.lane.is_free(now, &self.mirror) {
            return;
        }
        let mut batch = Batch::new(&self.mirror);
        let partition = Partition {
            main,
            region: &self.name,
            view: &self.view,
        };
        partition.difference(&self.scope, gateways, &mut batch);
        match batch.finish() {
            Some(txn) => self.lane.commit(now, &self.mirror, txn, rng, fx),
            None => self.scope = Scope::default(),
        }
    }
}
