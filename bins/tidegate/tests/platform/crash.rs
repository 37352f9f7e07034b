//! kill -9, of an instance and of everything.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::processes;
use crate::sleep::SERVER;
use crate::support::{Platform, Ran, utf8};

const ROUNDS: u64 = 8;
const PROGRAM: &str = "command: python3 -u server.py\ninstances: 1\n";

#[test]
fn a_killed_instance_is_replaced_and_its_log_kept() {
    let platform = Platform::start();
    let app = platform.folder("app", &[("tidegate.yml", PROGRAM), ("server.py", SERVER)]);
    platform.deploy("app", &app);
    platform.until_answered("app", "/", "served by");
    let first = processes::of(&platform.data());
    let killed = first.values().next().expect("an instance").clone();
    for pid in first.into_keys() {
        processes::signal(pid, "KILL");
    }
    platform.until("another instance answers", |p| {
        let answer = p.get("app", "/").ok()?;
        (answer.status == 200 && !answer.text.contains(&killed)).then_some(())
    });
    let shown = platform.must(&["logs", "app"]);
    assert!(shown.contains(&format!("started {killed}")), "{shown}");
}

#[test]
fn no_crash_of_the_platform_loses_a_deploy_or_a_process() {
    let mut platform = Platform::start();
    let app = platform.folder("app", &[("tidegate.yml", PROGRAM), ("server.py", SERVER)]);
    platform.deploy("app", &app);
    let site = platform.folder("site", &[("index.html", "round 0")]);
    platform.deploy("site", &site);
    let mut acknowledged = vec![1];
    for round in 1..=ROUNDS {
        fs::write(site.join("index.html"), format!("round {round}")).expect("a file");
        // One that does not wait ends before the crash, or is not acknowledged at all; one that
        // waits may go on across the crash.
        let waits = round % 2 == 0;
        let mut command = platform.command(&["deploy", utf8(&site), "--json"]);
        command.args(["--project", "site"]);
        if !waits {
            command.arg("--no-wait");
        }
        let deploy = std::thread::spawn(move || Ran::of(&command.output().expect("it runs")));
        // Spread over the upload, the commit and what follows it; a drawn time is what a crash has.
        let after = random_below(600);
        std::thread::sleep(Duration::from_millis(after));
        // Each fourth crash comes right after an acknowledgement, so that there is one to lose.
        while round % 4 == 1 && !deploy.is_finished() {
            std::thread::sleep(Duration::from_millis(1));
        }
        platform.kill();
        if waits {
            platform.start_again();
        }
        let ran = deploy.join().expect("no panic");
        eprintln!(
            "round {round}: killed after {after} ms, acknowledged: {}",
            ran.ok
        );
        if ran.ok {
            let version: Value = serde_json::from_str(&ran.out).expect("JSON");
            acknowledged.push(version["number"].as_u64().expect("a number"));
        }
        if !waits {
            platform.start_again();
        }
        let found = platform.until("its versions are listed", |p| {
            p.run(&["versions", "site"]).ok.then(|| p.versions("site"))
        });
        for number in &acknowledged {
            assert!(found.iter().any(|v| v.0 == *number), "{number}: {found:?}");
        }
    }
    fs::write(site.join("index.html"), "the last").expect("a file");
    platform.deploy("site", &site);
    platform.until_answered("site", "/", "the last");
    platform.until_answered("app", "/", "served by");
    platform.until("every process is one that `ps` knows", |p| {
        let ps = p.json(&["ps"]);
        let versions = p.json(&["versions", "app"]);
        let id = |number: &Value| {
            let mut all = versions.as_array()?.iter();
            all.find(|v| v["number"] == *number)?["id"].as_u64()
        };
        let mut known = Vec::new();
        for i in ps["instances"].as_array()? {
            known.push(format!(
                "v{}.{}.{}",
                id(&i["number"])?,
                i["slot"],
                i["epoch"]
            ));
        }
        let running = processes::of(&p.data());
        let all_known = running.values().all(|instance| known.contains(instance));
        (all_known && !running.is_empty()).then_some(())
    });
}

fn random_below(limit: u64) -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(limit) % limit
}
