//! When clients send: for each app and region a stream, faster in a spike.
//!
//! Open streams send whatever comes of it: a Poisson process, or one whose rate rises and
//! falls with the day or is switched on and off for times of a heavy-tailed distribution.
//! Both are a Poisson process whose rate changes, so waiting times can be drawn anew at every
//! change. A closed stream is a number of clients that wait for their answers.
//!
//! A stream draws from a seed of its own, named after app and region, so that taking another
//! stream away changes nothing about it.

use std::collections::BTreeMap;

use tidegate_kernel::{Rng, Seed};

use crate::clock::SimTime;
use crate::draw::{exponential, pareto};
use crate::scenario::{Arrivals, Scenario, Traffic};
use crate::topology::Topology;

/// How far the rate of a day swings around its mean, as a share of it.
const SWING: f64 = 0.8;

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
    /// The next event only changes the rate.
    turning: bool,
    shape: Shape,
    pub rng: Rng,
}

/// What makes the rate of a stream what it is, besides its phases.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Steady,
    /// So many clients wait for their answers.
    Closed {
        clients: u32,
    },
    Bursts(Bursts),
    /// Length of the day.
    Day {
        period: u64,
    },
}

#[derive(Clone, Copy, Debug)]
struct Bursts {
    mean_on: u64,
    mean_off: u64,
    on: bool,
    /// Until when it is as it is.
    until: SimTime,
}

impl Bursts {
    /// Switches on or off when it is time to.
    fn advance(&mut self, now: SimTime, rng: &mut Rng) {
        while self.until <= now {
            self.on = !self.on;
            let mean = if self.on { self.mean_on } else { self.mean_off };
            self.until += pareto(rng, mean).max(1);
        }
    }

    /// The share of the mean distance between requests that is left in a burst, so that the
    /// mean over bursts and silence stays.
    fn within(&self, mean: u64) -> u64 {
        let (on, off) = (u128::from(self.mean_on), u128::from(self.mean_off));
        (u128::from(mean) * on / (on + off)) as u64
    }
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
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    for (t, traffic) in scenario.traffic.iter().enumerate() {
        let named = traffic.regions.get_ref();
        let regions: Vec<usize> = (0..topology.regions.len())
            .filter(|r| named.is_empty() || named.contains(&topology.regions[*r]))
            .collect();
        let app = traffic.app.get_ref().as_str();
        let place = scenario.apps.iter().position(|a| a.name.get_ref() == app);
        let times = seen.entry(app).or_default();
        let clients = seed.derive("clients").derive(app).derive_index(*times);
        *times += 1;
        let rate = traffic.per_second.get_ref() / regions.len() as f64;
        for (turn, region) in (0..).zip(&regions) {
            streams.push(Stream {
                traffic: t,
                app: place.unwrap_or_default() as u32,
                region: *region,
                phases: phases(traffic, rate, scenario.duration.get_ref().nanos()),
                phase: 0,
                turning: true,
                shape: shape(traffic, turn, regions.len() as u32),
                rng: clients.derive(&topology.regions[*region]).rng(),
            });
        }
    }
    streams
}

