//! Guarantee 13: after the faults all partition stores equal the projection of the main
//! store, and every reachable gateway serves the newest epoch.
//!
//! The projection is written down here a second time, on purpose: an oracle that called
//! sync's own code could not find its mistakes. What the design leaves open (whether a
//! superseded version is kept) is not judged.

use tidegate_protocol::limits::VERSIONS_KEPT;
use tidegate_protocol::{
    AppKind, DeployStep, Key, NodeId, ProjectRecord, Record, RouteRecord, SlotRecord, SlotState,
    VersionSpec,
};

use super::Findings;
use crate::ledger::StoreView;

/// What a gateway actor says that it serves of a project: version and epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serving {
    pub gateway: String,
    pub project: String,
    pub serves: Option<(u64, u64)>,
}

/// A gateway node as it really is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayNode {
    pub region: String,
    pub node: NodeId,
    /// Where other regions' gateways reach it.
    pub hop_endpoint: String,
}

#[derive(Debug, Default)]
pub struct Converged {
    pub checks: u64,
}

impl Converged {
    /// Compares one partition with the main store.
    pub fn check_partition(
        &mut self,
        region: &str,
        main: &StoreView,
        partition: &StoreView,
        findings: &mut Findings,
    ) {
        for project in main.projects().filter(|p| !p.removed) {
            self.check_route(region, project, partition, findings);
            for spec in kept(main, project) {
                self.check_version(region, spec, partition, findings);
            }
        }
        for (key, record) in partition.iter() {
            self.checks += 1;
            let why = match record {
                Record::Route(route) => stray_route(main, route),
                Record::Version(spec) => stray_version(main, spec),
                Record::Slot(slot) if slot.state() == SlotState::Free => {
                    stray_slot(main, region, slot)
                }
                _ => None,
            };
            if let Some(why) = why {
                findings.violated(13, format!("{region} still holds {key}, but {why}"));
            }
        }
    }

    /// Compares the peers that a partition names with the gateways of the other regions.
    pub fn check_peers(
        &mut self,
        region: &str,
        gateways: &[GatewayNode],
        partition: &StoreView,
        findings: &mut Findings,
    ) {
        let others = || gateways.iter().filter(|g| g.region != region);
        for g in others() {
            self.checks += 1;
            let key = Key::Peer {
                region: g.region.clone(),
                node: g.node,
            };
            let known = match partition.get(&key) {
                Some(Record::Peer(peer)) => peer.hop_endpoint == g.hop_endpoint,
                _ => false,
            };
            if !known {
                findings.violated(13, format!("{region} does not know the gateway {key}"));
            }
        }
        for (key, _) in partition.iter() {
            let Key::Peer { region: r, node } = key else {
                continue;
            };
            self.checks += 1;
            if !others().any(|g| g.region == *r && g.node == *node) {
                findings.violated(13, format!("{region} still holds {key}, which is nowhere"));
            }
        }
    }

    /// A request for an app that was removed has ended; `unknown`: as for any host name that
    /// nobody has.
    pub fn removed_app_ended(&mut self, host: &str, unknown: bool, findings: &mut Findings) {
        self.checks += 1;
        if !unknown {
            findings.violated(
                13,
                format!("{host} is still routed, but its app was removed"),
            );
        }
    }

    fn check_route(
        &mut self,
        region: &str,
        project: &ProjectRecord,
        partition: &StoreView,
        findings: &mut Findings,
    ) {
        if project.active == 0 {
            return;
        }
        self.checks += 1;
        let right = RouteRecord {
            project: project.name.clone(),
            version: project.active,
            epoch: project.epoch,
            hosts: project.hosts.clone(),
        };
        match partition.get(&Key::Route(project.name.clone())) {
            Some(Record::Route(route)) if *route == right => {}
            Some(Record::Route(route)) => findings.violated(
                13,
                format!(
                    "{region} routes {} to version {} of epoch {}, the newest is {} of {}",
                    project.name, route.version, route.epoch, project.active, project.epoch
                ),
            ),
            _ => findings.violated(13, format!("{region} has no route of {}", project.name)),
        }
    }

    fn check_version(
        &mut self,
        region: &str,
        spec: &VersionSpec,
        partition: &StoreView,
        findings: &mut Findings,
    ) {
        self.checks += 1;
        if partition.version(spec.id) != Some(spec) {
            findings.violated(
                13,
                format!("{region} does not hold version {} as it is", spec.id),
            );
        }
        let runs_here = spec.regions.is_empty() || spec.regions.iter().any(|r| r == region);
        if spec.kind() != AppKind::Program || !runs_here {
            return;
        }
        for index in 0..spec.instances_max {
            let key = Key::Slot {
                version: spec.id,
                index,
            };
            if partition.get(&key).is_none() {
                findings.violated(13, format!("{region} lacks {key}"));
            }
        }
    }

