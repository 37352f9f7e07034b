//! The kinds of faults: what each breaks, and what all of a sort have in common. Their fields
//! are in `format.rs`, what each needs in `check/faults.rs`, and `docs/faults.md` is for
//! people.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// Messages between target and against are lost.
    Partition,
    /// Some messages are lost.
    Loss,
    /// Every message takes longer.
    Latency,
    /// Some messages arrive twice.
    Duplication,
    /// Messages overtake each other.
    Reordering,
    /// Bytes of artifacts change on the way.
    Corruption,
    /// Machines stop at once and start again at the end.
    Crash,
    /// Machines stop at once and never come back: hosts and gateways only.
    Death,
    /// Tidegate's processes die and start again at the end; instances run on.
    ProcessCrash,
    /// Machines stand still, and go on where they were.
    Pause,
    /// Commits take longer.
    SlowDisk,
    /// Wall clocks jump, and jump back at the end.
    ClockJump,
    /// Clocks run fast.
    ClockDrift,
    /// Instances answer slowly.
    SlowHost,
    /// Connections between target and against break at once: what is on its way is lost, and
    /// so are the requests that they carry. Once, or `every` so often while it lasts.
    Reset,
    /// Nothing can be written: a store refuses commits, a blob store refuses blobs.
    FullDisk,
    /// One blob at rest on each machine changes at the beginning, and stays so until it is
    /// noticed.
    BitRot,
    /// Heartbeats without service: instances take no connections, and metald notices nothing.
    Deaf,
    /// Service without heartbeats: what metald sends to its store is lost.
    Mute,
    /// Clients of a region take `by` longer, on average, to take their answers.
    SlowClients,
    /// Tidegate's processes die just after they asked a store to commit something, and start
    /// again soon after: so many times in a million commits.
    CrashAtCommit,
    /// Hosts that are not there from the beginning, and join at the end.
    Absent,
    /// Actors take the awkward way at a `point`, so many times in a million passes.
    Buggify,
}

impl FaultKind {
    /// Those that are drawn at random.
    pub const DRAWN: &[Self] = &[
        FaultKind::Partition,
        FaultKind::Loss,
        FaultKind::Latency,
        FaultKind::Duplication,
        FaultKind::Reordering,
        FaultKind::Corruption,
        FaultKind::Crash,
        FaultKind::Death,
        FaultKind::ProcessCrash,
        FaultKind::Pause,
        FaultKind::SlowDisk,
        FaultKind::ClockJump,
        FaultKind::ClockDrift,
        FaultKind::SlowHost,
        FaultKind::Reset,
        FaultKind::FullDisk,
        FaultKind::BitRot,
        FaultKind::Deaf,
        FaultKind::Mute,
        FaultKind::SlowClients,
        FaultKind::CrashAtCommit,
        FaultKind::Absent,
        FaultKind::Buggify,
    ];

    /// Whether machines, or the platform's processes on them, stand still meanwhile.
    pub const fn stops_machines(self) -> bool {
        matches!(
            self,
            FaultKind::Crash
                | FaultKind::Death
                | FaultKind::ProcessCrash
                | FaultKind::Pause
                | FaultKind::CrashAtCommit
                | FaultKind::Absent
        )
    }

    pub const fn name(self) -> &'static str {
        match self {
            FaultKind::Partition => "partition",
            FaultKind::Loss => "loss",
            FaultKind::Latency => "latency",
            FaultKind::Duplication => "duplication",
            FaultKind::Reordering => "reordering",
            FaultKind::Corruption => "corruption",
            FaultKind::Crash => "crash",
            FaultKind::Death => "death",
            FaultKind::ProcessCrash => "process-crash",
            FaultKind::Pause => "pause",
            FaultKind::SlowDisk => "slow-disk",
            FaultKind::ClockJump => "clock-jump",
            FaultKind::ClockDrift => "clock-drift",
            FaultKind::SlowHost => "slow-host",
            FaultKind::Reset => "reset",
            FaultKind::FullDisk => "full-disk",
            FaultKind::BitRot => "bit-rot",
            FaultKind::Deaf => "deaf",
            FaultKind::Mute => "mute",
            FaultKind::SlowClients => "slow-clients",
            FaultKind::CrashAtCommit => "crash-at-commit",
            FaultKind::Absent => "absent",
            FaultKind::Buggify => "buggify",
        }
    }
}
