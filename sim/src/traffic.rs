//! When clients send: a Poisson process for each app and region, faster in a spike.

use tidegate_kernel::{Rng, Seed};

use crate::clock::SimTime;
use crate::draw::exponential;
use crate::scenario::{Scenario, Traffic};
use crate::topology::Topology;

/// The clients of one app in one region.
#[derive(Debug)]
pub struct Stream {
    /// Which of the scenario's traffics it is of.
    pub traffic: usize,
    pub app: u32,
    pub region: usize,
    /// Mean nanoseconds between two requests from a moment on; the last entry ends the
    /// stream.
    phases: Vec<(SimTime, Option<u64>)>,
    phase: usize,
    /// The next event only begins a phase.
    turning: bool,
    pub rng: Rng,
}

/// What the next event of a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// A request is sent now.
    pub sends: bool,
    pub next: Option<SimTime>,
}

pub fn streams(scenario: &Scenario, topology: &Topology, seed: Seed) -> Vec<Stream> {
    let mut streams = Vec::new();
    for (t, traffic) in scenario.traffic.iter().enumerate() {
        let named = traffic.regions.get_ref();
        let regions: Vec<usize> = (0..topology.regions.len())
            .filter(|r| named.is_empty() || named.contains(&topology.regions[*r]))
            .collect();
        let app = scenario
            .apps
            .iter()
            .position(|a| a.name.get_ref() == traffic.app.get_ref());
        let rate = traffic.per_second.get_ref() / regions.len() as f64;
        for region in regions {
            let label = (t << 8 | region) as u64;
            streams.push(Stream {
                traffic: t,
                app: app.unwrap_or_default() as u32,
                region,
                phases: phases(traffic, rate, scenario.duration.get_ref().nanos()),
                phase: 0,
                turning: true,
                rng: seed.derive("clients").derive_index(label).rng(),
            });
        }
    }
    streams
}

/// The rate between any two moments at which it changes.
fn phases(traffic: &Traffic, rate: f64, duration: SimTime) -> Vec<(SimTime, Option<u64>)> {
    let from = traffic.from.get_ref().nanos();
    let until = traffic
        .until
        .as_ref()
        .map_or(duration, |u| u.get_ref().nanos());
    let mut moments = vec![from, until];
    for spike in &traffic.spikes {
        let at = spike.at.get_ref().nanos();
        moments.extend([at, at + spike.length.nanos()]);
    }
    moments.retain(|m| (from..=until).contains(m));
    moments.sort_unstable();
    moments.dedup();
    moments
        .into_iter()
        .map(|moment| {
            let times: f64 = traffic
                .spikes
                .iter()
                .filter(|s| {
                    let at = s.at.get_ref().nanos();
                    (at..at + s.length.nanos()).contains(&moment)
                })
                .map(|s| s.times)
                .product();
            let mean = 1e9 / (rate * times);
            (moment, (moment < until).then_some(mean as u64))
        })
        .collect()
}

impl Stream {
    pub fn first(&self) -> SimTime {
        self.phases[0].0
    }

    /// The event of the stream at `now`: whether a request is sent, and when the next event
    /// is. At the end of a phase the waiting time is drawn anew, which a memoryless process
    /// allows.
    #[inline]
    pub fn tick(&mut self, now: SimTime) -> Tick {
        let sends = !self.turning;
        if self.turning
            && self
                .phases
                .get(self.phase + 1)
                .is_some_and(|(at, _)| *at <= now)
        {
            self.phase += 1;
        }
        let Some(mean) = self.phases[self.phase].1 else {
            return Tick { sends, next: None };
        };
        let turn = self.phases.get(self.phase + 1).map(|(at, _)| *at);
        let next = now + exponential(&mut self.rng, mean).max(1);
        self.turning = turn.is_some_and(|turn| next >= turn);
        let next = if self.turning { turn } else { Some(next) };
        Tick { sends, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Builtin;

    #[test]
    fn a_spike_multiplies_the_rate() {
        let text = Builtin::find("flash-crowd").unwrap().text;
        let scenario = Scenario::parse("t", text).unwrap();
        let topology = Topology::new(&scenario);
        let mut stream = streams(&scenario, &topology, Seed(1)).remove(0);
        let mut at = stream.first();
        let mut counts = [0u64; 3];
        while let Tick {
            sends,
            next: Some(next),
        } = stream.tick(at)
        {
            if sends {
                let second = at / 1_000_000_000;
                counts[usize::from(second >= 80) + usize::from(second >= 140)] += 1;
            }
            assert!(next > at);
            at = next;
        }
        assert!((1_800..2_200).contains(&counts[0]), "{counts:?}");
        assert!((297_000..303_000).contains(&counts[1]), "{counts:?}");
        assert!((7_600..8_400).contains(&counts[2]), "{counts:?}");
        assert_eq!(at, 300_000_000_000);
    }
}
