//! What a tenant may ask for, judged without looking at any stored state.
//!
//! Each mistake has one reason, which names the field, what is wrong with it and what to do.
//! Whatever passes here fits every later bound: a store value, a transaction, a message.
//! Rules that need stored state (known regions, host names of others) are in `plan`.

use tidegate_protocol::{
    AppKind, CreateVersion, Digest, EnvVariable, Prost as _, RegionHello, VersionSpec, limits,
};

/// Bytes of an idempotency key.
pub(crate) const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;
/// Bytes of the path of a health check.
const HEALTH_PATH_BYTES_MAX: usize = 1024;
/// Longest start of an instance.
const START_TIMEOUT_MS_MAX: u64 = 600_000;
/// Longest idle time and longest minimum life: 30 days.
const IDLE_MS_MAX: u64 = 30 * 24 * 3_600_000;

/// Why a request cannot be carried out, for people.
pub(crate) type Reason = String;

pub(crate) fn create_version(request: &CreateVersion) -> Result<(), Reason> {
    let spec = request
        .spec
        .as_ref()
        .ok_or("spec: missing; a deploy needs the description of its version")?;
    project_name(&spec.project)?;
    artifact(spec)?;
    match AppKind::try_from(spec.kind) {
        Ok(AppKind::Static) => static_app(spec)?,
        Ok(AppKind::Program) => program(spec)?,
        _ => return Err("kind: neither `static` nor `program`; choose one".into()),
    }
    env(&spec.env)?;
    regions(&spec.regions)?;
    hosts(&request.hosts)?;
    if request.idempotency_key.len() > IDEMPOTENCY_KEY_BYTES_MAX {
        return Err(format!(
            "idempotency_key: longer than {IDEMPOTENCY_KEY_BYTES_MAX} bytes; shorten it"
        ));
    }
    if spec.encoded_len() + 64 > limits::VALUE_BYTES_MAX {
        return Err(format!(
            "spec: {} bytes in all, and {} fit; shorten the command or the variables",
            spec.encoded_len(),
            limits::VALUE_BYTES_MAX - 64
        ));
    }
    Ok(())
}

/// A project's name becomes part of its host name.
pub(crate) fn project_name(name: &str) -> Result<(), Reason> {
    dns_label(name).map_err(|why| format!("project: `{}` {why}", shown(name)))
}

pub(crate) fn region_hello(hello: &RegionHello) -> Result<(), Reason> {
    dns_label(&hello.region).map_err(|why| format!("region: `{}` {why}", shown(&hello.region)))?;
    if hello.store_node == 0 {
        return Err(format!(
            "store_node: 0 is no node; name the store of region `{}`",
            hello.region
        ));
    }
    Ok(())
}

fn dns_label(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("is empty; give it a name of a to z, 0 to 9 and `-`");
    }
    if text.len() > limits::PROJECT_NAME_BYTES_MAX {
        return Err("is longer than the 63 bytes of a DNS label; shorten it");
    }
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !text.bytes().all(allowed) {
        return Err("has a character besides a to z, 0 to 9 and `-`; leave it out");
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err("begins or ends with `-`; a DNS label may not");
    }
    Ok(())
}

fn artifact(spec: &VersionSpec) -> Result<(), Reason> {
    Digest::try_from(&spec.artifact).map(drop).map_err(|_| {
        format!(
            "artifact: {} bytes are no SHA-256; give the 32 bytes of the manifest's digest",
            spec.artifact.len()
        )
    })
}

fn static_app(spec: &VersionSpec) -> Result<(), Reason> {
    if !spec.command.is_empty() {
        return Err("command: a static app runs none; leave it out, or deploy a program".into());
    }
    Ok(())
}

fn program(spec: &VersionSpec) -> Result<(), Reason> {
    command(&spec.command)?;
    within(
        "instances_max",
        spec.instances_max,
        1,
        limits::INSTANCES_MAX,
    )?;
    within("concurrency", spec.concurrency, 1, limits::CONCURRENCY_MAX)?;
    within(
        "start_timeout_ms",
        spec.start_timeout_ms,
        1,
        START_TIMEOUT_MS_MAX,
    )?;
    within(
        "stop_grace_ms",
        spec.stop_grace_ms,
        0,
        limits::STOP_GRACE_MS_MAX,
    )?;
    within("idle_ms", spec.idle_ms, 0, IDLE_MS_MAX)?;
    within("lifetime_min_ms", spec.lifetime_min_ms, 0, IDLE_MS_MAX)?;
    let path = &spec.health_path;
    let graphic = path.bytes().all(|b| b.is_ascii_graphic());
    if !path.is_empty() && (!path.starts_with('/') || !graphic) {
        return Err(format!(
            "health_path: `{}` is no path; begin with `/` and use printable ASCII without spaces",
            shown(path)
        ));
    }
    if path.len() > HEALTH_PATH_BYTES_MAX {
        return Err(format!(
            "health_path: longer than {HEALTH_PATH_BYTES_MAX} bytes; shorten it"
        ));
    }
    Ok(())
}

