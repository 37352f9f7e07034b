//! Nodes as processes, and what they say of themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Display};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

const TIDEGATE: &str = env!("CARGO_BIN_EXE_tidegate");
const TOKEN: &str = "a-token-for-this-test-only";
pub(crate) const REGIONS: [&str; 2] = ["a", "b"];
/// In each region, over two zones.
pub(crate) const METALDS: usize = 3;
/// How long anything may take before the test fails. Nothing here depends on less.
const PATIENCE: Duration = Duration::from_secs(90);

/// Tries until it works.
pub(crate) fn eventually<T, E: Display>(
    what: &str,
    mut attempt: impl FnMut() -> Result<T, E>,
) -> T {
    let begun = Instant::now();
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{what}: {error}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Control, and in each region two gateways and three hosts.
pub(crate) struct Cluster {
    dir: tempfile::TempDir,
    /// "127.x.y": addresses that nobody else on this machine uses.
    net: String,
    nodes: BTreeMap<String, Node>,
}

struct Node {
    options: Vec<String>,
    child: Child,
}

/// What `ps` shows of an instance.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Instance {
    project: String,
    number: u32,
    pub(crate) region: String,
    slot: u32,
    epoch: u64,
    state: String,
    pub(crate) host: String,
}

#[derive(Deserialize)]
struct Ps {
    instances: Vec<Instance>,
}

