//! Whom a fault strikes, as scenario files name it.
//!
//! A target is written before anything runs; `any-…` is drawn from the seed when the faults
//! are planned, `active-scheduler` is looked up in the store when the fault begins, because
//! nobody can know it earlier.

use serde::{Deserialize, Serialize};

/// A set of nodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Target {
    /// Every node that the other side of the fault does not name.
    Rest,
    /// The control node.
    Control,
    /// Everything of a region.
    Region(Pick),
    /// The store node of a region.
    Store(Pick),
    /// All gateway nodes of a region, or one by its number.
    Gateways(Pick, Option<u32>),
    /// All hosts of a region, or one by its number.
    Hosts(Pick, Option<u32>),
    /// All hosts of a zone of a region; zones are named by letters from `a` on.
    Zone(Pick, char),
    /// One gateway node, of any region or of one, drawn.
    AnyGateway(Pick),
    /// One host, of any region or of one, drawn.
    AnyHost(Pick),
    /// The gateway node whose scheduler is the active one when the fault begins.
    ActiveScheduler(Pick),
}

/// A region by name, or one drawn from the seed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pick {
    Named(String),
    Drawn,
}

impl Pick {
    pub fn name(&self) -> Option<&str> {
        match self {
            Pick::Named(name) => Some(name),
            Pick::Drawn => None,
        }
    }
}

impl Target {
    /// The region that it names, if it names one.
    pub fn region(&self) -> Option<&str> {
        match self {
            Target::Rest | Target::Control => None,
            Target::Region(p)
            | Target::Store(p)
            | Target::Gateways(p, _)
            | Target::Hosts(p, _)
            | Target::Zone(p, _)
            | Target::AnyGateway(p)
            | Target::AnyHost(p)
            | Target::ActiveScheduler(p) => p.name(),
        }
    }
}

const REMEDY: &str = "use control, rest, region:NAME, store:NAME, gateways:NAME, gateway:NAME/0, \
                      hosts:NAME, host:NAME/0, zone:NAME/a, any-region, any-store, any-gateway[:NAME], \
                      any-host[:NAME] or active-scheduler:NAME";

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse(&text).ok_or_else(|| format!("`{text}` names no nodes; {REMEDY}"))
    }
}

fn parse(text: &str) -> Option<Target> {
    let (kind, rest) = match text.split_once(':') {
        Some((kind, rest)) if !rest.is_empty() => (kind, Some(rest)),
        Some(_) => return None,
        None => (text, None),
    };
    let named = |r: &str| Pick::Named(r.to_owned());
    let numbered = |r: &str| {
        let (region, number) = r.split_once('/')?;
        Some((named(region), Some(number.parse().ok()?)))
    };
    Some(match (kind, rest) {
        ("rest", None) => Target::Rest,
        ("control", None) => Target::Control,
        ("region", Some(r)) => Target::Region(named(r)),
        ("store", Some(r)) => Target::Store(named(r)),
        ("gateways", Some(r)) => Target::Gateways(named(r), None),
        ("hosts", Some(r)) => Target::Hosts(named(r), None),
        ("gateway", Some(r)) => {
            let (region, number) = numbered(r)?;
            Target::Gateways(region, number)
        }
        ("host", Some(r)) => {
            let (region, number) = numbered(r)?;
            Target::Hosts(region, number)
        }
        ("zone", Some(r)) => {
            let (region, letter) = r.split_once('/')?;
            let mut letters = letter.chars();
            let zone = letters.next().filter(char::is_ascii_lowercase)?;
            if letters.next().is_some() {
                return None;
            }
            Target::Zone(named(region), zone)
        }
        ("any-region", None) => Target::Region(Pick::Drawn),
        ("any-store", None) => Target::Store(Pick::Drawn),
        ("any-gateway", r) => Target::AnyGateway(r.map_or(Pick::Drawn, named)),
        ("any-host", r) => Target::AnyHost(r.map_or(Pick::Drawn, named)),
        ("active-scheduler", Some(r)) => Target::ActiveScheduler(named(r)),
        _ => return None,
    })
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let one = |f: &mut std::fmt::Formatter<'_>, kind: &str, pick: &Pick| match pick {
            Pick::Named(name) => write!(f, "{kind}:{name}"),
            Pick::Drawn => write!(f, "any-{kind}"),
        };
        match self {
            Target::Rest => f.write_str("rest"),
            Target::Control => f.write_str("control"),
            Target::Region(p) => one(f, "region", p),
            Target::Store(p) => one(f, "store", p),
            Target::Gateways(p, None) => one(f, "gateways", p),
            Target::Gateways(p, Some(n)) => {
                one(f, "gateway", p)?;
                write!(f, "/{n}")
            }
            Target::Hosts(p, None) => one(f, "hosts", p),
            Target::Hosts(p, Some(n)) => {
                one(f, "host", p)?;
                write!(f, "/{n}")
            }
            Target::Zone(p, zone) => {
                one(f, "zone", p)?;
                write!(f, "/{zone}")
            }
            Target::AnyGateway(p) => one(f, "any-gateway", p),
            Target::AnyHost(p) => one(f, "any-host", p),
            Target::ActiveScheduler(p) => one(f, "active-scheduler", p),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_print_as_they_are_written() {
        for text in [
            "rest",
            "control",
            "region:syd",
            "store:syd",
            "gateways:syd",
            "gateway:syd/1",
            "hosts:syd",
            "host:syd/3",
            "zone:syd/b",
            "any-region",
            "any-store",
            "active-scheduler:syd",
        ] {
            let target = Target::try_from(text.to_owned()).unwrap();
            assert_eq!(target.to_string(), text);
        }
    }

    #[test]
    fn what_names_no_nodes_is_refused() {
        for text in [
            "",
            "region",
            "region:",
            "host:syd",
            "host:syd/x",
            "zone:syd",
            "zone:syd/ab",
            "zone:syd/1",
            "control:syd",
            "moon",
        ] {
            let error = Target::try_from(text.to_owned()).unwrap_err();
            assert!(error.contains("use control"), "{error}");
        }
    }
}
