//! Guarantee 3: a gateway never routes to a version whose artifact its node does not hold,
//! verified.
//!
//! Judged from the blobs that are really on the node. They are never taken away there, so a
//! version that was found whole once is not looked at again.

use indexmap::IndexSet;
use rustc_hash::FxBuildHasher;

use super::Findings;

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
}