/// The shape of a traffic in the `turn`th of its regions.
fn shape(traffic: &Traffic, turn: u32, regions: u32) -> Shape {
    let nanos = |span: &Option<toml::Spanned<crate::scenario::Span>>| {
        span.as_ref().map_or(1, |s| s.get_ref().nanos()).max(1)
    };
    match traffic.arrivals {
        Arrivals::Poisson => Shape::Steady,
        Arrivals::Closed => {
            let all = traffic.clients.as_ref().map_or(1, |n| *n.get_ref());
            let more = u32::from(turn < all % regions);
            Shape::Closed {
                clients: all / regions + more,
            }
        }
        Arrivals::OnOff => Shape::Bursts(Bursts {
            mean_on: nanos(&traffic.on),
            mean_off: nanos(&traffic.off),
            on: false,
            until: traffic.from.get_ref().nanos(),
        }),
        Arrivals::Diurnal => Shape::Day {
            period: nanos(&traffic.period),
        },
    }
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
    /// is. When the rate changes the waiting time is drawn anew, which a memoryless process
    /// allows.
    #[inline]
    pub fn tick(&mut self, now: SimTime) -> Tick {
        self.advance(now);
        let mut sends = !self.turning;
        let Some(mean) = self.phases[self.phase].1 else {
            return Tick { sends, next: None };
        };
        let phase_ends = self.phases.get(self.phase + 1).map(|(at, _)| *at);
        let (mean, turn) = match &mut self.shape {
            Shape::Steady => (mean, phase_ends),
            Shape::Closed { .. } => {
                return Tick {
                    sends: true,
                    next: None,
                };
            }
            Shape::Bursts(bursts) => {
                bursts.advance(now, &mut self.rng);
                let turn = phase_ends.map_or(bursts.until, |end| end.min(bursts.until));
                if !bursts.on {
                    self.turning = true;
                    let next = Some(turn);
                    return Tick { sends, next };
                }
                (bursts.within(mean), Some(turn))
            }
            Shape::Day { period } => {
                // Requests come at the rate of the busiest hour, and some are not sent.
                let busy = (1.0 + SWING * day(now, *period)) / (1.0 + SWING);
                sends = sends && self.rng.unit() < busy;
                ((mean as f64 / (1.0 + SWING)) as u64, phase_ends)
            }
        };
        let next = now + exponential(&mut self.rng, mean).max(1);
        self.turning = turn.is_some_and(|turn| next >= turn);
        let next = if self.turning { turn } else { Some(next) };
        Tick { sends, next }
    }

    /// Enters the phase of a moment.
    #[inline]
    fn advance(&mut self, now: SimTime) {
        let begun = |next: &(SimTime, Option<u64>)| next.0 <= now;
        while self.phases.get(self.phase + 1).is_some_and(begun) {
            self.phase += 1;
        }
    }

    /// How many clients of a closed stream begin; each with an event of its own.
    pub fn clients(&self) -> u32 {
        match self.shape {
            Shape::Closed { clients } => clients,
            _ => 1,
        }
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.shape, Shape::Closed { .. })
    }

    /// When a client of a closed stream sends next that is free from `now` on; `None` when
    /// the stream has ended by then.
    pub fn thinks(&mut self, now: SimTime) -> Option<SimTime> {
        let Shape::Closed { clients } = self.shape else {
            return None;
        };
        self.advance(now);
        let mean = self.phases[self.phase]
            .1?
            .saturating_mul(u64::from(clients));
        let next = now + exponential(&mut self.rng, mean).max(1);
        let end = self.phases.last().map_or(0, |(at, _)| *at);
        (next < end).then_some(next)
    }
}

