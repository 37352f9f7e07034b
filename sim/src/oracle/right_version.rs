//! Guarantee 2: no request reaches a version that its host name did not resolve to in some
//! whole epoch.
//!
//! Judged where requests arrive: at the instance, or at the files that answer them.

use super::Findings;

#[derive(Debug, Default)]
pub struct RightVersion {
    pub checks: u64,
}

impl RightVersion {
    /// A request for a host name is answered by a version.
    #[inline]
    pub fn reached(&mut self, host: &str, version: u64, resolved: bool, findings: &mut Findings) {
        self.checks += 1;
        if !resolved {
            findings.violated(
                2,
                format!(
                    "a request for {host} reached version {version}, which no epoch of it names"
                ),
            );
        }
    }

    /// The artifact that a gateway answers from must be the version's own.
    pub fn answered_from(&mut self, version: u64, own: bool, findings: &mut Findings) {
        self.checks += 1;
        if !own {
            findings.violated(
                2,
                format!("version {version} was answered from another artifact"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stray_request_is_found() {
        let (mut oracle, mut findings) = (RightVersion::default(), Findings::default());
        oracle.reached("a.example", 1, true, &mut findings);
        oracle.answered_from(1, true, &mut findings);
        assert_eq!(findings.count(2), 0);
        oracle.reached("a.example", 2, false, &mut findings);
        oracle.answered_from(1, false, &mut findings);
        assert_eq!(findings.count(2), 2);
    }
}
