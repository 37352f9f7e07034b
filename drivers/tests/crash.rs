//! The platform ends without a word, and its next life makes of it what is right.

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use support::{HELPER, Host, INSTANCE, command, marked_with, other, runs, script, until, zombies};
use tidegate_drivers::Options;
use tidegate_kernel::{DriverCommand, DriverInstance};

#[tokio::test]
async fn what_runs_is_adopted_and_its_end_reported() {
    let mut host = Host::new().await;
    let endpoint = host.start(INSTANCE, command(&[HELPER, "serve"])).await;
    host.until_healthy(INSTANCE, "").await;
    host.crash_and_reopen().await;
    let instance = INSTANCE;
    let expected = [DriverInstance {
        instance,
        endpoint: endpoint.clone(),
    }];
    assert_eq!(host.inventory().await, expected);
    assert!(host.check(INSTANCE, "/health").await);
    let again = host.start(INSTANCE, command(&[HELPER, "serve"])).await;
    assert_eq!(again, endpoint);
    host.order(DriverCommand::Terminate { instance });
    let (reason, log_tail) = host.exited(INSTANCE).await;
    // Still a child of this process, so its end is known.
    assert_eq!(reason, "signal 15 (SIGTERM)");
    assert_eq!(log_tail, "listening");
    assert_eq!(host.traces(), [""; 0]);
    assert!(!host.has_report());
}

#[tokio::test]
async fn what_died_meanwhile_is_removed_without_a_word() {
    let mut host = Host::new().await;
    let script =
        script("setsid sleep 1000 & echo $! > $HOME/straggler; echo $$ > $HOME/leader; wait");
    host.start(INSTANCE, script).await;
    let (straggler, leader) = (
        host.pid(INSTANCE, "straggler").await,
        host.pid(INSTANCE, "leader").await,
    );
    host.crash();
    let pid = rustix::process::Pid::from_raw(leader.cast_signed()).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("ours");
    until(|| !runs(leader)).await;
    host.crash_and_reopen().await;
    assert_eq!(host.inventory().await, []);
    assert!(!runs(straggler));
    assert_eq!(host.traces(), [""; 0]);
    until(|| zombies().is_empty()).await;
    assert!(!host.has_report());
}

#[tokio::test]
async fn a_process_that_only_its_mark_tells_of_is_ended() {
    let mut host = Host::new().await;
    host.start(INSTANCE, script("echo $$ > $HOME/leader; sleep 1000"))
        .await;
    host.start(other(1), script("echo $$ > $HOME/leader; sleep 1000"))
        .await;
    let lost = host.pid(INSTANCE, "leader").await;
    let kept = host.pid(other(1), "leader").await;
    host.crash();
    // As if the platform had died between the fork and the record.
    let state = host.home(INSTANCE).with_added_extension("state");
    let text = fs::read_to_string(&state).expect("a record");
    let before = text.split("pid ").next().expect("a beginning");
    fs::write(&state, format!("{before}end\n")).expect("space");
    host.crash_and_reopen().await;
    let found = host.inventory().await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].instance, other(1));
    assert!(!runs(lost));
    assert!(runs(kept));
    assert_eq!(host.traces(), ["v3.1.7", "v3.1.7.state"]);
}

#[tokio::test]
async fn a_stale_record_never_touches_who_has_the_number_now() {
    let mut host = Host::new().await;
    let stranger = Stranger::new();
    // A number is never given out again within one tick, so the two must not share theirs.
    let born = start_ticks(stranger.0.id());
    until(|| start_ticks_now() > born).await;
    host.start(INSTANCE, script("echo $$ > $HOME/leader; sleep 1000"))
        .await;
    let leader = host.pid(INSTANCE, "leader").await;
    host.crash();
    let state = host.home(INSTANCE).with_added_extension("state");
    let text = fs::read_to_string(&state).expect("a record");
    let stale = text.replace(
        &format!("pid {leader}"),
        &format!("pid {}", stranger.0.id()),
    );
    fs::write(&state, stale).expect("space");
    host.crash_and_reopen().await;
    assert_eq!(host.inventory().await, []);
    assert!(!runs(leader));
    assert!(runs(stranger.0.id()));
}

/// A process that is no instance's; gone with the test.
struct Stranger(Child);

impl Stranger {
    fn new() -> Stranger {
        let mut sleep = Command::new("sleep");
        Stranger(sleep.arg("1000").spawn().expect("sleep"))
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.0.kill().expect("ours");
        self.0.wait().expect("ours");
    }
}

fn start_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let after_name = stat.rsplit(')').next().expect("fields");
    let ticks = after_name.split_ascii_whitespace().nth(19);
    ticks
        .and_then(|ticks| ticks.parse().ok())
        .expect("a number")
}

/// Start time of a process that starts now.
fn start_ticks_now() -> u64 {
    let mut child = Command::new("sleep").arg("0").spawn().expect("sleep");
    let ticks = start_ticks(child.id());
    child.wait().expect("ours");
    ticks
}

#[tokio::test]
async fn a_killed_platform_loses_no_instance_and_no_line() {
    let data = tempfile::tempdir().expect("a directory");
    let count = "n=0; while :; do n=$((n+1)); echo $n; sleep 0.01; done";
    let mut platform = Command::new(HELPER)
        .args(["platform".as_ref(), data.path().as_os_str()])
        .args(["sh", "-c", count])
        .stdout(Stdio::piped())
        .spawn()
        .expect("a platform");
    let mut started = String::new();
    let output = platform.stdout.take().expect("piped");
    BufReader::new(output)
        .read_line(&mut started)
        .expect("a line");
    assert!(started.starts_with("Started"), "{started}");
    let raw = data.path().join("logs/0000000000000003/v3.0.7.log");
    until(|| fs::metadata(&raw).is_ok_and(|raw| raw.len() > 100)).await;
    platform.kill().expect("ours");
    platform.wait().expect("ours");
    let before = fs::metadata(&raw).expect("it goes on").len();
    until(|| fs::metadata(&raw).is_ok_and(|raw| raw.len() > before)).await;

    let mut host = Host::on(data, Options::default()).await;
    assert_eq!(host.inventory().await.len(), 1);
    let instance = INSTANCE;
    host.order(DriverCommand::Kill { instance });
    let (reason, _) = host.exited(INSTANCE).await;
    assert!(reason.contains("its exit code is not known"), "{reason}");
    let id = fs::read_to_string(host.data.path().join("driver.id")).expect("an id");
    assert_eq!(marked_with(&format!("TIDEGATE_DATA={id}")), [0; 0]);
    let stored = fs::read_to_string(raw.with_file_name("lines.0000000000000000")).expect("a log");
    let numbers: Vec<usize> = stored
        .lines()
        .filter(|line| !line.starts_with(['@', 't']))
        .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
        .collect();
    assert!(numbers.len() > 30);
    assert_eq!(numbers, Vec::from_iter(1..=numbers.len()));
}
