//! One life of one instance, with real processes.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use support::{
    HELPER, Host, INSTANCE, command, inherited_descriptors, other, runs, script, until, zombies,
};
use tidegate_drivers::{CommandRefused, OpenError, Options, ProcessDriver};
use tidegate_kernel::{DriverCommand, DriverInstance, DriverReport};
use tidegate_protocol::{EnvVariable, VersionSpec};

#[tokio::test]
async fn starts_answers_ends_and_leaves_nothing() {
    let mut host = Host::new().await;
    let endpoint = host.start(INSTANCE, command(&[HELPER, "serve"])).await;
    host.until_healthy(INSTANCE, "").await;
    host.until_healthy(INSTANCE, "/health").await;
    assert!(!host.check(INSTANCE, "/missing").await);
    let instance = INSTANCE;
    assert_eq!(
        host.inventory().await,
        [DriverInstance { instance, endpoint }]
    );
    assert_eq!(host.traces(), ["v3.0.7", "v3.0.7.state"]);

    host.order(DriverCommand::Terminate { instance });
    let (reason, log_tail) = host.exited(INSTANCE).await;
    assert_eq!(reason, "signal 15 (SIGTERM)");
    assert_eq!(log_tail, "listening");
    assert_eq!(host.traces(), [""; 0]);
    until(|| zombies().is_empty()).await;
    assert_eq!(host.inventory().await, []);
    assert!(!host.check(INSTANCE, "").await);
}

#[tokio::test]
async fn a_second_start_of_what_runs_says_the_same() {
    let mut host = Host::new().await;
    let first = host.start(INSTANCE, script("sleep 1000")).await;
    let second = host.start(INSTANCE, script("sleep 1000")).await;
    assert_eq!(first, second);
    assert_eq!(host.inventory().await.len(), 1);
}

#[tokio::test]
async fn an_instance_that_ended_can_be_started_again() {
    let mut host = Host::new().await;
    for text in ["one", "two"] {
        host.start(INSTANCE, script(&format!("echo {text}"))).await;
        assert_eq!(host.exited(INSTANCE).await.1, text);
    }
    let mut cursor = Default::default();
    assert_eq!(host.read_until(&mut cursor, "two").await, ["one", "two"]);
}

#[tokio::test]
async fn what_cannot_be_started_says_why_and_leaves_nothing() {
    let mut host = Host::new().await;
    let cases = [
        (command(&[]), "the version has no command"),
        (
            command(&["no-such-program"]),
            "`no-such-program` is neither in the app's files nor in PATH",
        ),
        (command(&["./page.html"]), "chmod +x ./page.html"),
        (
            VersionSpec {
                artifact: Default::default(),
                ..command(&["sh"])
            },
            "names no artifact",
        ),
    ];
    for (spec, expected) in cases {
        let reason = host.start_fails(spec).await;
        assert!(reason.contains(expected), "{reason}");
        assert_eq!(host.traces(), [""; 0]);
    }
}

#[tokio::test]
async fn a_program_that_dies_at_once_is_shown_with_its_last_words() {
    let mut host = Host::new().await;
    let dying = script("echo starting; echo 'no database' >&2; exit 3");
    host.start(INSTANCE, dying).await;
    let (reason, log_tail) = host.exited(INSTANCE).await;
    assert_eq!(reason, "exit code 3");
    assert_eq!(log_tail, "starting\nno database");
}

#[tokio::test]
async fn what_ignores_sigterm_is_killed() {
    let mut host = Host::new().await;
    let deaf = "trap 'echo ignored' TERM; echo ready; while :; do sleep 0.05; done";
    host.start(INSTANCE, script(deaf)).await;
    let mut cursor = Default::default();
    host.read_until(&mut cursor, "ready").await;
    let instance = INSTANCE;
    host.order(DriverCommand::Terminate { instance });
    host.read_until(&mut cursor, "ignored").await;
    assert_eq!(host.inventory().await.len(), 1);
    host.order(DriverCommand::Kill { instance });
    assert_eq!(host.exited(INSTANCE).await.0, "signal 9 (SIGKILL)");
}

#[tokio::test]
async fn descendants_die_with_it_wherever_they_hide() {
    let mut host = Host::new().await;
    let family = "
        trap '' TERM
        sleep 1000 & echo $! > $HOME/child
        setsid sh -c 'echo $$ > $HOME/own-session; exec sleep 1000' &
        env -i sh -c \"echo \\$\\$ > $HOME/wiped; exec sleep 1000\" &
        wait; wait; while :; do sleep 1; done";
    for end in ["kill", "leader dies"] {
        host.start(INSTANCE, script(family)).await;
        let mut pids = Vec::new();
        for name in ["child", "own-session", "wiped"] {
            let pid = host.pid(INSTANCE, name).await;
            until(|| fs::read(format!("/proc/{pid}/comm")).is_ok_and(|name| name == b"sleep\n"))
                .await;
            pids.push(pid);
        }
        assert!(pids.iter().all(|pid| runs(*pid)));
        if end == "kill" {
            let instance = INSTANCE;
            host.order(DriverCommand::Kill { instance });
        } else {
            let state = fs::read_to_string(host.home(INSTANCE).with_added_extension("state"));
            let state = state.expect("a record");
            let pid = state.lines().find_map(|line| line.strip_prefix("pid "));
            let pid = pid.and_then(|pid| pid.parse().ok());
            let leader = pid
                .and_then(rustix::process::Pid::from_raw)
                .expect("a leader");
            rustix::process::kill_process(leader, rustix::process::Signal::KILL).expect("ours");
        }
        assert_eq!(host.exited(INSTANCE).await.0, "signal 9 (SIGKILL)");
        assert!(!pids.iter().any(|pid| runs(*pid)), "{pids:?}");
    }
}

