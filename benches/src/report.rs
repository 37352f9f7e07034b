//! Measurements, as a table for people and as JSON for what compares them.

use std::fmt::Write as _;
use std::time::Duration;

/// One peer under one load.
#[derive(Clone, Debug)]
pub struct Measurement {
    /// Who was measured, and in which configuration.
    pub peer: String,
    /// How many messages were under way at any time.
    pub in_flight: u32,
    /// Messages delivered after the warm-up.
    pub deliveries: u64,
    /// What they cost.
    pub cpu: Duration,
}

impl Measurement {
    /// The figure that is compared.
    pub fn deliveries_per_cpu_second(&self) -> f64 {
        self.deliveries as f64 / self.cpu.as_secs_f64()
    }

    /// One line, for a parent process: [`Self::from_line`] reads it.
    pub fn to_line(&self) -> String {
        let Self {
            peer,
            in_flight,
            deliveries,
            cpu,
        } = self;
        format!("{in_flight} {deliveries} {} {peer}", cpu.as_nanos())
    }

    /// The inverse of [`Self::to_line`]; `None` for anything else.
    pub fn from_line(line: &str) -> Option<Self> {
        let mut fields = line.splitn(4, ' ');
        Some(Self {
            in_flight: fields.next()?.parse().ok()?,
            deliveries: fields.next()?.parse().ok()?,
            cpu: Duration::from_nanos(fields.next()?.parse().ok()?),
            peer: fields.next()?.to_owned(),
        })
    }
}

/// What one run of a benchmark found.
#[derive(Debug)]
pub struct Report {
    /// The name of our own rows.
    pub ours: &'static str,
    /// In the order of the table.
    pub measurements: Vec<Measurement>,
}

impl Report {
    /// Ours against the fastest peer under the same load, in any configuration.
    /// `None` when either was not measured.
    pub fn ratio_to_best_peer(&self, in_flight: u32) -> Option<f64> {
        let best = |ours: bool| {
            self.measurements
                .iter()
                .filter(|m| m.in_flight == in_flight && (m.peer == self.ours) == ours)
                .map(Measurement::deliveries_per_cpu_second)
                .reduce(f64::max)
        };
        Some(best(true)? / best(false)?)
    }

    /// The table.
    pub fn to_table(&self) -> String {
        let mut table = format!(
            "{:<28}{:>10}{:>13}{:>10}{:>14}\n",
            "peer", "in flight", "deliveries", "CPU s", "M per CPU s"
        );
        for m in &self.measurements {
            let _ = writeln!(
                table,
                "{:<28}{:>10}{:>13}{:>10.3}{:>14.3}",
                m.peer,
                m.in_flight,
                m.deliveries,
                m.cpu.as_secs_f64(),
                m.deliveries_per_cpu_second() / 1e6
            );
        }
        for (in_flight, ratio) in self.ratios() {
            let _ = writeln!(
                table,
                "{in_flight} in flight: {ratio:.1} times the better peer"
            );
        }
        table
    }

    /// The same as one JSON object. Peer names are our own and need no escaping.
    pub fn to_json(&self) -> String {
        let rows = self.measurements.iter().map(|m| {
            format!(
                r#"{{"peer":"{}","in_flight":{},"deliveries":{},"cpu_ns":{},"deliveries_per_cpu_second":{:.0}}}"#,
                m.peer,
                m.in_flight,
                m.deliveries,
                m.cpu.as_nanos(),
                m.deliveries_per_cpu_second()
            )
        });
        let ratios = self
            .ratios()
            .map(|(in_flight, ratio)| format!(r#"{{"in_flight":{in_flight},"ratio":{ratio:.2}}}"#));
        format!(
            r#"{{"measurements":[{}],"ratios_to_best_peer":[{}]}}"#,
            rows.collect::<Vec<_>>().join(","),
            ratios.collect::<Vec<_>>().join(",")
        )
    }

    fn ratios(&self) -> impl Iterator<Item = (u32, f64)> {
        let mut loads: Vec<_> = self.measurements.iter().map(|m| m.in_flight).collect();
        loads.sort_unstable();
        loads.dedup();
        loads
            .into_iter()
            .filter_map(|load| Some((load, self.ratio_to_best_peer(load)?)))
    }
}
