//! Guarantee 3: a gateway never routes to a version whose artifact its node does not hold,
//! verified; and a file that rots on its disk is not served for long.
//!
//! Judged from the blobs that are really on the node. They are never taken away there, so a
//! version that was found whole once is not looked at again. A blob that rotted may be
//! served until its edge has come round to it, which looks at one blob a second.

use indexmap::IndexSet;
use rustc_hash::FxBuildHasher;

use super::Findings;

/// An edge looks at a blob again after as many seconds as its node has blobs; twice that,
/// because a fetch or a restart may come between.
const NOTICED_NS_PER_BLOB: u64 = 2_000_000_000;
/// Beside that: a node may stand still.
const NOTICED_NS: u64 = 90_000_000_000;

#[derive(Debug, Default)]
pub struct Verified {
    known: IndexSet<(usize, u64), FxBuildHasher>,
    pub checks: u64,
}

impl Verified {
    /// A gateway of the node routes to a version; `holds` looks at the node's blobs.
    #[inline]
    pub fn routed(
        &mut self,
        node: usize,
        version: u64,
        holds: impl FnOnce() -> bool,
        findings: &mut Findings,
    ) {
        self.checks += 1;
        if self.known.contains(&(node, version)) {
            return;
        }
        if holds() {
            self.known.insert((node, version));
            return;
        }
        findings.violated(
            3,
            format!(
                "node {} routes to version {version} without its artifact",
                node + 1
            ),
        );
    }

    /// A front of the node sent a file that is not what its digest says, since `rotten_ns`;
    /// the node has so many `blobs`.
    pub fn served_rotten(
        &mut self,
        node: usize,
        version: u64,
        rotten_ns: u64,
        blobs: usize,
        findings: &mut Findings,
    ) {
        self.checks += 1;
        if rotten_ns > NOTICED_NS + NOTICED_NS_PER_BLOB * blobs as u64 {
            findings.violated(
                3,
                format!(
                    "node {} serves a file of version {version} that rotted {} s ago",
                    node + 1,
                    rotten_ns / 1_000_000_000
                ),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routing_without_the_artifact_is_found() {
        let (mut oracle, mut findings) = (Verified::default(), Findings::default());
        oracle.routed(1, 5, || true, &mut findings);
        oracle.routed(1, 5, || false, &mut findings);
        assert_eq!(findings.count(3), 0);
        oracle.routed(2, 5, || false, &mut findings);
        oracle.routed(1, 6, || false, &mut findings);
        assert_eq!(findings.count(3), 2);
    }
    #[test]
    fn a_rotten_file_that_is_served_for_long_is_found() {
        let (mut oracle, mut findings) = (Verified::default(), Findings::default());
        let bound = NOTICED_NS + 4 * NOTICED_NS_PER_BLOB;
        oracle.served_rotten(1, 5, bound, 4, &mut findings);
        assert_eq!(findings.count(3), 0);
        oracle.served_rotten(1, 5, bound + 1, 4, &mut findings);
        oracle.served_rotten(1, 5, bound, 3, &mut findings);
        assert_eq!(findings.count(3), 2);
    }
}
