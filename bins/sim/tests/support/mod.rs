//! The command line, run as a user does.

use std::process::{Command, Output};

pub(crate) fn tidegate_sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate-sim"))
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .args(arguments)
        .output()
        .unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
