//! Programs that nobody here wrote.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;

use crate::support::{DEADLINE, Ended, Platform, utf8};

/// Whether a program of the machine is there. Where it must be, its absence is a failure.
fn has(program: &str) -> bool {
    let asked = Command::new(program).arg("--version").output();
    let has = asked.is_ok_and(|output| output.status.success());
    let is_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(has || !is_ci, "CI must have {program}");
    if !has {
        eprintln!("CANNOT RUN: {program} is not installed, so this test proves nothing");
    }
    has
}

#[test]
fn pythons_file_server_answers_and_its_lines_are_shown() {
    if !has("python3") {
        return;
    }
    let platform = Platform::start();
    let files = [
        (
            "tidegate.yml",
            "command: python3 -u -m http.server $PORT --bind $HOST\n",
        ),
        ("page.txt", "from python"),
    ];
    let app = platform.folder("py", &files);
    platform.deploy("py", &app);
    platform.until_answered("py", "/page.txt?one", "from python");
    let shown = platform.until("its log shows the request", |p| {
        let shown = p.must(&["logs", "py"]);
        shown.contains("GET /page.txt?one").then_some(shown)
    });
    assert!(shown.lines().all(|line| line.contains(" 1.0 ")), "{shown}");

    let mut command = platform.command(&["logs", "py", "-f"]);
    let mut follow = Ended(command.stdout(Stdio::piped()).spawn().expect("it runs"));
    let out = BufReader::new(follow.0.stdout.take().expect("a pipe"));
    let (send, lines) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    let until = |part: &str| {
        while !lines
            .recv_timeout(DEADLINE)
            .expect("more lines")
            .contains(part)
        {}
    };
    until("?one");
    platform.until_answered("py", "/page.txt?two", "from python");
    until("?two");
    drop(follow);
    reader.join().expect("no panic");
}

#[test]
fn a_package_from_npm_serves() {
    if !(has("node") && has("npm")) {
        return;
    }
    let platform = Platform::start();
    let command =
        "command: node node_modules/http-server/bin/http-server public -a $HOST -p $PORT\n";
    let files = [
        ("tidegate.yml", command),
        ("package.json", "{\"private\": true}"),
        ("public/index.html", "from node"),
    ];
    let app = platform.folder("web", &files);
    let installed = Command::new("npm")
        .args(["install", "--no-audit", "--no-fund", "--no-bin-links"])
        .args(["--prefix", utf8(&app), "http-server@14"])
        .output()
        .expect("npm runs");
    assert!(installed.status.success(), "npm install: {installed:?}");
    platform.deploy("web", &app);
    platform.until_answered("web", "/", "from node");
}