/// The sine of the time of the day.
fn day(now: SimTime, period: u64) -> f64 {
    let part = (now % period) as f64 / period as f64;
    libm::sin(part * std::f64::consts::TAU)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Builtin;
    use std::collections::BTreeSet;

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

    const SECOND: u64 = 1_000_000_000;

    fn of(arrivals: &str, seed: u64) -> Vec<Stream> {
        let text = format!(
            "name = \"t\"\nabout = \"\"\nduration = \"40m\"\nfaults_end = \"30s\"\n\
             [topology]\nregions = [\"syd\", \"mel\"]\nhosts = 1\ngateways = 1\n\
             [[apps]]\nname = \"shop\"\n[[apps]]\nname = \"pages\"\n\
             [[traffic]]\napp = \"shop\"\nfrom = \"0s\"\nper_second = 40.0\n{arrivals}\n"
        );
        let scenario = Scenario::parse("t", &text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        streams(&scenario, &Topology::new(&scenario), Seed(seed))
    }

    /// Moments at which an open stream sends.
    fn moments(stream: &mut Stream) -> Vec<SimTime> {
        let mut at = stream.first();
        let mut sent = Vec::new();
        loop {
            let tick = stream.tick(at);
            if tick.sends {
                sent.push(at);
            }
            match tick.next {
                Some(next) => at = next,
                None => return sent,
            }
        }
    }

    fn per_bucket(moments: &[SimTime], length: u64) -> Vec<u64> {
        let mut counts = vec![0; (2_400 * SECOND / length) as usize];
        for at in moments {
            counts[(at / length) as usize] += 1;
        }
        counts
    }

    #[test]
    fn every_open_arrival_has_the_rate_that_it_says() {
        for arrivals in [
            "",
            "arrivals = \"diurnal\"\nperiod = \"60s\"",
            "arrivals = \"on-off\"\non = \"500ms\"\noff = \"1s\"",
        ] {
            // Heavy tails need many bursts before their mean shows.
            let all: usize = (0..8).map(|s| moments(&mut of(arrivals, s)[0]).len()).sum();
            let rate = all as f64 / 2_400.0 / 8.0;
            assert!((17.0..23.0).contains(&rate), "{arrivals}: {rate}");
        }
    }

    #[test]
    fn a_day_has_a_busy_and_a_quiet_half() {
        let mut stream = of("arrivals = \"diurnal\"\nperiod = \"60s\"", 1).remove(0);
        let counts = per_bucket(&moments(&mut stream), 30 * SECOND);
        let half = |first: usize| counts.iter().skip(first).step_by(2).sum::<u64>() as f64;
        let ratio = half(0) / half(1);
        // (1 + 2·0.8/π) / (1 − 2·0.8/π)
        assert!((2.7..3.5).contains(&ratio), "{ratio}");
    }

    #[test]
    fn bursts_are_bursts() {
        let variance = |arrivals: &str| {
            let counts = per_bucket(&moments(&mut of(arrivals, 1)[0]), SECOND);
            let mean = counts.iter().sum::<u64>() as f64 / counts.len() as f64;
            let off = |c: &u64| (*c as f64 - mean) * (*c as f64 - mean);
            counts.iter().map(off).sum::<f64>() / counts.len() as f64 / mean
        };
        let poisson = variance("");
        let bursts = variance("arrivals = \"on-off\"\non = \"2s\"\noff = \"4s\"");
        assert!((0.8..1.2).contains(&poisson), "{poisson}");
        assert!(bursts > 5.0, "{bursts}");
    }

    #[test]
    fn closed_clients_wait_for_their_answers() {
        let mut streams = of("arrivals = \"closed\"\nclients = 5", 1);
        let clients: Vec<u32> = streams.iter().map(Stream::clients).collect();
        assert_eq!(clients, [3, 2]);
        let stream = &mut streams[0];
        // Three clients, each of which is answered after 50 ms.
        let mut due: BTreeSet<(SimTime, u32)> =
            (0..3).map(|i| (stream.thinks(0).unwrap(), i)).collect();
        let mut sent = 0;
        while let Some((at, client)) = due.pop_first() {
            let sends = Tick {
                sends: true,
                next: None,
            };
            assert_eq!(stream.tick(at), sends);
            sent += 1;
            let next = stream.thinks(at + SECOND / 20);
            due.extend(next.map(|next| (next, client)));
        }
        // 20 a second if answers came at once: each thinks for 150 ms.
        let rate = f64::from(sent) / 2_400.0;
        assert!((14.5..15.5).contains(&rate), "{rate}");
    }

    #[test]
    fn a_stream_does_not_depend_on_others() {
        let before = moments(&mut of("", 1)[1]);
        let other = "[[traffic]]\napp = \"pages\"\nper_second = 9.0\nfrom = \"5s\"";
        let mut streams = of(other, 1);
        assert_eq!(streams.len(), 4);
        assert_eq!(moments(&mut streams[1]), before);
        assert_ne!(moments(&mut streams[0]), before);
    }
}
