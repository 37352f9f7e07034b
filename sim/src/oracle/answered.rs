//! Guarantee 10: every admitted request ends in a response or in one clear error, within
//! its deadline; a cutover or a drain drops none.
//!
//! A request may break when something on its way broke lately (see `excuse.rs`). Without
//! that, an error other than an early refusal is a violation; so is an instance that turns
//! connections away because it was told to end before the gateways knew, and a refusal for
//! want of an instance while one has nothing to do and no host seemed dead. And nothing
//! excuses a gateway that has served an app and then does not know its host name.

use tidegate_kernel::Refusal;
use tidegate_protocol::InstanceRef;

use super::Findings;

/// Time over the deadline that a loaded gateway may take.
const SLACK_NS: u64 = 2_000_000_000;

/// How an admitted request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Served,
    /// Refused early, with a reason.
    Refused(&'static str),
    /// 502, 504, 508, or no instance could be reached.
    Failed(&'static str),
}

#[derive(Debug, Default)]
pub struct Answered {
    pub checks: u64,
}

impl Answered {
    /// A request ended. `late_ns`: how long after its deadline. `excused`: something was
    /// broken lately, or the app is.
    #[inline]
    pub fn ended(
        &mut self,
        host: &str,
        end: End,
        late_ns: u64,
        excused: bool,
        findings: &mut Findings,
    ) {
        self.checks += 1;
        if late_ns > SLACK_NS && !excused {
            findings.violated(
                10,
                format!(
                    "a request for {host} ended {} ms after its deadline",
                    late_ns / 1_000_000
                ),
            );
        }
        if let End::Failed(how) = end
            && !excused
        {
            findings.violated(
                10,
                format!("a request for {host} failed ({how}) though nothing was broken"),
            );
        }
    }

    /// A request is still open long after its deadline.
    pub fn silent(&mut self, host: &str, late_ns: u64, findings: &mut Findings) {
        self.checks += 1;
        if late_ns > SLACK_NS {
            findings.violated(10, format!("a request for {host} never ended"));
        }
    }

    /// An instance that was told to end turned a connection away.
    pub fn turned_away(&mut self, instance: &str, excused: bool, findings: &mut Findings) {
        self.checks += 1;
        if !excused {
            findings.violated(
                10,
                format!("{instance} was told to end while gateways still sent to it"),
            );
        }
    }

    /// A request was given up for want of an instance; `idle` is one that ran all the time,
    /// was well, and had nothing to do.
    pub fn given_up(&mut self, host: &str, idle: Option<InstanceRef>, findings: &mut Findings) {
        self.checks += 1;
        if let Some(instance) = idle {
            findings.violated(
                10,
                format!("a request for {host} was given up while {instance} had nothing to do"),
            );
        }
    }

    /// A gateway that served an app, which nobody removed, does not know it any more.
    pub fn unrouted(&mut self, host: &str, why: &Refusal, findings: &mut Findings) {
        self.checks += 1;
        findings.violated(
            10,
            format!(
                "a request for {host} was refused ({why:?}) by a gateway that served it before"
            ),
        );
    }

    /// The platform killed an instance that was working, without the grace that it promised.
    pub fn killed(&mut self, instance: &str, requests: usize, findings: &mut Findings) {
        self.checks += 1;
        if requests > 0 {
            findings.violated(
                10,
                format!("{instance} was killed with {requests} requests in flight before its grace was over"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: u64, end: End, late_ns: u64, excused: bool) {
        let (mut oracle, mut findings) = (Answered::default(), Findings::default());
        oracle.ended("a.example", end, late_ns, excused, &mut findings);
        assert_eq!(findings.count(10), expected, "{end:?} {late_ns} {excused}");
    }

    #[test]
    fn failures_without_a_cause_are_found() {
        check(0, End::Served, 0, false);
        check(0, End::Refused("queue full"), 0, false);
        check(0, End::Failed("broken"), 0, true);
        check(1, End::Failed("broken"), 0, false);
        check(1, End::Served, SLACK_NS + 1, false);
    }

    #[test]
    fn silence_and_hasty_kills_are_found() {
        let (mut oracle, mut findings) = (Answered::default(), Findings::default());
        oracle.silent("a.example", SLACK_NS, &mut findings);
        oracle.killed("v1.0.1", 0, &mut findings);
        oracle.turned_away("v1.0.1", true, &mut findings);
        oracle.given_up("a.example", None, &mut findings);
        assert_eq!(findings.count(10), 0);
        oracle.silent("a.example", SLACK_NS + 1, &mut findings);
        oracle.killed("v1.0.1", 3, &mut findings);
        oracle.turned_away("v1.0.1", false, &mut findings);
        oracle.unrouted("a.example", &Refusal::UnknownHost, &mut findings);
        let idle = InstanceRef {
            version: 1,
            slot: 0,
            epoch: 1,
        };
        oracle.given_up("a.example", Some(idle), &mut findings);
        assert_eq!(findings.count(10), 5);
    }
}
