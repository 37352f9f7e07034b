//! Small changes to a drawn plan, for runs that start from an interesting one.

use super::{draw_clocks, draw_disks, draw_network, given};
use crate::choices::Choices;
use crate::expand::{FaultSettings, draw_faults};
use crate::scenario::{FaultKind, Scenario, Span};
use crate::topology::Topology;

/// Changes between one and four things. What comes out is valid; what would not be is undone.
pub fn mutate(plan: &Scenario, choices: &mut Choices<'_>) -> Scenario {
    let mut changed = plan.clone();
    for _ in 0..choices.between(1, 4) {
        let before = changed.clone();
        change(&mut changed, choices);
        if changed.validate().is_err() {
            changed = before;
        }
    }
    changed.about = "Changed from a run that reached something new.".into();
    changed
}

fn change(s: &mut Scenario, choices: &mut Choices<'_>) {
    match choices.between(0, 8) {
        0 => s.network = draw_network(choices),
        1 => s.disks = draw_disks(choices),
        2 => s.clocks = draw_clocks(choices),
        3 => add_fault(s, choices),
        4 if !s.faults.is_empty() => {
            let index = choices.index(s.faults.len());
            s.faults.remove(index);
        }
        5 if !s.faults.is_empty() => move_fault(s, choices),
        6 if !s.operations.is_empty() => {
            let index = choices.index(s.operations.len());
            let again = s.operations[index].clone();
            let later = again.at.get_ref().as_millis() + choices.between(1, 5_000);
            let at = given(Span::millis(later));
            s.operations
                .push(crate::scenario::Operation { at, ..again });
        }
        7 if !s.apps.is_empty() => {
            let index = choices.index(s.apps.len());
            s.apps[index].idle = Span::seconds(choices.between(2, 30));
            s.apps[index].lifetime_min = Span::seconds(choices.between(1, 10));
        }
        _ => {
            for traffic in &mut s.traffic {
                let times = choices.one_of(&[0.2, 0.5, 2.0]);
                let rate = (traffic.per_second.get_ref() * times).clamp(0.01, 20.0);
                *traffic.per_second.get_mut() = rate;
            }
        }
    }
}

/// One more, of the kinds that stop no machine: those are drawn together, because at most
/// one may be down at a time.
fn add_fault(s: &mut Scenario, choices: &mut Choices<'_>) {
    let kinds: Vec<FaultKind> = FaultKind::DRAWN
        .iter()
        .copied()
        .filter(|kind| !kind.stops_machines())
        .collect();
    let topology = Topology::new(s);
    let longest = Span::seconds(choices.between(1, 40));
    let end = s.faults_end.get_ref().0;
    let settings = FaultSettings {
        count: 1,
        from: Span::seconds(10),
        until: Span(end.saturating_sub(longest.0)),
        longest,
    };
    s.faults
        .extend(draw_faults(&settings, &kinds, &topology, choices));
}

/// One fault begins right after another, or an operation, so that the two meet. Faults that
/// stop machines stay where they are.
fn move_fault(s: &mut Scenario, choices: &mut Choices<'_>) {
    let moments: Vec<Span> = s
        .faults
        .iter()
        .map(|f| *f.at.get_ref())
        .chain(s.operations.iter().map(|op| *op.at.get_ref()))
        .collect();
    let to = choices.one_of(&moments).as_millis() + choices.between(0, 3_000);
    let index = choices.index(s.faults.len());
    let fault = &mut s.faults[index];
    if !fault.kind.get_ref().stops_machines() {
        *fault.at.get_mut() = Span::millis(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drawn::of_seed;
    use tidegate_kernel::Seed;

    #[test]
    fn what_is_changed_stays_valid_and_often_differs() {
        let mut differ = 0;
        for seed in 0..200 {
            let plan = of_seed(Seed(seed));
            let mut choices = Choices::seeded(Seed(seed).derive("test"));
            let changed = mutate(&plan, &mut choices);
            assert_eq!(changed.validate(), Ok(()), "{}", changed.to_toml());
            let about = plan.about.clone();
            let changed = Scenario { about, ..changed };
            differ += u32::from(changed.to_toml() != plan.to_toml());
        }
        assert!(differ > 150, "{differ}");
    }
}
