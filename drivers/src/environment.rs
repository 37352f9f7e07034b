//! What an instance finds in its environment.
//!
//! It begins empty: nothing of the platform's own environment is handed on but PATH and LANG,
//! because the rest may hold secrets. A version may set anything else, and PATH, HOME, LANG
//! and TMPDIR to its own taste; it cannot set what the platform relies on: PORT, HOST and
//! everything that begins with `TIDEGATE_`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;

use tidegate_protocol::{InstanceRef, VersionSpec};

use crate::start_error::StartError;

/// Variable that names the data directory of the driver that a process belongs to.
pub(crate) const DATA_MARK: &str = "TIDEGATE_DATA";
/// Variable that names the instance that a process belongs to.
pub(crate) const INSTANCE_MARK: &str = "TIDEGATE_INSTANCE";

const RESERVED_PREFIX: &str = "TIDEGATE_";
/// What a login on a plain Linux finds, when the platform itself was started with nothing.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const LANG_DEFAULT: &str = "C.UTF-8";

/// The part of the platform's environment that instances share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    path: OsString,
    lang: OsString,
}

impl Shared {
    pub(crate) fn of_this_process() -> Shared {
        let get = |name, default: &str| std::env::var_os(name).unwrap_or_else(|| default.into());
        Shared {
            path: get("PATH", PATH_DEFAULT),
            lang: get("LANG", LANG_DEFAULT),
        }
    }
}

/// The whole environment of an instance.
pub(crate) fn of_instance(
    shared: &Shared,
    data_id: &str,
    home: &Path,
    instance: InstanceRef,
    endpoint: SocketAddr,
    spec: &VersionSpec,
) -> Result<BTreeMap<String, OsString>, StartError> {
    let mut variables = BTreeMap::new();
    let mut set = |name: &str, value: OsString| variables.insert(name.to_owned(), value);
    set("PATH", shared.path.clone());
    set("LANG", shared.lang.clone());
    set("HOME", home.into());
    set("TMPDIR", home.join("tmp").into());
    for variable in &spec.env {
        let name = &variable.name;
        if name.is_empty() || name.contains(['=', '\0']) || variable.value.contains('\0') {
            return Err(StartError::BadVariable { name: name.clone() });
        }
        if !name.starts_with(RESERVED_PREFIX) {
            set(name, variable.value.clone().into());
        }
    }
    set("PORT", endpoint.port().to_string().into());
    set("HOST", endpoint.ip().to_string().into());
    set("TIDEGATE_PROJECT", spec.project.clone().into());
    set("TIDEGATE_VERSION", spec.number.to_string().into());
    set(INSTANCE_MARK, instance.to_string().into());
    set(DATA_MARK, data_id.into());
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use tidegate_protocol::EnvVariable;

    use super::*;

    fn environment(env: &[(&str, &str)]) -> Result<BTreeMap<String, OsString>, StartError> {
        let shared = Shared {
            path: "/bin".into(),
            lang: "C".into(),
        };
        let spec = VersionSpec {
            project: "hello".to_owned(),
            number: 3,
            env: env
                .iter()
                .map(|(name, value)| EnvVariable {
                    name: (*name).to_owned(),
                    value: (*value).to_owned(),
                })
                .collect(),
            ..VersionSpec::default()
        };
        let instance = InstanceRef {
            version: 3,
            slot: 0,
            epoch: 7,
        };
        let endpoint = "[::1]:4000".parse().expect("an address");
        of_instance(&shared, "data", Path::new("/d"), instance, endpoint, &spec)
    }

    #[test]
    fn a_version_sets_its_own_but_not_the_platforms() {
        let asked = [
            ("COLOR", "red"),
            ("LANG", "de_DE.UTF-8"),
            ("PORT", "1"),
            ("TIDEGATE_DATA", "stolen"),
            ("TIDEGATE_NEW", "x"),
        ];
        let got = environment(&asked).expect("good variables");
        let got: Vec<(&str, &str)> = got
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str()?)))
            .collect();
        assert_eq!(
            got,
            [
                ("COLOR", "red"),
                ("HOME", "/d"),
                ("HOST", "::1"),
                ("LANG", "de_DE.UTF-8"),
                ("PATH", "/bin"),
                ("PORT", "4000"),
                ("TIDEGATE_DATA", "data"),
                ("TIDEGATE_INSTANCE", "v3.0.7"),
                ("TIDEGATE_PROJECT", "hello"),
                ("TIDEGATE_VERSION", "3"),
                ("TMPDIR", "/d/tmp"),
            ]
        );
    }

    #[test]
    fn a_variable_that_cannot_be_set_is_named() {
        for bad in [("A=B", "1"), ("", "1"), ("A", "1\0")] {
            let refused = environment(&[bad]).expect_err("a bad variable");
            assert!(matches!(refused, StartError::BadVariable { name } if name == bad.0));
        }
    }
}
