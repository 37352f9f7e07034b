//! What people get wrong, and what they are told.

use std::fs;

use crate::support::Platform;

#[test]
fn an_app_that_dies_at_start_shows_why_and_replaces_nothing() {
    let platform = Platform::start();
    let app = platform.folder("app", &[("index.html", "the former")]);
    platform.deploy("app", &app);
    platform.until_answered("app", "/", "the former");

    let dies = "command: echo about to die; echo no database >&2; exit 7\n";
    fs::write(app.join("tidegate.yml"), dies).expect("a file");
    let ran = platform.try_deploy("app", &app);
    assert!(!ran.ok, "{ran:?}");
    for part in ["about to die", "no database", "app@2 failed", "7"] {
        assert!(ran.err.contains(part), "{part}: {ran:?}");
    }
    platform.until_answered("app", "/", "the former");
    let steps = platform.versions("app");
    assert_eq!(steps[0], (1, true, "live".to_owned()));
    assert_eq!(steps[1], (2, false, "failed".to_owned()));
}

#[test]
fn a_mistake_in_a_folder_names_its_place_and_remedy() {
    let platform = Platform::start();
    for (text, parts) in [
        (
            "project: a\ncomand: x\n",
            ["tidegate.yml:2:1: ", "`command`"],
        ),
        ("idle_sleep: soon\n", ["tidegate.yml:1:13: ", "`300s`"]),
    ] {
        let app = platform.folder("wrong", &[("tidegate.yml", text)]);
        let ran = platform.try_deploy("wrong", &app);
        assert!(!ran.ok, "{ran:?}");
        assert!(parts.iter().all(|part| ran.err.contains(part)), "{ran:?}");
    }
    let app = platform.folder("linked", &[("index.html", "x")]);
    std::os::unix::fs::symlink("index.html", app.join("alias.html")).expect("a link");
    let ran = platform.try_deploy("linked", &app);
    assert!(!ran.ok, "{ran:?}");
    for part in ["alias.html", "symbolic link", "replace it"] {
        assert!(ran.err.contains(part), "{part}: {ran:?}");
    }
    assert_eq!(platform.json(&["ps"])["projects"], serde_json::json!([]));
}