    /// Compares what the gateways serve with the main store.
    pub fn check_gateways(
        &mut self,
        main: &StoreView,
        serving: &[Serving],
        findings: &mut Findings,
    ) {
        for s in serving {
            self.checks += 1;
            let newest = main
                .project(&s.project)
                .filter(|p| !p.removed && p.active != 0)
                .map(|p| (p.active, p.epoch));
            if s.serves != newest {
                findings.violated(
                    13,
                    format!(
                        "{} serves {:?} of {}, the newest is {newest:?} (version, epoch)",
                        s.gateway, s.serves, s.project
                    ),
                );
            }
        }
    }
}

/// Versions that every partition must hold: the active one, and the newest that are LIVE or
/// READY.
fn kept<'a>(main: &'a StoreView, project: &ProjectRecord) -> Vec<&'a VersionSpec> {
    let mut ready: Vec<&VersionSpec> = main
        .iter()
        .filter_map(|(_, record)| match record {
            Record::Version(spec) if spec.project == project.name => Some(spec),
            _ => None,
        })
        .filter(|spec| {
            matches!(
                step(main, spec.id),
                Some(DeployStep::Live | DeployStep::Ready)
            )
        })
        .collect();
    ready.sort_by_key(|spec| std::cmp::Reverse(spec.number));
    let mut rank = 0;
    ready.retain(|spec| {
        rank += 1;
        rank <= VERSIONS_KEPT || spec.id == project.active
    });
    ready
}

fn step(main: &StoreView, version: u64) -> Option<DeployStep> {
    match main.get(&Key::Deploy(version)) {
        Some(Record::Deploy(deploy)) => Some(deploy.step()),
        _ => None,
    }
}

fn stray_route(main: &StoreView, route: &RouteRecord) -> Option<&'static str> {
    match main.project(&route.project) {
        None => Some("its project does not exist"),
        Some(project) if project.removed => Some("its project was removed"),
        Some(_) => None,
    }
}

fn stray_version(main: &StoreView, spec: &VersionSpec) -> Option<&'static str> {
    match main.project(&spec.project) {
        None => return Some("its project does not exist"),
        Some(project) if project.removed => return Some("its project was removed"),
        Some(_) => {}
    }
    match step(main, spec.id) {
        None => Some("the main store does not know it"),
        Some(DeployStep::Failed) => Some("its deploy failed"),
        Some(_) => None,
    }
}