#[derive(Deserialize)]
struct Version {
    id: u64,
    number: u32,
    step: String,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let pid = std::process::id();
        let mut cluster = Cluster {
            dir: tempfile::tempdir().expect("a directory"),
            net: format!("127.{}.{}", 64 + pid / 250 % 128, pid % 250),
            nodes: BTreeMap::new(),
        };
        let net = cluster.net.clone();
        let api = format!("{net}.1:7070");
        cluster.add("control", 1, &["control", "--api", &api]);
        // Nodes that find control there need not ask it again, which they do with pauses.
        eventually("control answers", || cluster.ask(&["ps"]));
        for (region, first) in REGIONS.into_iter().zip([10, 20]) {
            let join = format!("{net}.1:7100");
            for (name, at) in [
                (format!("gateway-{region}"), first),
                (format!("gateway-{region}-2"), first + 1),
            ] {
                let (listen, hop) = (format!("{net}.{at}:8080"), format!("{net}.{at}:8180"));
                let store = format!("gateway-{region}");
                let place = [
                    "gateway", "--region", region, "--join", &join, "--store", &store,
                ];
                let ports = ["--name", &name, "--listen", &listen, "--hop", &hop];
                cluster.add(
                    &name,
                    at,
                    &[&place[..], &ports, &["--workers", "2"]].concat(),
                );
            }
            for (n, zone) in ["x", "x", "y"].into_iter().enumerate() {
                let at = first + 2 + n;
                let (name, ip) = (format!("metald-{region}-{n}"), format!("{net}.{at}"));
                let place = [
                    "metald", "--region", region, "--zone", zone, "--join", &join,
                ];
                let host = ["--name", &name, "--instance-ip", &ip, "--capacity", "5"];
                cluster.add(&name, at, &[&place[..], &host].concat());
            }
        }
        cluster.await_regions();
        cluster
    }

    /// Control refuses an app for a region of which it has not heard.
    fn await_regions(&self) {
        let text = format!("regions: [{}]\n", REGIONS.join(", "));
        let dir = self.app("regions", "tidegate.yml", &text);
        eventually("both regions are known", || self.ask(&["deploy", &dir]));
    }

    fn add(&mut self, name: &str, at: usize, options: &[&str]) {
        let data = self.dir.path().join(name);
        fs::create_dir(&data).expect("a data directory");
        let mut all = vec!["run".to_owned()];
        all.extend(options.iter().map(|&option| option.to_owned()));
        all.extend(["--mesh".to_owned(), format!("{}.{at}:7100", self.net)]);
        all.extend(["--data".to_owned(), data.display().to_string()]);
        let child = self.launch(name, &all);
        let node = Node {
            options: all,
            child,
        };
        self.nodes.insert(name.to_owned(), node);
    }

    fn launch(&self, name: &str, options: &[String]) -> Child {
        let path = self.log_of(name);
        let log = File::options()
            .create(true)
            .append(true)
            .open(path)
            .expect("a log");
        let mut command = self.command();
        command.args(options).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a log")).stderr(log);
        command.spawn().expect("the node starts")
    }

    /// The program, in an environment that says nothing of other installations.
    fn command(&self) -> Command {
        let mut command = Command::new(TIDEGATE);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir.path())
            .env("TIDEGATE_API", format!("http://{}.1:7070", self.net))
            .env("TIDEGATE_TOKEN", TOKEN);
        if let Some(filter) = std::env::var_os("TIDEGATE_LOG") {
            command.env("TIDEGATE_LOG", filter);
        }
        command
    }

    fn log_of(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{name}.log"))
    }

    /// Where the gateways answer.
    pub(crate) fn gateways(&self) -> Vec<String> {
        let at = [10, 11, 20, 21].iter();
        at.map(|at| format!("{}.{at}:8080", self.net)).collect()
    }

    pub(crate) fn gateway(&self, name: &str) -> String {
        let options = &self.nodes[name].options;
        let at = options.iter().position(|option| option == "--listen");
        options[at.expect("a gateway") + 1].clone()
    }

    /// With SIGKILL.
    pub(crate) fn kill(&mut self, name: &str) {
        let child = &mut self.nodes.get_mut(name).expect("a node").child;
        child.kill().expect("it ran");
        child.wait().expect("it has ended");
    }

    pub(crate) fn restart(&mut self, name: &str) {
        let child = self.launch(name, &self.nodes[name].options);
        self.nodes.get_mut(name).expect("a node").child = child;
    }

    pub(crate) fn signal(&self, name: &str, signal: &str) {
        send_signal(self.nodes[name].child.id(), signal);
    }

    pub(crate) fn all_nodes_run(&mut self) {
        for (name, node) in &mut self.nodes {
            let ended = node.child.try_wait().expect("a process of ours");
            assert_eq!(ended, None, "{name} has ended");
        }
    }

    /// Returns the version's id.
    pub(crate) fn deploy_program(&self, project: &str, more: &str) -> u64 {
        let text = format!("command: [{TIDEGATE:?}, sample-app]\nidle_sleep: never\n{more}");
        self.deploy(project, "tidegate.yml", &text)
    }

    pub(crate) fn deploy_site(&self, project: &str, text: &str) {
        self.deploy(project, "index.html", text);
    }

    /// Returns as soon as the version is accepted.
    pub(crate) fn begin_site(&self, project: &str, text: &str) {
        let dir = self.app(project, "index.html", text);
        let begun = self.ask(&["deploy", &dir, "--no-wait"]);
        begun.unwrap_or_else(|error| panic!("deploying {project}: {error}"));
    }

    fn deploy(&self, project: &str, file: &str, text: &str) -> u64 {
        let dir = self.app(project, file, text);
        let begun = Instant::now();
        // A restarting control may not answer yet; a deploy that failed is not repeated.
        eventually("control answers", || self.ask(&["ps"]));
        let version: Version = self
            .ask_json(&["deploy", &dir])
            .unwrap_or_else(|error| panic!("deploying {project}: {error}"));
        assert_eq!(version.step, "live", "{project}");
        println!("{project} is live after {:?}", begun.elapsed());
        version.id
    }

    /// The folder of an app with one file.
    fn app(&self, project: &str, file: &str, text: &str) -> String {
        let dir = self.dir.path().join("apps").join(project);
        fs::create_dir_all(&dir).expect("an app's directory");
        fs::write(dir.join(file), text).expect("an app's file");
        dir.display().to_string()
    }

    /// What a command prints; what it complains of, if it fails.
    fn ask(&self, arguments: &[&str]) -> Result<String, String> {
        let asked = self.command().args(arguments).output();
        let Output {
            status,
            stdout,
            stderr,
        } = asked.expect("the command runs");
        if status.success() {
            Ok(String::from_utf8_lossy(&stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&stderr).into_owned())
        }
    }

    fn ask_json<T: for<'a> Deserialize<'a>>(&self, arguments: &[&str]) -> Result<T, String> {
        let said = self.ask(&[arguments, &["--json"]].concat())?;
        serde_json::from_str(&said).map_err(|error| format!("{error}: {said}"))
    }

    pub(crate) fn all_instances(&self) -> Vec<Instance> {
        eventually("ps", || self.ask_json::<Ps>(&["ps"])).instances
    }

    pub(crate) fn instances(&self, project: &str) -> Vec<Instance> {
        let mut instances = self.all_instances();
        instances.retain(|instance| instance.project == project);
        instances
    }

    /// Name of the host on which a project's instance runs in a region.
    pub(crate) fn host_of(&self, project: &str, region: &str) -> String {
        let mut instances = self.instances(project).into_iter();
        let found = instances.find(|i| i.region == region);
        found.expect("it runs in the region").host
    }

    /// Whether a project runs on another host of the region of `host`, and not there.
    pub(crate) fn runs_beside(&self, project: &str, host: &str) -> Result<(), String> {
        let mut all = self.ask_json::<Ps>(&["ps", project])?.instances;
        let region = |host: &str| host.rsplit_once('-').map(|(region, _)| region.to_owned());
        all.retain(|i| region(&i.host) == region(host));
        if !all.is_empty() && all.iter().all(|i| i.host != host && i.state == "running") {
            Ok(())
        } else {
            Err(format!("{all:?}"))
        }
    }

    /// Waits until `ps` shows the instances whose processes run: all of them, running, on
    /// the same hosts, in the same lives of their slots.
    pub(crate) fn ps_is_true(&self) {
        eventually("ps shows what runs", || {
            let shown: BTreeSet<_> = self.shown()?.into_iter().collect();
            let real: BTreeSet<_> = self.real().into_iter().map(|(_, name)| name).collect();
            same(&shown, &real)
        });
    }

    /// "host instance" of each running instance that `ps` shows.
    fn shown(&self) -> Result<Vec<String>, String> {
        let mut ids = BTreeMap::new();
        let mut shown = Vec::new();
        for i in self.ask_json::<Ps>(&["ps"])?.instances {
            if !ids.contains_key(&(i.project.clone(), i.number)) {
                let versions: Vec<Version> = self.ask_json(&["versions", &i.project])?;
                let named = versions
                    .iter()
                    .map(|v| ((i.project.clone(), v.number), v.id));
                ids.extend(named);
            }
            let id = ids.get(&(i.project.clone(), i.number));
            let id = id.ok_or_else(|| format!("{i:?} is of no version"))?;
            if i.state != "running" {
                return Err(format!("{i:?} does not run"));
            }
            shown.push(format!("{} v{id}.{}.{}", i.host, i.slot, i.epoch));
        }
        Ok(shown)
    }

    /// "host instance" and id of each process of an instance.
    pub(crate) fn processes(&self) -> BTreeSet<(String, u32)> {
        self.real()
            .into_iter()
            .map(|(pid, name)| (name, pid))
            .collect()
    }

    /// Id and "host instance" of each process that carries the mark of a host.
    fn real(&self) -> Vec<(u32, String)> {
        let marks = self.nodes.keys().filter_map(|name| {
            let path = self.dir.path().join(name).join("instances/driver.id");
            let id = fs::read_to_string(path).ok()?;
            Some((id.trim().to_owned(), name.as_str()))
        });
        let marks: BTreeMap<String, &str> = marks.collect();
        let pids = fs::read_dir("/proc").expect("processes can be listed");
        let pids = pids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter_map(|pid: u32| {
            let environment = environment(pid);
            let host = marks.get(environment.get("TIDEGATE_DATA")?)?;
            let instance = environment.get("TIDEGATE_INSTANCE")?;
            Some((pid, format!("{host} {instance}")))
        })
        .collect()
    }
}

