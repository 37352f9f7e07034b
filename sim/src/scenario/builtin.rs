//! The scenarios that the program carries with it.

/// A scenario in the binary.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    pub name: &'static str,
    pub text: &'static str,
}

macro_rules! builtin {
    ($($name:literal),* $(,)?) => {
        /// Every built-in scenario, in the order in which `list` shows them.
        pub const BUILTIN: &[Builtin] = &[$(Builtin {
            name: $name,
            text: include_str!(concat!("../../../scenarios/", $name, ".toml")),
        }),*];
    };
}

builtin![
    "first-deploy",
    "flash-crowd",
    "host-failure",
    "region-partition",
    "control-plane-outage",
    "deploy-under-partition",
    "scheduler-failover",
    "sleepers",
    "scarce-capacity",
    "gray-failures",
    "overload",
    "region-loss",
    "crash-at-commit",
    "tenants",
    "swarm",
];

impl Builtin {
    pub fn find(name: &str) -> Option<Builtin> {
        BUILTIN.iter().copied().find(|b| b.name == name)
    }
}
