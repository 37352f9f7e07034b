//! What a gateway actor knows of one version: where it runs, who waits for it.

use core::net::SocketAddr;
use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use tidegate_kernel::{Duration, Rng, Ticket, Time};
use tidegate_protocol::{AppKind, Digest, InstanceRef, NodeId, VersionSpec};

/// Position in the gateway's table of versions.
pub(crate) type VersionIndex = u32;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Instance {
    pub(crate) instance: InstanceRef,
    pub(crate) endpoint: SocketAddr,
    pub(crate) host: NodeId,
    pub(crate) in_flight: u32,
    pub(crate) refused_until: Time,
    /// Its host has stopped sending heartbeats.
    pub(crate) silent: bool,
}

/// The last answer of the scheduler that is still worth acting on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Block {
    None,
    NoCapacity { until: Time },
    Failed { until: Time, reason: String },
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Version {
    pub(crate) id: u64,
    /// Absent after the record was deleted, while requests remain.
    pub(crate) spec: Option<Spec>,
    pub(crate) acked: bool,
    pub(crate) instances: Vec<Instance>,
    pub(crate) waiting: VecDeque<Ticket>,
    /// Admitted and not finished, waiting included.
    pub(crate) admitted: u32,
    pub(crate) last_used: Option<Time>,
    pub(crate) wake_sent: Option<Time>,
    pub(crate) wake_wanted: u32,
    pub(crate) block: Block,
}

/// The part of a [`VersionSpec`] that routing needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub(crate) kind: AppKind,
    pub(crate) artifact: Digest,
    pub(crate) concurrency: u32,
    pub(crate) regions: Vec<String>,
}

impl Spec {
    pub(crate) fn of(spec: &VersionSpec) -> Option<Spec> {
        Some(Spec {
            kind: spec.kind(),
            artifact: Digest::try_from(&spec.artifact).ok()?,
            concurrency: spec.concurrency.max(1),
            regions: spec.regions.clone(),
        })
    }

    pub(crate) fn may_run_in(&self, region: &str) -> bool {
        self.regions.is_empty() || self.regions.iter().any(|r| r == region)
    }
}

impl Version {
    pub(crate) fn new(id: u64) -> Self {
        Self {
            id,
            spec: None,
            acked: false,
            instances: Vec::new(),
            waiting: VecDeque::new(),
            admitted: 0,
            last_used: None,
            wake_sent: None,
            wake_wanted: 0,
            block: Block::None,
        }
    }

    pub(crate) fn instance_mut(&mut self, instance: InstanceRef) -> Option<&mut Instance> {
        self.instances.iter_mut().find(|i| i.instance == instance)
    }

    /// Least in flight of two drawn at random; when neither can take a request, of all.
    /// `None`: nothing that runs can take it now.
    pub(crate) fn pick(
        &self,
        now: Time,
        avoid: Option<InstanceRef>,
        rng: &mut Rng,
    ) -> Option<usize> {
        let concurrency = self.spec.as_ref()?.concurrency;
        let able = |i: &usize| {
            let instance = &self.instances[*i];
            !instance.silent
                && instance.in_flight < concurrency
                && instance.refused_until <= now
                && (avoid != Some(instance.instance) || self.instances.len() == 1)
        };
        let load = |i: &usize| self.instances[*i].in_flight;
        let len = self.instances.len();
        let drawn = match len {
            0 => None,
            1 => Some(0).filter(able),
            _ => {
                let first = rng.index(len)?;
                let second = (first + 1 + rng.index(len - 1)?) % len;
                [first, second].into_iter().filter(able).min_by_key(load)
            }
        };
        if drawn.is_some() || len < 3 {
            return drawn;
        }
        (0..len).filter(able).min_by_key(load)
    }

    /// Instances that the present demand calls for.
    pub(crate) fn wanted(&self) -> u32 {
        let concurrency = self.spec.as_ref().map_or(1, |s| s.concurrency);
        self.admitted.div_ceil(concurrency)
    }

    pub(crate) fn was_used_within(&self, now: Time, window: Duration) -> bool {
        self.admitted > 0 || self.last_used.is_some_and(|t| now.since(t) < window)
    }

    /// Nothing refers to it any more.
    pub(crate) fn is_forgotten(&self) -> bool {
        self.spec.is_none() && self.admitted == 0 && self.instances.is_empty() && !self.acked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_kernel::Seed;

    fn version(in_flight: &[u32]) -> Version {
        let mut version = Version::new(1);
        version.spec = Some(Spec {
            kind: AppKind::Program,
            artifact: Digest([0; 32]),
            concurrency: 10,
            regions: Vec::new(),
        });
        version.instances = in_flight
            .iter()
            .enumerate()
            .map(|(i, &in_flight)| Instance {
                instance: InstanceRef {
                    version: 1,
                    slot: i as u32,
                    epoch: 1,
                },
                endpoint: ([127, 0, 0, 1], 1000).into(),
                host: NodeId(1),
                in_flight,
                refused_until: Time::ZERO,
                silent: false,
            })
            .collect();
        version
    }

    fn picks(version: &Version, avoid: Option<InstanceRef>) -> Vec<usize> {
        let mut rng = Seed(1).rng();
        let mut seen: Vec<usize> = (0..200)
            .filter_map(|_| version.pick(Time(5), avoid, &mut rng))
            .collect();
        seen.sort_unstable();
        seen.dedup();
        seen
    }

    #[test]
    fn the_less_loaded_of_two_wins() {
        assert_eq!(picks(&version(&[3, 1]), None), [1]);
        assert_eq!(picks(&version(&[0, 5, 9]), None), [0, 1]);
    }

    #[test]
    fn saturated_silent_and_refusing_instances_are_passed_over() {
        let mut some = version(&[10, 0, 0, 4]);
        some.instances[1].silent = true;
        some.instances[2].refused_until = Time(6);
        assert_eq!(picks(&some, None), [3]);
        assert_eq!(picks(&version(&[10, 10]), None), []);
        assert_eq!(picks(&version(&[]), None), []);
    }

    #[test]
    fn the_avoided_instance_is_taken_only_when_it_is_alone() {
        let two = version(&[0, 0]);
        assert_eq!(picks(&two, Some(two.instances[0].instance)), [1]);
        let one = version(&[0]);
        assert_eq!(picks(&one, Some(one.instances[0].instance)), [0]);
    }

    #[test]
    fn when_neither_of_two_can_take_it_everybody_is_asked() {
        let mut rng = Seed(1).rng();
        for in_flight in [&[10, 10, 4][..], &[10, 10, 10, 4]] {
            let version = version(in_flight);
            let free = in_flight.len() - 1;
            for _ in 0..100 {
                assert_eq!(version.pick(Time(5), None, &mut rng), Some(free));
            }
        }
    }

    #[test]
    fn a_version_is_used_while_it_has_requests_and_a_while_longer() {
        let window = Duration::from_nanos(10);
        let mut version = version(&[]);
        assert!(!version.was_used_within(Time(100), window));
        version.admitted = 1;
        assert!(version.was_used_within(Time(100), window));
        version.admitted = 0;
        version.last_used = Some(Time(91));
        assert!(version.was_used_within(Time(100), window));
        assert!(!version.was_used_within(Time(101), window));
    }
}
