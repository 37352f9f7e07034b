//! Processes of a data directory, found by the mark in their environment.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Process id to instance (`v3.0.7`), of every live process that carries the mark of `data`.
pub(crate) fn of(data: &Path) -> BTreeMap<i32, String> {
    let Ok(id) = fs::read_to_string(data.join("instances/driver.id")) else {
        return BTreeMap::new();
    };
    let mark = format!("TIDEGATE_DATA={}", id.trim());
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        let environment = String::from_utf8_lossy(&environment);
        let mut variables = environment.split('\0');
        if variables.clone().any(|variable| variable == mark) {
            let instance = variables.find_map(|v| v.strip_prefix("TIDEGATE_INSTANCE="));
            found.insert(pid, instance.unwrap_or_default().to_owned());
        }
    }
    found
}

pub(crate) fn signal(pid: i32, name: &str) {
    // Fails only when the process has ended meanwhile.
    let _ = std::process::Command::new("kill")
        .args(["-s", name, &pid.to_string()])
        .stderr(std::process::Stdio::null())
        .status();
}