fn same<T: PartialEq + Debug>(shown: &T, real: &T) -> Result<(), String> {
    if shown == real {
        Ok(())
    } else {
        Err(format!("ps shows {shown:?}, but these run: {real:?}"))
    }
}

/// Empty for a process that has ended or is another user's.
fn environment(pid: u32) -> BTreeMap<String, String> {
    let raw = fs::read(Path::new("/proc").join(pid.to_string()).join("environ"));
    let raw = raw.unwrap_or_default();
    let text = String::from_utf8_lossy(&raw);
    let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn send_signal(pid: u32, signal: &str) {
    let line = format!("kill -{signal} {pid}");
    let sent = Command::new("sh").args(["-c", &line]).status();
    assert!(sent.is_ok_and(|status| status.success()), "{line} failed");
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in self.nodes.values_mut() {
            // A paused process takes SIGKILL as well; one that was killed needs none.
            let _ = node.child.kill();
            let _ = node.child.wait();
        }
        for (pid, _) in self.real() {
            let line = format!("kill -KILL {pid} 2>/dev/null");
            let _ = Command::new("sh").args(["-c", &line]).status();
        }
        if std::thread::panicking() {
            for name in self.nodes.keys() {
                let log = fs::read_to_string(self.log_of(name)).unwrap_or_default();
                let last = log.len().saturating_sub(4_000);
                let last = log.get(last..).unwrap_or(&log);
                eprintln!("== {name}\n{last}");
            }
        }
    }
}
