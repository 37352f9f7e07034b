//! How an instance ended, in words.

/// What the kernel told of an ended process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Code(i32),
    Signal(i32),
    /// It was not our child: its parent, a former life of the platform, is gone.
    Unknown,
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ending::Code(code) => write!(f, "exit code {code}"),
            Ending::Signal(number) => match signal_name(*number) {
                Some(name) => write!(f, "signal {number} ({name})"),
                None => write!(f, "signal {number}"),
            },
            Ending::Unknown => f.write_str(
                "ended; its exit code is not known, because it was started before the \
                 platform itself was restarted",
            ),
        }
    }
}

/// signal(7), the numbers of x86 and Arm.
fn signal_name(number: i32) -> Option<&'static str> {
    const NAMES: [&str; 31] = [
        "SIGHUP",
        "SIGINT",
        "SIGQUIT",
        "SIGILL",
        "SIGTRAP",
        "SIGABRT",
        "SIGBUS",
        "SIGFPE",
        "SIGKILL",
        "SIGUSR1",
        "SIGSEGV",
        "SIGUSR2",
        "SIGPIPE",
        "SIGALRM",
        "SIGTERM",
        "SIGSTKFLT",
        "SIGCHLD",
        "SIGCONT",
        "SIGSTOP",
        "SIGTSTP",
        "SIGTTIN",
        "SIGTTOU",
        "SIGURG",
        "SIGXCPU",
        "SIGXFSZ",
        "SIGVTALRM",
        "SIGPROF",
        "SIGWINCH",
        "SIGIO",
        "SIGPWR",
        "SIGSYS",
    ];
    NAMES
        .get(usize::try_from(number).ok()?.checked_sub(1)?)
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_read_like_a_shell_would_say_them() {
        assert_eq!(Ending::Code(3).to_string(), "exit code 3");
        assert_eq!(Ending::Signal(9).to_string(), "signal 9 (SIGKILL)");
        assert_eq!(Ending::Signal(15).to_string(), "signal 15 (SIGTERM)");
        assert_eq!(Ending::Signal(31).to_string(), "signal 31 (SIGSYS)");
        assert_eq!(Ending::Signal(40).to_string(), "signal 40");
    }
}