fn within<N: PartialOrd + std::fmt::Display>(
    field: &str,
    value: N,
    min: N,
    max: N,
) -> Result<(), Reason> {
    if value < min || value > max {
        return Err(format!(
            "{field}: {value} is outside {min} to {max}; choose a value inside"
        ));
    }
    Ok(())
}

fn command(words: &[String]) -> Result<(), Reason> {
    if words.first().is_none_or(String::is_empty) {
        return Err("command: empty; name the program that listens on $PORT".into());
    }
    if words.len() > limits::COMMAND_WORDS_MAX {
        return Err(format!(
            "command: {} words, at most {}; put it into a script of the artifact",
            words.len(),
            limits::COMMAND_WORDS_MAX
        ));
    }
    let bytes: usize = words.iter().map(String::len).sum();
    if bytes > limits::COMMAND_BYTES_MAX {
        return Err(format!(
            "command: {bytes} bytes, at most {}; put it into a script of the artifact",
            limits::COMMAND_BYTES_MAX
        ));
    }
    if words.iter().any(|word| word.contains('\0')) {
        return Err("command: a word holds a NUL byte; leave it out".into());
    }
    Ok(())
}

fn env(variables: &[EnvVariable]) -> Result<(), Reason> {
    if variables.len() > limits::ENV_VARIABLES_MAX {
        return Err(format!(
            "env: {} variables, at most {}; put some into a file of the artifact",
            variables.len(),
            limits::ENV_VARIABLES_MAX
        ));
    }
    let bytes: usize = variables.iter().map(|v| v.name.len() + v.value.len()).sum();
    if bytes > limits::ENV_BYTES_MAX {
        return Err(format!(
            "env: {bytes} bytes, at most {}; put some into a file of the artifact",
            limits::ENV_BYTES_MAX
        ));
    }
    let mut seen = std::collections::BTreeSet::new();
    for EnvVariable { name, value } in variables {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let digit = |b: &u8| b.is_ascii_digit();
        if name.is_empty() || !name.bytes().all(word) || name.as_bytes().first().is_some_and(digit)
        {
            return Err(format!(
                "env: `{}` is no name of a variable; use letters, digits and `_`, no digit first",
                shown(name)
            ));
        }
        if name == "PORT" {
            return Err("env: PORT is set by the platform; leave it out".into());
        }
        if value.contains('\0') {
            return Err(format!(
                "env: the value of `{name}` holds a NUL byte; leave it out"
            ));
        }
        if !seen.insert(name) {
            return Err(format!("env: `{name}` is given twice; keep one"));
        }
    }
    Ok(())
}

fn regions(names: &[String]) -> Result<(), Reason> {
    if names.len() > limits::REGIONS_MAX {
        return Err(format!(
            "regions: {} names, at most {}; name none to run in every region",
            names.len(),
            limits::REGIONS_MAX
        ));
    }
    for (i, name) in names.iter().enumerate() {
        dns_label(name).map_err(|why| format!("regions: `{}` {why}", shown(name)))?;
        if names[..i].contains(name) {
            return Err(format!("regions: `{name}` is given twice; keep one"));
        }
    }
    Ok(())
}

fn hosts(names: &[String]) -> Result<(), Reason> {
    if names.len() > limits::PROJECT_HOSTS_MAX {
        return Err(format!(
            "hosts: {} names, at most {}; split the project",
            names.len(),
            limits::PROJECT_HOSTS_MAX
        ));
    }
    for (i, name) in names.iter().enumerate() {
        host_name(name)?;
        if names[..i].contains(name) {
            return Err(format!("hosts: `{name}` is given twice; keep one"));
        }
    }
    Ok(())
}

