//! The points at which actors can be made to take the awkward way, and on which machines.
//!
//! The actors name them where they are (`Effects::buggify`); this list is what a scenario may
//! arm and what a drawn world draws from. The test of the coverage marks keeps it equal to
//! the sources.

use crate::topology::NodeKind;

/// What every point's name begins with among the coverage marks.
pub const PREFIX: &str = "buggify: ";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// As it is counted, with [`PREFIX`].
    pub mark: &'static str,
    /// Machines whose actors pass it.
    pub on: &'static [NodeKind],
}

impl Point {
    /// As scenario files call it.
    pub fn name(&self) -> &'static str {
        self.mark.strip_prefix(PREFIX).unwrap_or(self.mark)
    }

    pub fn find(name: &str) -> Option<&'static Point> {
        POINTS.iter().find(|point| point.name() == name)
    }
}

const fn point(mark: &'static str, on: &'static [NodeKind]) -> Point {
    Point { mark, on }
}

const CONTROL: &[NodeKind] = &[NodeKind::Control];
const STORES: &[NodeKind] = &[NodeKind::Control, NodeKind::Store];
const ORIGINS: &[NodeKind] = &[NodeKind::Control, NodeKind::Gateway];
const GATEWAYS: &[NodeKind] = &[NodeKind::Gateway];
const HOSTS: &[NodeKind] = &[NodeKind::Host];
const FETCHERS: &[NodeKind] = &[NodeKind::Gateway, NodeKind::Host];
const MIRRORS: &[NodeKind] = &[NodeKind::Control, NodeKind::Gateway, NodeKind::Host];

/// Gateways that pass it are late to hear that an instance ends.
pub const MIRROR_MISSES: &str = "buggify: a mirror misses a message";

/// All points, sorted.
pub const POINTS: &[Point] = &[
    point("buggify: a fetcher asks another source", FETCHERS),
    point("buggify: a gateway holds no request", GATEWAYS),
    point("buggify: a host leaves a heartbeat out", HOSTS),
    point("buggify: a host waits for its mirror", HOSTS),
    point(MIRROR_MISSES, MIRRORS),
    point(
        "buggify: a scheduler places an instance elsewhere",
        GATEWAYS,
    ),
    point("buggify: a scheduler skips a renewal", GATEWAYS),
    point("buggify: a store asks its engine what changed", STORES),
    point("buggify: a store commits one by one", STORES),
    point("buggify: a store does not answer a commit", STORES),
    point("buggify: a store refuses a commit", STORES),
    point("buggify: a store sends a snapshot in small parts", STORES),
    point("buggify: a store sends everything again", STORES),
    point("buggify: an edge puts its acknowledgements off", GATEWAYS),
    point(
        "buggify: an origin answers with half of what was asked",
        ORIGINS,
    ),
    point("buggify: control admits no request", CONTROL),
    point("buggify: sync passes a region over", CONTROL),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::FaultKind;

    #[test]
    fn points_are_sorted_and_known_by_their_names() {
        assert!(POINTS.is_sorted_by_key(|point| point.mark));
        for point in POINTS {
            assert!(point.mark.starts_with(PREFIX));
            assert_eq!(Point::find(point.name()), Some(point));
        }
        assert_eq!(Point::find("buggify: a mirror misses a message"), None);
    }

    #[test]
    fn the_docs_name_every_kind_of_fault_and_every_point() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/faults.md");
        let docs = std::fs::read_to_string(path).unwrap();
        let names = FaultKind::DRAWN.iter().map(|kind| kind.name());
        for name in names.chain(POINTS.iter().map(Point::name)) {
            assert!(docs.contains(&format!("\n| `{name}` |")), "{name}");
        }
    }
}