fn stray_slot(main: &StoreView, region: &str, slot: &SlotRecord) -> Option<&'static str> {
    let Some(spec) = main.version(slot.version) else {
        return Some("its version does not exist");
    };
    let here = spec.regions.is_empty() || spec.regions.iter().any(|r| r == region);
    if !here || spec.kind() != AppKind::Program {
        return Some("its version does not run there");
    }
    (slot.index >= spec.instances_max).then_some("its version may not have so many")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;
    use tidegate_protocol::{DeployRecord, FeedEntry, GatewayRecord};

    fn project(active: u64, epoch: u64) -> Record {
        Record::Project(ProjectRecord {
            name: "shop".into(),
            active,
            epoch,
            hosts: vec!["shop.example".into()],
            ..ProjectRecord::default()
        })
    }

    fn version() -> Record {
        Record::Version(VersionSpec {
            id: 1,
            project: "shop".into(),
            number: 1,
            kind: AppKind::Program.into(),
            instances_max: 1,
            ..VersionSpec::default()
        })
    }

    fn deploy(step: DeployStep) -> Record {
        Record::Deploy(DeployRecord {
            version: 1,
            project: "shop".into(),
            step: step.into(),
            ..DeployRecord::default()
        })
    }

    fn route(epoch: u64) -> Record {
        Record::Route(RouteRecord {
            project: "shop".into(),
            version: 1,
            epoch,
            hosts: vec!["shop.example".into()],
        })
    }

    fn slot() -> Record {
        Record::Slot(SlotRecord {
            version: 1,
            state: SlotState::Free.into(),
            ..SlotRecord::default()
        })
    }

    fn key_of(record: &Record) -> Key {
        match record {
            Record::Project(_) => Key::Project("shop".into()),
            Record::Version(_) => Key::Version(1),
            Record::Deploy(_) => Key::Deploy(1),
            Record::Route(_) => Key::Route("shop".into()),
            _ => Key::Slot {
                version: 1,
                index: 0,
            },
        }
    }

    fn check(expected: u64, main: &[Record], partition: &[Record]) {
        let mut ledger = Ledger::new(1, &[]);
        for (store, records) in [(0, main), (1, partition)] {
            let entries: Vec<FeedEntry> = records
                .iter()
                .map(|record| FeedEntry {
                    key: key_of(record).to_string(),
                    value: Some(record.encode()),
                    revision: 1,
                })
                .collect();
            ledger.apply(store, &entries);
        }
        let (mut oracle, mut findings) = (Converged::default(), Findings::default());
        oracle.check_partition("syd", ledger.main(), ledger.region(0), &mut findings);
        assert_eq!(findings.count(13), expected, "{:?}", findings.kept());
    }

    #[test]
    fn an_equal_partition_is_fine_and_every_difference_is_found() {
        let main = [project(1, 4), version(), deploy(DeployStep::Live)];
        check(0, &main, &[route(4), version(), slot()]);
        check(1, &main, &[route(3), version(), slot()]);
        check(1, &main, &[version(), slot()]);
        check(1, &main, &[route(4), slot()]);
        check(1, &main, &[route(4), version()]);
        check(3, &[], &[route(4), version(), slot()]);
        let failed = [project(0, 0), version(), deploy(DeployStep::Failed)];
        check(1, &failed, &[version()]);
    }

    #[test]
    fn slots_where_none_may_be_are_found() {
        let main = [project(1, 4), version(), deploy(DeployStep::Live)];
        let beyond = SlotRecord {
            version: 1,
            index: 1,
            state: SlotState::Free.into(),
            ..SlotRecord::default()
        };
        let ledger = {
            let mut ledger = Ledger::new(1, &[]);
            for record in &main {
                let entry = FeedEntry {
                    key: key_of(record).to_string(),
                    value: Some(record.encode()),
                    revision: 1,
                };
                ledger.apply(0, &[entry]);
            }
            ledger
        };
        assert!(stray_slot(ledger.main(), "syd", &beyond).is_some());
        let first = SlotRecord { index: 0, ..beyond };
        assert_eq!(stray_slot(ledger.main(), "syd", &first), None);
    }

    #[test]
    fn missing_and_stray_peers_are_found() {
        let gateway = |region: &str, node| GatewayNode {
            region: region.into(),
            node: NodeId(node),
            hop_endpoint: format!("10.0.0.{node}:8443"),
        };
        let gateways = [gateway("syd", 1), gateway("mel", 2)];
        for (peers, expected) in [(&[2][..], 0), (&[], 1), (&[2, 3], 1), (&[3], 2)] {
            let mut ledger = Ledger::new(1, &[]);
            for node in peers {
                let record = Record::Peer(GatewayRecord {
                    hop_endpoint: format!("10.0.0.{node}:8443"),
                    ..GatewayRecord::default()
                });
                let key = Key::Peer {
                    region: "mel".into(),
                    node: NodeId(*node),
                };
                let entry = FeedEntry {
                    key: key.to_string(),
                    value: Some(record.encode()),
                    revision: 1,
                };
                ledger.apply(1, &[entry]);
            }
            let (mut oracle, mut findings) = (Converged::default(), Findings::default());
            oracle.check_peers("syd", &gateways, ledger.region(0), &mut findings);
            assert_eq!(findings.count(13), expected, "{:?}", findings.kept());
        }
    }

    #[test]
    fn a_removed_app_that_answers_is_found() {
        let (mut oracle, mut findings) = (Converged::default(), Findings::default());
        oracle.removed_app_ended("a.example", true, &mut findings);
        assert_eq!(findings.count(13), 0);
        oracle.removed_app_ended("a.example", false, &mut findings);
        assert_eq!(findings.count(13), 1);
    }

    #[test]
    fn a_gateway_that_lags_is_found() {
        let mut ledger = Ledger::new(1, &[]);
        ledger.apply(
            0,
            &[FeedEntry {
                key: "project/shop".into(),
                value: Some(project(1, 4).encode()),
                revision: 1,
            }],
        );
        let serving = |serves| Serving {
            gateway: "gw".into(),
            project: "shop".into(),
            serves,
        };
        let (mut oracle, mut findings) = (Converged::default(), Findings::default());
        let fine = [serving(Some((1, 4)))];
        oracle.check_gateways(ledger.main(), &fine, &mut findings);
        assert_eq!(findings.count(13), 0);
        let lagging = [serving(Some((1, 3))), serving(None)];
        oracle.check_gateways(ledger.main(), &lagging, &mut findings);
        assert_eq!(findings.count(13), 2);
    }
}
