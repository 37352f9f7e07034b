//! The flight recorder across kill -9: what is on disk of every actor replays to what it did.

use std::collections::BTreeMap;
use std::fs;

use tidegate_protocol::Role;
use tidegate_recording::{EXTENSION, End, Recording};
use tidegate_sim::replay::Replay;

use crate::sleep::SERVER;
use crate::support::Platform;

const PROGRAM: &str = "command: python3 -u server.py\ninstances: 1\n";

/// Steps of each kind of actor, and how its recordings end, after all of them were replayed.
fn replay_all(platform: &Platform) -> (BTreeMap<Role, usize>, Vec<Option<End>>) {
    let (mut steps, mut ends) = (BTreeMap::new(), Vec::new());
    for folder in fs::read_dir(platform.recordings()).expect("recordings") {
        for file in fs::read_dir(folder.expect("a folder").path()).expect("a folder") {
            let path = file.expect("a file").path();
            assert!(path.extension().is_some_and(|e| e == EXTENSION), "{path:?}");
            let bytes = fs::read(&path).expect("a file");
            let recording = match Recording::read(&bytes) {
                Err(malformed) if malformed.is_cut_off => continue,
                read => read.unwrap_or_else(|error| panic!("{path:?}: {error}")),
            };
            let mut replay = Replay::new(&recording).expect("a snapshot of this build");
            while let Some(replayed) = replay.step().expect("an input of this build") {
                assert!(replayed.is_as_recorded(), "{path:?}: {replayed:?}");
            }
            *steps.entry(recording.header().actor.role).or_default() += recording.steps().len();
            ends.push(recording.end());
        }
    }
    (steps, ends)
}

#[test]
fn what_was_recorded_before_a_kill_replays_as_it_was() {
    let mut platform = Platform::recorded();
    let site = platform.folder("site", &[("index.html", "round 1")]);
    platform.deploy("site", &site);
    platform.until_answered("site", "/", "round 1");
    let app = platform.folder("app", &[("tidegate.yml", PROGRAM), ("server.py", SERVER)]);
    platform.deploy("app", &app);
    platform.until_answered("app", "/", "served by");
    for _ in 0..200 {
        assert_eq!(platform.get("app", "/").expect("an answer").status, 200);
    }
    platform.kill();
    let (steps, ends) = replay_all(&platform);
    assert!(
        ends.iter().all(Option::is_none),
        "all are cut off: {ends:?}"
    );
    let all = [
        Role::Control,
        Role::Sync,
        Role::Scheduler,
        Role::Gateway,
        Role::Edge,
        Role::Metald,
        Role::Store,
        Role::Origin,
    ];
    assert!(all.iter().all(|role| steps.contains_key(role)), "{steps:?}");
    // A request is decided and finished.
    assert!(steps[&Role::Gateway] >= 2 * 200, "{steps:?}");

    // The next process records beside what is there, and ends its recordings.
    platform.start_again();
    platform.until_answered("app", "/", "served by");
    platform.terminate();
    let (more, ends) = replay_all(&platform);
    assert!(ends.contains(&Some(End::Stopped)), "{ends:?}");
    for role in all {
        assert!(
            more[&role] > steps[&role],
            "{role:?}: {steps:?}, then {more:?}"
        );
    }
}

#[test]
fn a_folder_that_cannot_be_recorded_into_is_named() {
    let platform = Platform::start();
    let file = platform
        .folder("site", &[("index.html", "a file")])
        .join("index.html");
    let data = platform.folder("other", &[]);
    let any = "127.0.0.1:0";
    let mut command = platform.command(&["dev", "--no-sample", "--listen", any, "--api", any]);
    command.arg("--data").arg(&data).arg("--record").arg(&file);
    let output = command.output().expect("it runs");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(error.contains("cannot record into"), "{error}");
    assert!(error.contains("index.html"), "{error}");
}