#[tokio::test]
async fn a_wiped_process_in_its_own_session_falls_with_its_parents() {
    let mut host = Host::new().await;
    let hider = "setsid env -i sh -c \"echo \\$\\$ > $HOME/hider; exec sleep 1000\"; wait";
    host.start(INSTANCE, script(hider)).await;
    let pid = host.pid(INSTANCE, "hider").await;
    let instance = INSTANCE;
    host.order(DriverCommand::Kill { instance });
    host.exited(INSTANCE).await;
    assert!(!runs(pid));
}

#[tokio::test]
async fn the_platforms_secrets_and_files_stay_with_it() {
    let mut host = Host::new().await;
    // cargo gives every test this one.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let mut spec =
        script("env | sort; pwd; ls; readlink /proc/$$/fd/0; ls /proc/$$/fd; echo end; sleep 1000");
    spec.env.push(EnvVariable {
        name: "COLOR".to_owned(),
        value: "red".to_owned(),
    });
    let endpoint = host.start(INSTANCE, spec).await;
    let lines = host.read_until(&mut Default::default(), "end").await;
    let names: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.split_once('=').map(|(name, _)| name))
        .collect();
    // PWD is the shell's own.
    assert_eq!(
        names,
        [
            "COLOR",
            "HELPER",
            "HOME",
            "HOST",
            "LANG",
            "PATH",
            "PORT",
            "PWD",
            "TIDEGATE_DATA",
            "TIDEGATE_INSTANCE",
            "TIDEGATE_PROJECT",
            "TIDEGATE_VERSION",
            "TMPDIR"
        ]
    );
    let home = fs::canonicalize(host.data.path())
        .expect("a path")
        .join("instances/v3.0.7");
    let port = endpoint.rsplit(':').next().expect("a port");
    for expected in [
        &format!("PORT={port}"),
        "HOST=127.0.0.1",
        "TIDEGATE_PROJECT=hello",
        "TIDEGATE_VERSION=1",
        "TIDEGATE_INSTANCE=v3.0.7",
        &format!("HOME={}", home.display()),
        &format!("TMPDIR={}/tmp", home.display()),
    ] {
        assert!(
            lines.iter().any(|line| line == expected),
            "{expected}: {lines:?}"
        );
    }
    let at = |text: &str| lines.iter().position(|line| line == text).expect("there");
    let tmp = at(&format!("TMPDIR={}/tmp", home.display()));
    let app = home.join("app").display().to_string();
    assert_eq!(&lines[tmp + 1..tmp + 4], [&app, "page.html", "/dev/null"]);
    let open: BTreeSet<String> = lines[tmp + 4..at("end")].iter().cloned().collect();
    assert_eq!(open, inherited_descriptors());
}

#[tokio::test]
async fn a_full_host_refuses_and_goes_on() {
    let options = Options {
        instances_max: 2,
        ..Options::default()
    };
    let mut host = Host::with(options).await;
    let mut endpoints = Vec::new();
    for slot in [1, 2] {
        endpoints.push(host.start(other(slot), script("sleep 1000")).await);
    }
    assert_ne!(endpoints[0], endpoints[1]);
    let reason = host.start_fails(script("sleep 1000")).await;
    assert!(reason.contains("it runs 2 instances"), "{reason}");
    let instance = other(1);
    host.order(DriverCommand::Kill { instance });
    host.exited(instance).await;
    until(|| host.traces().len() == 2).await;
    // Its place is free once its task is gone, which may be a moment after its report.
    loop {
        host.order_start(INSTANCE, script("sleep 1000"));
        match host.report().await {
            DriverReport::Started { .. } => break,
            DriverReport::StartFailed { .. } => {}
            report => panic!("{report:?}"),
        }
    }
}

#[tokio::test]
async fn shutdown_asks_and_then_kills() {
    let mut host = Host::new().await;
    let waits = "echo $$ > $HOME/up; while :; do sleep 0.05; done";
    for (slot, trap) in [(1, "trap 'exit 0' TERM"), (2, "trap '' TERM")] {
        host.start(other(slot), script(&format!("{trap}; {waits}")))
            .await;
        host.pid(other(slot), "up").await;
    }
    host.driver().shutdown(Duration::from_secs(2)).await;
    assert_eq!(host.traces(), [""; 0]);
    until(|| zombies().is_empty()).await;
    let mut reasons = Vec::new();
    for _ in 0..2 {
        match host.report().await {
            DriverReport::Exited { reason, .. } => reasons.push(reason),
            report => panic!("{report:?}"),
        }
    }
    reasons.sort();
    assert_eq!(reasons, ["exit code 0", "signal 9 (SIGKILL)"]);
    let refused = host.driver().command(DriverCommand::Inventory);
    assert_eq!(refused, Err(CommandRefused::ShutDown));
}

#[tokio::test]
async fn shutdown_does_not_wait_for_a_reader() {
    let options = Options {
        reports_max: 1,
        ..Options::default()
    };
    let host = Host::with(options).await;
    for slot in 0..5 {
        host.order_start(other(slot), script("sleep 1000"));
    }
    host.driver().shutdown(Duration::ZERO).await;
    assert_eq!(host.traces(), [""; 0]);
}

#[tokio::test]
async fn an_address_that_is_none_is_refused() {
    let data = tempfile::tempdir().expect("a directory");
    let ip = "0.0.0.0".parse().expect("an address");
    let opened = ProcessDriver::open(data.path(), ip, |_, _| Ok(()), Options::default()).await;
    assert!(matches!(opened, Err(OpenError::ListenUnspecified { .. })));
}
