//! A driver on a directory of its own, and words to command it with.

#![expect(dead_code, reason = "each test binary uses its own part")]

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;
use tidegate_drivers::{Options, ProcessDriver};
use tidegate_kernel::{DriverCommand, DriverInstance, DriverReport};
use tidegate_protocol::{Bytes, EnvVariable, InstanceRef, LogLine, VersionSpec};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Long enough for any machine; only a failing test waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const HELPER: &str = env!("CARGO_BIN_EXE_tidegate-drivers-test-helper");

pub(crate) const INSTANCE: InstanceRef = InstanceRef {
    version: 3,
    slot: 0,
    epoch: 7,
};

pub(crate) fn other(slot: u32) -> InstanceRef {
    InstanceRef { slot, ..INSTANCE }
}

/// A program of these words.
pub(crate) fn command(words: &[&str]) -> VersionSpec {
    VersionSpec {
        id: 3,
        project: "hello".to_owned(),
        number: 1,
        artifact: Bytes::from_static(&[7; 32]),
        command: words.iter().map(|word| (*word).to_owned()).collect(),
        ..VersionSpec::default()
    }
}

/// A shell script, which finds the helper program in `$HELPER`.
pub(crate) fn script(text: &str) -> VersionSpec {
    VersionSpec {
        env: vec![EnvVariable {
            name: "HELPER".to_owned(),
            value: HELPER.to_owned(),
        }],
        ..command(&["sh", "-c", text])
    }
}

pub(crate) struct Host {
    pub(crate) data: TempDir,
    pub(crate) options: Options,
    driver: Option<ProcessDriver>,
    reports: Option<mpsc::Receiver<DriverReport>>,
}

impl Host {
    pub(crate) async fn new() -> Host {
        Host::with(Options::default()).await
    }

    pub(crate) async fn with(options: Options) -> Host {
        Host::on(tempfile::tempdir().expect("a directory"), options).await
    }

    pub(crate) async fn on(data: TempDir, options: Options) -> Host {
        let mut host = Host {
            data,
            options,
            driver: None,
            reports: None,
        };
        host.open().await;
        host
    }

    async fn open(&mut self) {
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let lay_out = |_: &_, app: &Path| {
            fs::create_dir(app)?;
            fs::write(app.join("page.html"), "hello\n")
        };
        let opened = ProcessDriver::open(self.data.path(), ip, lay_out, self.options.clone()).await;
        let (driver, reports) = opened.expect("a driver");
        self.driver = Some(driver);
        self.reports = Some(reports);
    }

    /// The platform ends without a word and comes back.
    pub(crate) async fn crash_and_reopen(&mut self) {
        self.crash();
        self.open().await;
    }

    pub(crate) fn crash(&mut self) {
        self.driver = None;
        self.reports = None;
    }

    pub(crate) fn driver(&self) -> &ProcessDriver {
        self.driver.as_ref().expect("open")
    }

    pub(crate) fn order(&self, command: DriverCommand) {
        self.driver().command(command).expect("room");
    }

    pub(crate) async fn report(&mut self) -> DriverReport {
        let reports = self.reports.as_mut().expect("open");
        let report = timeout(PATIENCE, reports.recv()).await;
        report.expect("a report in time").expect("a living driver")
    }

    /// Whether there is a report by now.
    pub(crate) fn has_report(&mut self) -> bool {
        !self.reports.as_mut().expect("open").is_empty()
    }

    pub(crate) fn order_start(&self, instance: InstanceRef, spec: VersionSpec) {
        let spec = Box::new(spec);
        self.order(DriverCommand::Start { instance, spec });
    }

    /// Starts it and returns its endpoint.
    pub(crate) async fn start(&mut self, instance: InstanceRef, spec: VersionSpec) -> String {
        self.order_start(instance, spec);
        match self.report().await {
            DriverReport::Started {
                instance: started,
                endpoint,
            } if started == instance => endpoint,
            report => panic!("not started: {report:?}"),
        }
    }

    pub(crate) async fn start_fails(&mut self, spec: VersionSpec) -> String {
        self.order_start(INSTANCE, spec);
        match self.report().await {
            DriverReport::StartFailed { instance, reason } if instance == INSTANCE => reason,
            report => panic!("not refused: {report:?}"),
        }
    }

    pub(crate) async fn exited(&mut self, instance: InstanceRef) -> (String, String) {
        match self.report().await {
            DriverReport::Exited {
                instance: ended,
                reason,
                log_tail,
            } if ended == instance => (reason, log_tail),
            report => panic!("not exited: {report:?}"),
        }
    }

    pub(crate) async fn check(&mut self, instance: InstanceRef, health_path: &str) -> bool {
        let health_path = health_path.to_owned();
        self.order(DriverCommand::Check {
            instance,
            health_path,
        });
        match self.report().await {
            DriverReport::Checked {
                instance: checked,
                healthy,
            } if checked == instance => healthy,
            report => panic!("not checked: {report:?}"),
        }
    }

