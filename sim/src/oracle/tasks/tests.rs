use super::*;
use tidegate_protocol::{AckRecord, NodeId, RouteRecord, SlotRecord};

/// The main store and one partition, written commit by commit.
#[derive(Default)]
struct History {
    oracle: Tasks,
    findings: Findings,
    store: BTreeMap<Key, Record>,
    revision: u64,
}

impl History {
    fn written(&mut self, key: Key, after: Option<Record>) -> Written {
        let before = match &after {
            Some(record) => self.store.insert(key.clone(), record.clone()),
            None => self.store.remove(&key),
        };
        Written {
            key,
            before,
            after,
            revision: self.revision,
        }
    }

    fn commit(&mut self, writes: &[(Key, Option<Record>)]) {
        self.revision += 1;
        let writes: Vec<Written> = writes
            .iter()
            .map(|(key, record)| self.written(key.clone(), record.clone()))
            .collect();
        self.oracle.on_main(&writes, &mut self.findings);
    }

    fn partition(&mut self, key: Key, after: Option<Record>) {
        let written = self.written(key, after);
        self.oracle.on_partition(0, &written, &mut self.findings);
    }

    fn push(&mut self, id: u64, epoch: u64, active: u64) {
        self.commit(&[
            version(id),
            deploy(id, DeployStep::Distribute, 0),
            project(active, epoch, false),
        ]);
    }

    /// In the region it is projected, acknowledged, and runs.
    fn arrive(&mut self, id: u64) {
        self.partition(Key::Version(id), version(id).1);
        let ack = Record::Ack(AckRecord::default());
        self.partition(ack_key(id), Some(ack));
        self.partition(slot_key(id), Some(slot(id, SlotState::Running)));
    }

    fn cut_over(&mut self, id: u64, epoch: u64) {
        self.commit(&[
            deploy(id, DeployStep::Live, epoch),
            project(id, epoch, false),
        ]);
    }

    /// One version, live in epoch 1.
    fn live() -> Self {
        let mut history = Self::default();
        history.push(1, 0, 0);
        history.arrive(1);
        history.commit(&[deploy(1, DeployStep::Prove, 0)]);
        history.cut_over(1, 1);
        history
    }
}

fn version(id: u64) -> (Key, Option<Record>) {
    let spec = VersionSpec {
        id,
        project: "shop".into(),
        number: id as u32,
        kind: AppKind::Program.into(),
        ..VersionSpec::default()
    };
    (Key::Version(id), Some(Record::Version(spec)))
}

fn deploy(id: u64, step: DeployStep, epoch: u64) -> (Key, Option<Record>) {
    let reason = match step {
        DeployStep::Failed | DeployStep::Superseded => "because",
        _ => "",
    };
    let record = DeployRecord {
        version: id,
        project: "shop".into(),
        step: step.into(),
        reason: reason.into(),
        epoch,
        idempotency_key: format!("push {id}"),
        ..DeployRecord::default()
    };
    (Key::Deploy(id), Some(Record::Deploy(record)))
}

fn project(active: u64, epoch: u64, latched: bool) -> (Key, Option<Record>) {
    let record = ProjectRecord {
        name: "shop".into(),
        active,
        epoch,
        latched,
        ..ProjectRecord::default()
    };
    (Key::Project("shop".into()), Some(Record::Project(record)))
}

fn removed(epoch: u64) -> (Key, Option<Record>) {
    let record = ProjectRecord {
        name: "shop".into(),
        epoch,
        removed: true,
        ..ProjectRecord::default()
    };
    (Key::Project("shop".into()), Some(Record::Project(record)))
}

fn slot(version: u64, state: SlotState) -> Record {
    Record::Slot(SlotRecord {
        version,
        state: state.into(),
        ..SlotRecord::default()
    })
}

fn route(version: u64, epoch: u64) -> Record {
    Record::Route(RouteRecord {
        project: "shop".into(),
        version,
        epoch,
        hosts: Vec::new(),
    })
}

fn slot_key(version: u64) -> Key {
    Key::Slot { version, index: 0 }
}

fn ack_key(version: u64) -> Key {
    Key::Ack {
        node: NodeId(4),
        version,
    }
}

/// Goes on from one live version, and expects so many findings.
fn check(expected: u64, goes_on: impl FnOnce(&mut History)) {
    let mut history = History::live();
    assert_eq!(history.findings.count(5), 0, "{:?}", history.findings);
    goes_on(&mut history);
    let found = history.findings.count(5);
    assert_eq!(found, expected, "{:?}", history.findings.kept());
}

