//! What actors state about themselves, as structured log lines.
//!
//! One target (`tidegate::note`) and one `event` field for all of them, so that a log can be
//! filtered, and the oracles that also run against real processes can read it back.

use tidegate_kernel::Note;
use tidegate_protocol::Address;

/// Logs one note of the actor at `actor`.
pub fn log(actor: Address, note: &Note) {
    macro_rules! line {
        ($level:ident, $event:literal, $($fields:tt)*) => {
            tracing::$level!(target: "tidegate::note", %actor, event = $event, $($fields)*)
        };
    }
    match note {
        Note::Elected { epoch } => line!(info, "elected", epoch = epoch),
        Note::Deposed { epoch } => line!(warn, "deposed", epoch = epoch),
        Note::Claimed { instance, host } => {
            line!(info, "claimed", instance = %instance, host = %host);
        }
        Note::Reclaimed {
            instance,
            host,
            reason,
        } => line!(warn, "reclaimed", instance = %instance, host = %host, reason = reason),
        Note::Instance {
            instance,
            state,
            reason,
        } => line!(info, "instance", instance = %instance, state = ?state, reason = reason),
        Note::Deploy {
            version,
            step,
            reason,
        } => line!(info, "deploy", version = version, step = ?step, reason = reason),
        Note::Cutover {
            project,
            version,
            epoch,
        } => line!(
            info,
            "cutover",
            project = project,
            version = version,
            epoch = epoch
        ),
        Note::Serving {
            project,
            version,
            epoch,
        } => line!(
            info,
            "serving",
            project = project,
            version = version,
            epoch = epoch
        ),
        Note::Verified { version, artifact } => {
            line!(info, "verified", version = version, artifact = %artifact);
        }
        Note::Corrupt { artifact, blob } => {
            line!(error, "corrupt", artifact = %artifact, blob = %blob);
        }
        Note::Malformed { what } => line!(warn, "malformed", what = what),
        Note::Full { queue } => line!(warn, "full", queue = queue),
        Note::Feed { store, live: true } => line!(info, "feed-live", store = %store),
        Note::Feed { store, live: false } => line!(warn, "feed-lost", store = %store),
        Note::Mark(mark) => line!(trace, "mark", mark = mark),
    }
}
