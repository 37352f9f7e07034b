//! A platform of a test's own, and the commands of its tenant.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::http::{self, Answer};
use crate::processes;

/// For anything that is to happen at some time.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

pub(crate) struct Platform {
    root: TempDir,
    listen: SocketAddr,
    api: SocketAddr,
    sample: bool,
    recorded: bool,
    dev: Option<Child>,
}

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) ok: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Platform {
    /// Starts `tidegate dev` and waits until its API answers.
    pub(crate) fn start() -> Platform {
        Self::with(false, false)
    }

    /// The same, with its flight recorder on.
    pub(crate) fn recorded() -> Platform {
        Self::with(false, true)
    }

    pub(crate) fn with_sample(sample: bool) -> Platform {
        Self::with(sample, false)
    }

    fn with(sample: bool, recorded: bool) -> Platform {
        let mut platform = Platform {
            root: tempfile::tempdir().expect("a temporary folder"),
            listen: free_address(),
            api: free_address(),
            sample,
            recorded,
            dev: None,
        };
        platform.start_again();
        platform
    }

    pub(crate) fn start_again(&mut self) {
        assert!(self.dev.is_none(), "it runs already");
        let errors = File::options()
            .create(true)
            .append(true)
            .open(self.errors())
            .expect("a file");
        let mut command = self.command(&["dev", "--listen", &self.listen.to_string()]);
        command
            .args(["--api", &self.api.to_string(), "--workers", "2", "--data"])
            .arg(self.data())
            .stdout(Stdio::null())
            .stderr(errors);
        if !self.sample {
            command.arg("--no-sample");
        }
        if self.recorded {
            command.arg("--record").arg(self.recordings());
        }
        self.dev = Some(command.spawn().expect("the built program"));
        self.until("the API answers", |p| p.run(&["ps"]).ok.then_some(()));
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    pub(crate) fn recordings(&self) -> PathBuf {
        self.root.path().join("flight")
    }

    fn errors(&self) -> PathBuf {
        self.root.path().join("dev.stderr")
    }

    /// A folder with these files, beside the data.
    pub(crate) fn folder(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let dir = self.root.path().join(name);
        fs::create_dir_all(&dir).expect("a folder");
        for (path, text) in files {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        dir
    }

    /// A command with an environment in which nothing of this user's is found.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        for name in [
            "API",
            "TOKEN",
            "DATA",
            "LISTEN",
            "API_LISTEN",
            "DOMAIN",
            "RECORD",
        ] {
            command.env_remove(format!("TIDEGATE_{name}"));
        }
        command
            .env("HOME", self.root.path())
            .env("XDG_CONFIG_HOME", self.root.path().join("config"))
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Runs a tenant's command; it finds the API by what `dev` left.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().expect("the program runs");
        Ran::of(&output)
    }

    /// Runs a command that must succeed; returns what it printed.
    pub(crate) fn must(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert!(ran.ok, "{arguments:?}: {ran:?}\n{}", self.said());
        ran.out
    }

    /// The same with `--json`.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["--json"]].concat();
        let out = self.must(&arguments);
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}"))
    }

    /// Deploys a folder as a project; the command must succeed.
    pub(crate) fn deploy(&self, project: &str, dir: &Path) -> Value {
        self.json(&["deploy", utf8(dir), "--project", project])
    }

    pub(crate) fn try_deploy(&self, project: &str, dir: &Path) -> Ran {
        self.run(&["deploy", utf8(dir), "--project", project])
    }

    pub(crate) fn get(&self, project: &str, path: &str) -> std::io::Result<Answer> {
        http::get(self.listen, &format!("{project}.localhost"), path)
    }

    pub(crate) fn listen(&self) -> SocketAddr {
        self.listen
    }

    pub(crate) fn api(&self) -> SocketAddr {
        self.api
    }

    /// Waits until a path answers 200 with `part` in it.
    pub(crate) fn until_answered(&self, project: &str, path: &str, part: &str) {
        self.until(&format!("{project}{path} answers {part:?}"), |p| {
            let answer = p.get(project, path).ok()?;
            (answer.status == 200 && answer.text.contains(part)).then_some(())
        });
    }

    /// Instances of a project that `ps` knows.
    pub(crate) fn instances(&self, project: &str) -> Vec<Value> {
        let ps = self.json(&["ps", project]);
        ps["instances"].as_array().expect("a list").clone()
    }

    /// Number, activity and step of each version, oldest first.
    pub(crate) fn versions(&self, project: &str) -> Vec<(u64, bool, String)> {
        let versions = self.json(&["versions", project]);
        let row = |v: &Value| {
            let step = v["step"].as_str().expect("a step").to_owned();
            let number = v["number"].as_u64().expect("a number");
            (number, v["active"] == true, step)
        };
        let mut rows: Vec<_> = versions
            .as_array()
            .expect("a list")
            .iter()
            .map(row)
            .collect();
        rows.sort();
        rows
    }

    pub(crate) fn until<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(
                begun.elapsed() < DEADLINE,
                "it never happened that {what}\n{}",
                self.said()
            );
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn said(&self) -> String {
        fs::read_to_string(self.errors()).unwrap_or_default()
    }

    /// SIGTERM; returns when it has ended, which must be with success.
    pub(crate) fn terminate(&mut self) {
        let mut dev = self.dev.take().expect("it runs");
        processes::signal(dev.id().cast_signed(), "TERM");
        let begun = Instant::now();
        loop {
            if let Some(status) = dev.try_wait().expect("a child") {
                assert!(status.success(), "{status}\n{}", self.said());
                return;
            }
            if begun.elapsed() > DEADLINE {
                self.dev = Some(dev);
                panic!("SIGTERM does not end it\n{}", self.said());
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// kill -9 of the platform alone; its instances stay.
    pub(crate) fn kill(&mut self) {
        let mut dev = self.dev.take().expect("it runs");
        dev.kill().expect("a signal");
        dev.wait().expect("a child");
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if self.dev.is_some() {
            self.kill();
        }
        // Whoever forks between two looks is found by the next.
        for _ in 0..50 {
            let left = processes::of(&self.data());
            if left.is_empty() {
                break;
            }
            for pid in left.into_keys() {
                processes::signal(pid, "KILL");
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

impl Ran {
    pub(crate) fn of(output: &Output) -> Ran {
        Ran {
            ok: output.status.success(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A program that is ended when the test is over.
pub(crate) struct Ended(pub(crate) Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn utf8(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// A port below the range from which the kernel gives out others, so that nobody takes it
/// between two lives of a platform.
fn free_address() -> SocketAddr {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let from_process = u16::try_from(std::process::id() % 400).expect("below 400") * 25;
    for _ in 0..1_000 {
        let port = 18_000 + from_process + NEXT.fetch_add(1, Ordering::Relaxed) % 2_000;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port is free");
}