pub(crate) fn host_name(name: &str) -> Result<(), Reason> {
    if name.len() > limits::HOST_NAME_BYTES_MAX {
        return Err(format!(
            "hosts: `{}` is longer than {} bytes; shorten it",
            shown(name),
            limits::HOST_NAME_BYTES_MAX
        ));
    }
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(format!(
            "hosts: `{}` has capitals; write it in lower case",
            shown(name)
        ));
    }
    name.split('.').try_for_each(|label| {
        dns_label(label).map_err(|why| {
            format!(
                "hosts: `{}` is no host name: `{}` {why}",
                shown(name),
                shown(label)
            )
        })
    })
}

/// What is repeated of a mistake: enough to find it.
fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    let mut chars = text.chars();
    let head: String = chars.by_ref().take(CHARS_MAX).collect();
    let rest = if chars.next().is_some() { "…" } else { "" };
    format!("{}{rest}", head.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> CreateVersion {
        CreateVersion {
            spec: Some(VersionSpec {
                project: "hello".into(),
                kind: AppKind::Program.into(),
                artifact: vec![7; 32].into(),
                command: vec!["./server".into()],
                instances_max: 2,
                concurrency: 10,
                start_timeout_ms: 30_000,
                ..VersionSpec::default()
            }),
            hosts: vec!["hello.example".into()],
            idempotency_key: "k".into(),
        }
    }

    /// Changes a good request; the reason must begin with `reason`.
    #[track_caller]
    fn refused(reason: &str, change: impl FnOnce(&mut CreateVersion, &mut VersionSpec)) {
        let mut request = program();
        let mut spec = request.spec.take().unwrap();
        change(&mut request, &mut spec);
        request.spec = Some(spec);
        let error = create_version(&request).unwrap_err();
        assert!(error.starts_with(reason), "{error}");
    }

    #[test]
    fn a_good_program_and_a_good_static_app_pass() {
        assert_eq!(create_version(&program()), Ok(()));
        let mut request = program();
        let spec = request.spec.as_mut().unwrap();
        *spec = VersionSpec {
            project: "site".into(),
            kind: AppKind::Static.into(),
            artifact: vec![7; 32].into(),
            ..VersionSpec::default()
        };
        assert_eq!(create_version(&request), Ok(()));
    }

    #[test]
    fn every_mistake_names_its_field() {
        let no_spec = CreateVersion::default();
        assert!(
            create_version(&no_spec)
                .unwrap_err()
                .starts_with("spec: missing")
        );
        refused("project: `` is empty", |_, s| s.project.clear());
        refused("project: `Hello` has", |_, s| s.project = "Hello".into());
        refused("project: `a.b` has", |_, s| s.project = "a.b".into());
        refused("project: `-a` begins", |_, s| s.project = "-a".into());
        refused("project: ", |_, s| s.project = "a".repeat(64));
        refused("artifact: 31 bytes", |_, s| s.artifact = vec![0; 31].into());
        refused("kind: ", |_, s| s.kind = 9);
        refused("command: a static app", |_, s| {
            s.kind = AppKind::Static.into()
        });
        refused("command: empty", |_, s| s.command.clear());
        refused("command: 257 words", |_, s| {
            s.command = vec!["a".into(); 257]
        });
        refused("command: 16385 bytes", |_, s| {
            s.command = vec!["a".repeat(16_385)]
        });
        refused("command: a word", |_, s| s.command = vec!["a\0".into()]);
        refused("instances_max: 0 is outside 1 to 100", |_, s| {
            s.instances_max = 0
        });
        refused("instances_max: 101", |_, s| s.instances_max = 101);
        refused("concurrency: 0", |_, s| s.concurrency = 0);
        refused("start_timeout_ms: 0", |_, s| s.start_timeout_ms = 0);
        refused("stop_grace_ms: 300001", |_, s| s.stop_grace_ms = 300_001);
        refused("idle_ms: ", |_, s| s.idle_ms = u64::MAX);
        refused("lifetime_min_ms: ", |_, s| s.lifetime_min_ms = u64::MAX);
        refused("health_path: `up` is no path", |_, s| {
            s.health_path = "up".into()
        });
        refused("health_path: `/a b`", |_, s| s.health_path = "/a b".into());
        refused("health_path: longer", |_, s| {
            s.health_path = "/".repeat(2_000)
        });
        refused("idempotency_key: ", |r, _| {
            r.idempotency_key = "k".repeat(257)
        });
    }

    #[test]
    fn variables_are_names_each_given_once() {
        let variable = |name: &str, value: &str| EnvVariable {
            name: name.into(),
            value: value.into(),
        };
        refused("env: `A-B` is no name", |_, s| {
            s.env = vec![variable("A-B", "")]
        });
        refused("env: `1A` is no name", |_, s| {
            s.env = vec![variable("1A", "")]
        });
        refused("env: `A` is given twice", |_, s| {
            s.env = vec![variable("A", "1"), variable("A", "2")]
        });
        refused("env: PORT is set", |_, s| {
            s.env = vec![variable("PORT", "80")]
        });
        refused("env: the value of `A`", |_, s| {
            s.env = vec![variable("A", "\0")]
        });
        refused("env: 257 variables", |_, s| {
            s.env = vec![variable("A", ""); 257]
        });
        refused("env: 32769 bytes", |_, s| {
            s.env = vec![variable("A", &"x".repeat(32_768))]
        });
    }

    #[test]
    fn regions_and_hosts_are_names_each_given_once() {
        refused("regions: `x y` has", |_, s| s.regions = vec!["x y".into()]);
        refused("regions: `a` is given twice", |_, s| {
            s.regions = vec!["a".into(), "a".into()]
        });
        refused("regions: 65 names", |_, s| s.regions = vec!["a".into(); 65]);
        refused("hosts: `A.b` has capitals", |r, _| {
            r.hosts = vec!["A.b".into()]
        });
        refused("hosts: `a..b` is no host name: `` is empty", |r, _| {
            r.hosts = vec!["a..b".into()]
        });
        refused("hosts: `a.b:80` is no host name", |r, _| {
            r.hosts = vec!["a.b:80".into()]
        });
        refused("hosts: `a` is given twice", |r, _| {
            r.hosts = vec!["a".into(), "a".into()]
        });
        refused("hosts: 33 names", |r, _| r.hosts = vec!["a".into(); 33]);
    }

    #[test]
    fn what_is_as_large_as_a_limit_passes() {
        let passes = |change: fn(&mut CreateVersion, &mut VersionSpec)| {
            let mut request = program();
            let mut spec = request.spec.take().unwrap();
            change(&mut request, &mut spec);
            request.spec = Some(spec);
            assert_eq!(create_version(&request), Ok(()));
        };
        passes(|r, _| r.idempotency_key = "k".repeat(256));
        passes(|_, s| s.project = "a".repeat(63));
        passes(|_, s| s.command = vec!["a".into(); 256]);
        passes(|_, s| s.command = vec!["a".repeat(16_384)]);
        passes(|_, s| s.health_path = "/".repeat(1_024));
        passes(|_, s| {
            (s.instances_max, s.concurrency) = (100, 10_000);
            (s.start_timeout_ms, s.stop_grace_ms) = (600_000, 300_000);
            (s.idle_ms, s.lifetime_min_ms) = (2_592_000_000, 2_592_000_000);
        });
        passes(|_, s| {
            let variable = |n| EnvVariable {
                name: format!("A{n:03}"),
                value: "x".repeat(124),
            };
            s.env = (0..256).map(variable).collect();
        });
        passes(|_, s| s.regions = (0..64).map(|n| format!("r{n}")).collect());
        passes(|r, _| r.hosts = (0..32).map(|n| format!("h{n}")).collect());
        passes(|r, _| {
            let label = "a".repeat(63);
            r.hosts = vec![format!("{label}.{label}.{label}.{}", "a".repeat(61))];
        });
        refused("hosts: `a.a.a", |r, _| {
            r.hosts = vec!["a.".repeat(200) + "a"]
        });
        refused("instances_max: 4294967295", |_, s| {
            s.instances_max = u32::MAX
        });
        refused("idle_ms: 2592000001", |_, s| s.idle_ms = 2_592_000_001);
        refused("start_timeout_ms: 600001", |_, s| {
            s.start_timeout_ms = 600_001
        });
    }

    #[test]
    fn a_long_mistake_is_shown_in_part() {
        let error = project_name(&"é".repeat(1_000)).unwrap_err();
        assert!(error.len() < 300, "{error}");
    }

    #[test]
    fn a_region_needs_a_name_and_a_store() {
        let hello = |region: &str, store_node| RegionHello {
            region: region.into(),
            store_node,
        };
        assert_eq!(region_hello(&hello("syd", 4)), Ok(()));
        assert!(region_hello(&hello("", 4)).is_err());
        assert!(region_hello(&hello("syd", 0)).is_err());
    }
}
