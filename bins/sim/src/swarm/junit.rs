//! A swarm's result as CI systems read it: one test case for each oracle, and each seed that
//! broke it a line of its failure, with the command to paste.

use std::path::Path;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use tidegate_sim::oracle::name_of;

use super::{Found, Outcome};

pub(super) fn write(path: &Path, outcome: &Outcome) -> Result<(), String> {
    let text = report(outcome)
        .to_string()
        .map_err(|e| format!("{}: {e}", path.display()))?;
    std::fs::write(path, text).map_err(|e| format!("{}: {e}; name another file", path.display()))
}

fn report(outcome: &Outcome) -> Report {
    let mut suite = TestSuite::new("swarm");
    let t = &outcome.tally;
    suite.add_property(("seeds", t.seeds.to_string().as_str()));
    suite.add_property(("first_seed", outcome.first_seed.to_string().as_str()));
    suite.add_property(("events", t.events.to_string().as_str()));
    let mut guarantees: Vec<u8> = t.oracles.keys().copied().collect();
    if !guarantees.contains(&0) {
        guarantees.insert(0, 0);
    }
    for guarantee in guarantees {
        let broken = outcome.found.iter().filter(|found| {
            let violation = found.trial.violation.as_ref();
            violation.is_some_and(|v| v.guarantee == guarantee)
        });
        suite.add_test_case(case(guarantee, &broken.collect::<Vec<_>>()));
    }
    let mut report = Report::new("tidegate-sim");
    report.add_test_suite(suite);
    report
}

fn case(guarantee: u8, broken: &[&Found]) -> TestCase {
    let name = format!("guarantee {guarantee}: {}", name_of(guarantee));
    let Some(first) = broken.first() else {
        return TestCase::new(name, TestCaseStatus::success());
    };
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    let text = |found: &Found| {
        let violation = found.trial.violation.as_ref();
        violation.map_or_else(String::new, |v| v.text.clone())
    };
    status.set_message(text(first));
    let lines: Vec<String> = broken
        .iter()
        .map(|found| {
            format!(
                "seed {}: {}\n{}",
                found.trial.seed,
                text(found),
                found.reproduce
            )
        })
        .collect();
    status.set_description(lines.join("\n"));
    TestCase::new(name, status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_sim::Seed;
    use tidegate_sim::oracle::Violation;
    use tidegate_sim::tally::Tally;
    use tidegate_sim::trial::{Until, run};

    #[test]
    fn a_broken_guarantee_is_a_failed_case_with_the_line_to_paste() {
        let scenario = tidegate_sim::drawn::of_seed(Seed(1));
        let mut trial = run(&scenario, 1, Until::Any);
        trial.violation = Some(Violation {
            at: 1,
            guarantee: 4,
            text: "a <lost> write".into(),
        });
        let mut tally = Tally::default();
        tally.add(&trial);
        let outcome = Outcome {
            tally,
            found: vec![Found {
                trial,
                file: None,
                reproduce: "tidegate-sim run drawn --seed 1".into(),
            }],
            first_seed: 1,
            jobs: 1,
            wall_seconds: 1.0,
        };
        let text = report(&outcome).to_string().unwrap();
        assert!(text.contains("failures=\"1\""), "{text}");
        assert!(text.contains("a &lt;lost&gt; write"), "{text}");
        assert!(text.contains("tidegate-sim run drawn --seed 1"), "{text}");
    }
}
