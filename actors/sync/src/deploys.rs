//! The deploys in progress: which are due, and how a decision becomes a commit or a message.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tidegate_kernel::{Effects, Mirror, Note, Now, Rng, Time};
use tidegate_protocol::{Message, StoreCommitReply, Wake, WakeReply, store_commit_reply::Outcome};

use crate::batch::Batch;
use crate::deploy::{Action, Progress, Situation, cutover_records, step_records};
use crate::lane::{Lane, Patience};
use crate::main_view::MainView;

#[derive(Debug, Serialize, Deserialize)]
struct Tracked {
    progress: Progress,
    lane: Lane,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Deploys {
    tracked: BTreeMap<u64, Tracked>,
    /// Those to decide at the end of this event.
    due: BTreeSet<u64>,
}

impl Deploys {
    /// Follows a change of a deploy's record.
    pub(crate) fn follow(
        &mut self,
        now: Now,
        main: &MainView,
        id: u64,
        patience: Patience,
        fx: &mut Effects,
    ) {
        let step = main.step_of(id);
        if !main.in_progress.contains(&id) {
            if let Some(mut ended) = self.tracked.remove(&id) {
                ended.lane.abandon(fx);
            }
            return;
        }
        let fresh = || Progress::new(now, step);
        let tracked = self.tracked.entry(id).or_insert_with(|| Tracked {
            progress: fresh(),
            lane: Lane::new(patience),
        });
        if tracked.progress.step != step {
            tracked.progress = fresh();
        }
        self.due.insert(id);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tracked.is_empty()
    }

    pub(crate) fn all_due(&mut self) {
        self.due.extend(self.tracked.keys());
    }

    pub(crate) fn due(&mut self, id: u64) {
        if self.tracked.contains_key(&id) {
            self.due.insert(id);
        }
    }

    pub(crate) fn project_due(&mut self, main: &MainView, project: &str) {
        for (_, id) in main.numbers_of(project) {
            self.due(id);
        }
    }

    pub(crate) fn on_wake_reply(&mut self, reply: WakeReply) {
        let version = reply.version;
        if let Some(tracked) = self.tracked.get_mut(&version) {
            tracked.progress.on_wake_reply(reply);
            self.due.insert(version);
        }
    }

    /// Takes the answer to one of its commits.
    pub(crate) fn on_answer(
        &mut self,
        now: Now,
        reply: &StoreCommitReply,
        outcome: &Outcome,
        context: (&Mirror, Patience, &mut Rng),
    ) -> bool {
        let (mirror, patience, rng) = context;
        for (id, tracked) in &mut self.tracked {
            let commit = tidegate_kernel::CommitId(reply.id);
            if tracked
                .lane
                .on_answer(now, commit, outcome, (mirror, patience, rng))
            {
                self.due.insert(*id);
                return true;
            }
        }
        false
    }

    pub(crate) fn on_time(
        &mut self,
        now: Now,
        patience: Patience,
        rng: &mut Rng,
        fx: &mut Effects,
    ) {
        for tracked in self.tracked.values_mut() {
            tracked.lane.on_time(now, patience, rng, fx);
        }
    }

    /// Decides what is due.
    pub(crate) fn advance(
        &mut self,
        situation: &Situation<'_>,
        mirror: &Mirror,
        rng: &mut Rng,
        fx: &mut Effects,
    ) {
        for id in std::mem::take(&mut self.due) {
            let Some(tracked) = self.tracked.get_mut(&id) else {
                continue;
            };
            if tracked.lane.is_free(situation.now, mirror) {
                tracked.advance(situation, id, mirror, rng, fx);
            }
        }
    }

    pub(crate) fn next_deadline(
        &self,
        patience: Patience,
        last: Time,
    ) -> Option<(Time, &'static str)> {
        let lanes = self.tracked.values().map(|t| &t.lane);
        let deadlines = lanes.filter_map(|lane| lane.next_deadline(patience, last));
        deadlines.min_by_key(|(at, _)| *at)
    }

    pub(crate) fn check(&self, main: &MainView) {
        assert!(
            self.tracked.keys().eq(main.in_progress.iter()),
            "the deploys in progress are those that are followed"
        );
    }
}

impl Tracked {
    fn advance(
        &mut self,
        situation: &Situation<'_>,
        id: u64,
        mirror: &Mirror,
        rng: &mut Rng,
        fx: &mut Effects,
    ) {
        let main = situation.main;
        let Some(deploy) = main.deploys.get(&id) else {
            return;
        };
        let records = match situation.decide(deploy, &mut self.progress) {
            Action::Wait => return,
            Action::Wake(scheduler) => {
                let wake = Wake {
                    version: id,
                    demand: 1,
                };
                return fx.send(scheduler, Message::Wake(wake));
            }
            Action::Step {
                step,
                reason,
                log_tail,
            } => step_records(deploy, step, reason, log_tail),
            Action::CutOver => match main.projects.get(&deploy.project) {
                Some(project) => cutover_records(deploy, project),
                None => return,
            },
        };
        let mut batch = Batch::new(mirror);
        if !batch.add(records) {
            // No record of a deploy comes near the bounds of a transaction.
            return fx.note(Note::Full { queue: "step" });
        }
        if let Some(txn) = batch.finish() {
            self.lane.commit(situation.now, mirror, txn, rng, fx);
        }
    }
}