    pub(crate) async fn until_healthy(&mut self, instance: InstanceRef, health_path: &str) {
        timeout(PATIENCE, async {
            while !self.check(instance, health_path).await {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .expect("health in time");
    }

    pub(crate) async fn inventory(&mut self) -> Vec<DriverInstance> {
        self.order(DriverCommand::Inventory);
        match self.report().await {
            DriverReport::Inventory(instances) => instances,
            report => panic!("no inventory: {report:?}"),
        }
    }

    pub(crate) async fn read_log(
        &mut self,
        cursor: &Bytes,
        bytes_max: u32,
    ) -> (Vec<LogLine>, Bytes) {
        let request = 99;
        let version = INSTANCE.version;
        let cursor = cursor.clone();
        self.order(DriverCommand::ReadLog {
            request,
            version,
            cursor,
            bytes_max,
        });
        match self.report().await {
            DriverReport::Log {
                request: 99,
                cursor,
                lines,
            } => (lines, cursor),
            report => panic!("no log: {report:?}"),
        }
    }

    /// Reads on until a line equals `text`; returns all lines up to there.
    pub(crate) async fn read_until(&mut self, cursor: &mut Bytes, text: &str) -> Vec<String> {
        let mut texts = Vec::new();
        timeout(PATIENCE, async {
            while texts.last().map(String::as_str) != Some(text) {
                let (lines, next) = self.read_log(cursor, 64 * 1024).await;
                *cursor = next;
                if lines.is_empty() {
                    sleep(Duration::from_millis(20)).await;
                }
                texts.extend(lines.into_iter().map(|line| line.text));
            }
        })
        .await
        .unwrap_or_else(|_| panic!("`{text}` was not written"));
        texts
    }

    pub(crate) fn home(&self, instance: InstanceRef) -> PathBuf {
        self.data
            .path()
            .join("instances")
            .join(instance.to_string())
    }

    /// What lies below `instances/`.
    pub(crate) fn traces(&self) -> Vec<String> {
        let entries = fs::read_dir(self.data.path().join("instances")).expect("a directory");
        let mut names: Vec<String> = entries
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    }

    /// Reads a process id that a script of the instance wrote to `$HOME/{name}`.
    pub(crate) async fn pid(&self, instance: InstanceRef, name: &str) -> u32 {
        let path = self.home(instance).join(name);
        let pid = || {
            fs::read_to_string(&path)
                .ok()?
                .strip_suffix('\n')?
                .parse()
                .ok()
        };
        until(|| pid().is_some()).await;
        pid().expect("just seen")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // A failing test leaves no processes behind.
        let Ok(id) = fs::read_to_string(self.data.path().join("driver.id")) else {
            return;
        };
        let mark = format!("TIDEGATE_DATA={}", id.trim());
        // A killed process may have forked just before.
        loop {
            let left = marked_with(&mark);
            for pid in left.iter().filter_map(|pid| Pid::from_raw(*pid)) {
                let _ = kill_process(pid, Signal::KILL);
                // And no zombies; an error says that it was not our child.
                let _ = waitpid(Some(pid), WaitOptions::empty());
            }
            if left.is_empty() {
                return;
            }
        }
    }
}

/// Waits until something holds.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    timeout(PATIENCE, async {
        while !holds() {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("it to hold in time");
}

/// Whether the process runs: neither gone nor a zombie.
pub(crate) fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

/// Processes with this variable in their environment.
pub(crate) fn marked_with(variable: &str) -> Vec<i32> {
    let entries = fs::read_dir("/proc").expect("/proc");
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid: &i32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|other| other == variable.as_bytes())
        })
        .collect()
}

/// Descriptors that whoever started the test left open for all its descendants.
pub(crate) fn inherited_descriptors() -> BTreeSet<String> {
    const O_CLOEXEC: u32 = 0o2_000_000;
    let entries = fs::read_dir("/proc/self/fdinfo").expect("/proc");
    entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let info = fs::read_to_string(&path).ok()?;
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
            let flags = u32::from_str_radix(flags.trim(), 8).ok()?;
            let name = path.file_name()?.to_str()?.to_owned();
            (flags & O_CLOEXEC == 0).then_some(name)
        })
        .collect()
}

/// Children of this process that have ended and were not reaped. Other tests of the binary
/// run beside and may have some for a moment.
pub(crate) fn zombies() -> Vec<String> {
    let own = std::process::id().to_string();
    let entries = fs::read_dir("/proc").expect("/proc");
    entries
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("stat")).ok())
        .filter(|stat| {
            let rest = stat.rsplit(')').next().unwrap_or_default();
            let mut fields = rest.split_ascii_whitespace();
            fields.next() == Some("Z") && fields.next() == Some(own.as_str())
        })
        .collect()
}