#[test]
fn what_the_platform_does_is_allowed() {
    check(0, |h| {
        h.push(2, 1, 1);
        h.arrive(2);
        h.commit(&[deploy(2, DeployStep::Prove, 0)]);
        h.cut_over(2, 2);
        // Back, which latches; a push behind the latch; and on.
        h.commit(&[project(1, 3, true), deploy(1, DeployStep::Live, 3)]);
        h.commit(&[
            version(3),
            deploy(3, DeployStep::Distribute, 0),
            project(1, 3, true),
        ]);
        h.arrive(3);
        h.commit(&[deploy(3, DeployStep::Prove, 0)]);
        h.commit(&[deploy(3, DeployStep::Ready, 0), project(1, 3, true)]);
        h.commit(&[project(3, 4, false), deploy(3, DeployStep::Live, 4)]);
        h.partition(Key::Route("shop".into()), Some(route(1, 3)));
        h.partition(Key::Route("shop".into()), Some(route(3, 4)));
        // A push that fails, one that is overtaken, and the end.
        h.push(4, 4, 3);
        h.commit(&[deploy(4, DeployStep::Failed, 0)]);
        h.push(5, 4, 3);
        h.push(6, 4, 3);
        h.commit(&[deploy(5, DeployStep::Superseded, 0)]);
        h.commit(&[removed(5)]);
        h.commit(&[deploy(6, DeployStep::Failed, 0)]);
        h.partition(Key::Version(1), None);
        h.partition(slot_key(1), Some(slot(1, SlotState::Free)));
        h.partition(slot_key(1), None);
        let gone = |id| [(Key::Version(id), None), (Key::Deploy(id), None)];
        let mut all: Vec<(Key, Option<Record>)> = (1..=6).flat_map(gone).collect();
        all.push((Key::Project("shop".into()), None));
        h.commit(&all);
        h.push(7, 5, 0);
    });
}

#[test]
fn steps_that_go_back_or_leave_an_end_are_found() {
    for step in [DeployStep::Distribute, DeployStep::Prove] {
        check(1, |h| h.commit(&[deploy(1, step, 1)]));
    }
    check(1, |h| {
        h.push(2, 1, 1);
        h.commit(&[deploy(2, DeployStep::Failed, 0)]);
        h.commit(&[deploy(2, DeployStep::Distribute, 0)]);
    });
}

#[test]
fn steps_that_are_skipped_are_found() {
    // Nothing was acknowledged; then, nothing ran.
    check(1, |h| {
        h.push(2, 1, 1);
        h.commit(&[deploy(2, DeployStep::Prove, 0)]);
    });
    check(1, |h| {
        h.push(2, 1, 1);
        h.arrive(2);
        h.oracle.ran.remove(&2);
        h.cut_over(2, 2);
    });
}

#[test]
fn cutovers_that_are_not_one_epoch_of_one_deploy_are_found() {
    // Two epochs at once, an epoch without a deploy, a deploy without an epoch, and a
    // deploy that arrives after a later push.
    check(1, |h| h.commit(&[project(1, 3, false)]));
    check(1, |h| h.commit(&[project(7, 2, false)]));
    check(1, |h| h.commit(&[deploy(1, DeployStep::Live, 2)]));
    check(1, |h| {
        h.push(2, 1, 1);
        h.push(3, 1, 1);
        h.arrive(2);
        h.cut_over(2, 2);
    });
    check(1, |h| {
        h.push(2, 1, 1);
        h.arrive(2);
        h.commit(&[deploy(2, DeployStep::Ready, 0), project(1, 1, false)]);
    });
}

#[test]
fn identifiers_that_are_given_twice_are_found() {
    check(2, |h| {
        h.commit(&[version(1), deploy(2, DeployStep::Distribute, 0)])
    });
    check(1, |h| {
        let (key, record) = deploy(1, DeployStep::Distribute, 0);
        let Some(Record::Deploy(mut again)) = record else {
            panic!("{key}");
        };
        again.version = 2;
        h.commit(&[version(2), (Key::Deploy(2), Some(Record::Deploy(again)))]);
    });
}

#[test]
fn tasks_that_are_lost_or_end_in_silence_are_found() {
    check(1, |h| h.commit(&[(Key::Deploy(1), None)]));
    check(2, |h| h.commit(&[(Key::Project("shop".into()), None)]));
    check(1, |h| {
        h.push(2, 1, 1);
        let (key, record) = deploy(2, DeployStep::Failed, 0);
        let Some(Record::Deploy(mut silent)) = record else {
            panic!("{key}");
        };
        silent.reason.clear();
        h.commit(&[(key, Some(Record::Deploy(silent)))]);
    });
}

#[test]
fn what_partitions_take_is_judged_too() {
    check(1, |h| {
        h.partition(ack_key(9), Some(Record::Ack(AckRecord::default())))
    });
    check(1, |h| h.partition(slot_key(1), None));
    check(1, |h| {
        h.partition(Key::Route("shop".into()), Some(route(9, 1)))
    });
    check(1, |h| {
        h.push(2, 1, 1);
        h.arrive(2);
        h.cut_over(2, 2);
        h.partition(Key::Route("shop".into()), Some(route(2, 2)));
        h.partition(Key::Route("shop".into()), Some(route(1, 1)));
    });
}
