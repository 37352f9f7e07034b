//! What a metald does before it knows what it runs.
//!
//! After a start, what runs here is in the driver and what should run is in the store; until
//! both have spoken, nothing is begun and nothing is ended. Then every instance whose slot
//! names this host and its epoch is adopted, and the rest is ended: also an instance whose
//! version is gone, since nobody can say how to check or to stop it.

use serde::{Deserialize, Serialize};
use tidegate_kernel::{DriverCommand, DriverInstance, DriverReport, Effect, Effects, Now};

use crate::{
    Metald,
    alarms::Subject,
    health::Probe,
    instance,
    life::{Claim, Life, Standing, standing},
    states::{Running, Starting, State, Stop, Stopping},
};

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// Waits for the inventory, and for a live mirror.
    Recovering {
        inventory: Option<Vec<DriverInstance>>,
    },
    Serving,
}

impl Metald {
    pub(crate) fn is_serving(&self) -> bool {
        self.phase == Phase::Serving
    }

    /// Asks the driver what runs, until it answers.
    pub(crate) fn ask_inventory(&mut self, now: Now, fx: &mut Effects) {
        if !matches!(self.phase, Phase::Recovering { inventory: None }) {
            return;
        }
        fx.push(Effect::Driver(DriverCommand::Inventory));
        let again = now.mono + self.config.inventory_every;
        let deadline = (again, "ask for the inventory again");
        self.alarms.set(Subject::Inventory, Some(deadline));
    }

    /// Keeps the inventory true while the mirror is waited for.
    pub(crate) fn on_report_while_recovering(&mut self, report: DriverReport) {
        let Phase::Recovering { inventory } = &mut self.phase else {
            return;
        };
        match report {
            DriverReport::Inventory(found) => {
                *inventory = Some(found);
                self.alarms.set(Subject::Inventory, None);
            }
            // Before the inventory nothing has to be kept: it will list what started.
            DriverReport::Started { instance, endpoint } => {
                if let Some(found) = inventory {
                    found.retain(|i| i.instance != instance);
                    found.push(DriverInstance { instance, endpoint });
                }
            }
            DriverReport::Exited { instance, .. } => {
                if let Some(found) = inventory {
                    found.retain(|i| i.instance != instance);
                }
            }
            _ => {}
        }
    }

    /// Takes up work once both sides have spoken.
    pub(crate) fn try_recover(&mut self, now: Now, fx: &mut Effects) {
        if !self.mirror.is_live(now) {
            return;
        }
        let Phase::Recovering { inventory } = &mut self.phase else {
            return;
        };
        let Some(found) = inventory.take() else {
            return;
        };
        self.phase = Phase::Serving;
        for one in found {
            self.adopt(now, one, fx);
        }
        for place in self.region.places_of(self.config.me.node) {
            self.converge(now, place, fx);
        }
        self.beat_instances(fx);
        let offset = self.draw_offset(self.config.instances_beat_every);
        let next = (now.mono + offset, "instance heartbeat");
        self.alarms.set(Subject::InstancesBeat, Some(next));
    }

    /// Takes an instance of a former life over, or ends it.
    fn adopt(&mut self, now: Now, found: DriverInstance, fx: &mut Effects) {
        let life = Life::from(found.instance);
        let slot = self.region.slot(life.place);
        let standing = standing(self.config.me.node, slot, life.epoch, Claim::Seen);
        let spec = self.region.version(life.place.version);
        let probe = Probe::Idle { next: now.mono };
        let adopted = match (standing, &spec) {
            (Standing::Superseded, _) => Err("its slot is no longer its own"),
            (_, None) => Err("its version is gone"),
            (Standing::Starting, Some(spec)) => Ok(State::Starting(Starting {
                start_by: now.mono + instance::start_timeout(Some(spec)),
                endpoint: found.endpoint,
                probe,
                pause: self.config.check_first,
            })),
            (Standing::Running | Standing::Stopping | Standing::Unclear, Some(_)) => {
                Ok(State::Running(Running {
                    endpoint: found.endpoint,
                    probe,
                    failures: 0,
                }))
            }
        };
        match adopted {
            Ok(state) => self.begin(now, life, spec, Claim::Seen, state, "adopted", fx),
            Err(reason) => {
                let grace = instance::stop_grace(spec.as_deref(), &self.config);
                let step = Stop::Terminating {
                    kill_at: now.mono + grace,
                };
                let state = State::Stopping(Stopping { step });
                fx.push(Effect::Driver(DriverCommand::Terminate {
                    instance: found.instance,
                }));
                self.begin(now, life, spec, Claim::Seen, state, reason, fx);
            }
        }
    }
}
