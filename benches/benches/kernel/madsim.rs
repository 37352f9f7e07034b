//! madsim, as a process: it interposes libc's clock and entropy for all that it
//! is linked with, and needs `--cfg madsim` for its whole build. Hence a package
//! outside the workspace, with a target directory of its own, built here.

use std::path::Path;
use std::process::{Command, Stdio};

use tidegate_benches::report::Measurement;

pub(crate) fn measure() -> Vec<Measurement> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("madsim-peer");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("madsim-peer");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        // The package's own .cargo/config.toml has the flag; it is found by the
        // working directory, and the environment would override it.
        .current_dir(package)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .args(["run", "--release", "--locked", "--target-dir"])
        .arg(target)
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "the madsim peer failed");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(Measurement::from_line)
        .collect()
}
