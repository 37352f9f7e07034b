//! Which crate may know which: the dependency column of the layout, read from the manifests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Crates from outside that are pure data or pure arithmetic.
const PURE: [&str; 9] = [
    "bytes",
    "indexmap",
    "postcard",
    "prost",
    "rand_core",
    "rand_xoshiro",
    "rustc-hash",
    "serde",
    "xxhash-rust",
];

/// What the simulator may use beyond that: it reads files' texts and draws tables.
const PURE_FOR_SIM: [&str; 6] = [
    "hdrhistogram",
    "libm",
    "serde_json",
    "sha2",
    "similar",
    "toml",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn manifest(path: &Path) -> toml::Table {
    let text = std::fs::read_to_string(path).unwrap();
    text.parse()
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Members of the workspace: folder, name, and what they depend on outside of tests.
fn members() -> Vec<(String, String, BTreeSet<String>)> {
    let workspace = manifest(&root().join("Cargo.toml"));
    let listed = workspace["workspace"]["members"].as_array().unwrap();
    listed
        .iter()
        .map(|folder| {
            let folder = folder.as_str().unwrap().to_owned();
            let manifest = manifest(&root().join(&folder).join("Cargo.toml"));
            let name = manifest["package"]["name"].as_str().unwrap().to_owned();
            let dependencies = manifest
                .get("dependencies")
                .and_then(toml::Value::as_table)
                .map(|table| table.keys().cloned().collect())
                .unwrap_or_default();
            (folder, name, dependencies)
        })
        .collect()
}

fn names_below(prefix: &str) -> BTreeSet<String> {
    members()
        .into_iter()
        .filter(|(folder, ..)| folder.starts_with(prefix))
        .map(|(_, name, _)| name)
        .collect()
}

/// Fails with every dependency of the crates below `prefix` that is not allowed.
fn allow_only(prefix: &str, allowed: &BTreeSet<String>) {
    let mut checked = 0;
    for (folder, name, dependencies) in members() {
        if !folder.starts_with(prefix) {
            continue;
        }
        checked += 1;
        let odd: Vec<_> = dependencies.difference(allowed).collect();
        assert!(odd.is_empty(), "{name} in {folder} must not know {odd:?}");
    }
    assert!(checked > 0, "no crate below {prefix}");
}

/// Fails when a crate below `prefix` depends on a crate below one of `others`.
fn forbid(prefix: &str, others: &[&str]) {
    let forbidden: BTreeSet<String> = others.iter().flat_map(|o| names_below(o)).collect();
    for (folder, name, dependencies) in members() {
        if folder.starts_with(prefix) {
            let odd: Vec<_> = dependencies.intersection(&forbidden).collect();
            assert!(odd.is_empty(), "{name} in {folder} must not know {odd:?}");
        }
    }
}

fn owned(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

#[test]
fn the_core_knows_itself_and_pure_data_only() {
    let mut allowed = names_below("actors/");
    allowed.extend(owned(&PURE));
    allow_only("actors/", &allowed);
}

#[test]
fn the_simulator_knows_the_core_only() {
    let mut allowed = names_below("actors/");
    allowed.extend(names_below("sim"));
    allowed.extend(owned(&PURE));
    allowed.extend(owned(&PURE_FOR_SIM));
    allow_only("sim", &allowed);
}

#[test]
fn the_real_worlds_parts_do_not_know_each_other_beyond_the_layout() {
    forbid("storage", &["net", "sim", "drivers", "bins"]);
    forbid("net", &["sim", "drivers", "bins"]);
    forbid("drivers", &["net", "sim", "storage", "bins"]);
    for (folder, name, dependencies) in members() {
        if folder == "storage" {
            assert!(
                !dependencies.contains("tokio"),
                "{name} must block, not await"
            );
        }
    }
}

#[test]
fn versions_are_pinned_in_one_place() {
    for (folder, name, _) in members() {
        let manifest = manifest(&root().join(&folder).join("Cargo.toml"));
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(table) = manifest.get(table).and_then(toml::Value::as_table) else {
                continue;
            };
            for (dependency, spec) in table {
                let inherited = spec.get("workspace").and_then(toml::Value::as_bool);
                assert_eq!(
                    inherited,
                    Some(true),
                    "{name}: `{dependency}` has a pin of its own"
                );
            }
        }
    }
}

#[test]
fn every_crate_takes_the_workspaces_lints() {
    for (folder, name, _) in members() {
        let manifest = manifest(&root().join(&folder).join("Cargo.toml"));
        let lints = manifest.get("lints").and_then(|l| l.get("workspace"));
        assert_eq!(
            lints.and_then(toml::Value::as_bool),
            Some(true),
            "{name} needs `[lints] workspace = true`"
        );
    }
}

#[test]
fn clocks_threads_and_unordered_maps_are_banned_where_it_matters() {
    for folder in ["actors", "sim"] {
        let conf = manifest(&root().join(folder).join("clippy.toml"));
        let banned: BTreeSet<&str> = ["disallowed-types", "disallowed-methods"]
            .iter()
            .flat_map(|list| conf[*list].as_array().unwrap())
            .map(|entry| {
                let reason = entry["reason"].as_str().unwrap_or_default();
                assert!(!reason.is_empty(), "{folder}: a ban without its reason");
                entry["path"].as_str().unwrap()
            })
            .collect();
        for path in [
            "std::collections::HashMap",
            "std::collections::HashSet",
            "std::time::Instant",
            "std::time::SystemTime",
            "std::thread::spawn",
        ] {
            assert!(
                banned.contains(path),
                "{folder}/clippy.toml must ban {path}"
            );
        }
    }
}
