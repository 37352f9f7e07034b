//! Points at which an actor may be made to do the awkward thing that its contract allows.
//!
//! A network that loses one message in a hundred seldom loses the one answer that matters. A
//! point sits where the code can take the rare branch by itself: an answer that stays out, a
//! batch of one, an office resigned. What happens there must be something that could have
//! happened anyway, so that no guarantee is excused by it.
//!
//! There are two levels. A point is armed for a run, or a part of it, by whoever runs the
//! actor; an armed point fires by chance each time it is passed. The simulator alone arms
//! points. Elsewhere a pass is one test of an absent pointer, and the actor does nothing that
//! it would not do without the point.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Rng, Seed};

/// The points of one actor that are armed.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Buggify(Option<Box<Armed>>);

#[derive(Debug, Serialize, Deserialize)]
struct Armed {
    rng: Rng,
    /// How often of a million passes each fires.
    points: BTreeMap<String, u32>,
}

impl Buggify {
    /// Whether the point fires this time.
    #[inline]
    pub(crate) fn fires(&mut self, point: &str) -> bool {
        match &mut self.0 {
            None => false,
            Some(armed) => armed.fires(point),
        }
    }

    /// Sets how often a point fires; the seed counts for the first that is set. Never, for 0.
    pub(crate) fn set(&mut self, point: &str, per_million: u32, seed: Seed) {
        if per_million > 0 {
            let armed = self.0.get_or_insert_with(|| {
                Box::new(Armed {
                    rng: seed.rng(),
                    points: BTreeMap::new(),
                })
            });
            armed.points.insert(point.to_owned(), per_million);
        } else if let Some(armed) = &mut self.0 {
            armed.points.remove(point);
        }
    }
}

impl Armed {
    #[cold]
    fn fires(&mut self, point: &str) -> bool {
        self.points
            .get(point)
            .is_some_and(|per_million| self.rng.chance(*per_million))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_fires_that_is_not_armed() {
        let mut buggify = Buggify::default();
        assert!(!buggify.fires("a"));
        buggify.set("a", 1_000_000, Seed(1));
        assert!(buggify.fires("a") && !buggify.fires("b"));
        buggify.set("a", 0, Seed(1));
        assert!(!buggify.fires("a"));
    }

    #[test]
    fn an_armed_point_fires_as_often_as_it_was_told() {
        let mut buggify = Buggify::default();
        buggify.set("a", 100_000, Seed(1));
        let fired = (0..10_000).filter(|_| buggify.fires("a")).count();
        assert!((900..1_100).contains(&fired), "{fired}");
    }
}
