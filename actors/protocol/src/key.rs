//! Names of the records in the stores. Numbers are fixed-width hexadecimal, so that the
//! order of keys is the order of numbers.

use serde::{Deserialize, Serialize};

use crate::NodeId;

/// A parsed key. [`Key::parse`] is the inverse of `to_string`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Key {
    /// Main store.
    Project(String),
    /// Main store, and projected to partition stores.
    Version(u64),
    /// Main store.
    Deploy(u64),
    /// Main store.
    Region(String),
    /// Main store: one record.
    Counters,
    /// Partition store, like all below.
    Slot {
        version: u64,
        index: u32,
    },
    Route(String),
    Host(NodeId),
    Instances(NodeId),
    Gateway(NodeId),
    Peer {
        region: String,
        node: NodeId,
    },
    Ack {
        node: NodeId,
        version: u64,
    },
    Lease,
    Fence,
}

impl Key {
    pub const PROJECTS: &'static str = "project/";
    pub const VERSIONS: &'static str = "version/";
    pub const DEPLOYS: &'static str = "deploy/";
    pub const REGIONS: &'static str = "region/";
    pub const COUNTERS: &'static str = "counters/main";
    pub const SLOTS: &'static str = "slot/";
    pub const ROUTES: &'static str = "route/";
    pub const HOSTS: &'static str = "host/";
    pub const INSTANCES: &'static str = "instances/";
    pub const GATEWAYS: &'static str = "gateway/";
    pub const PEERS: &'static str = "peer/";
    pub const ACKS: &'static str = "ack/";
    pub const LEASE: &'static str = "lease/scheduler";
    pub const FENCE: &'static str = "fence/scheduler";

    /// Reads a key that a store handed out.
    pub fn parse(text: &str) -> Result<Key, MalformedKey> {
        parse(text).ok_or_else(|| MalformedKey(text.to_owned()))
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Key::Project(name) => write!(f, "project/{name}"),
            Key::Version(id) => write!(f, "version/{id:016x}"),
            Key::Deploy(id) => write!(f, "deploy/{id:016x}"),
            Key::Region(name) => write!(f, "region/{name}"),
            Key::Counters => f.write_str(Key::COUNTERS),
            Key::Slot { version, index } => write!(f, "slot/{version:016x}/{index:08x}"),
            Key::Route(project) => write!(f, "route/{project}"),
            Key::Host(node) => write!(f, "host/{node}"),
            Key::Instances(node) => write!(f, "instances/{node}"),
            Key::Gateway(node) => write!(f, "gateway/{node}"),
            Key::Peer { region, node } => write!(f, "peer/{region}/{node}"),
            Key::Ack { node, version } => write!(f, "ack/{node}/{version:016x}"),
            Key::Lease => f.write_str(Key::LEASE),
            Key::Fence => f.write_str(Key::FENCE),
        }
    }
}

/// A key that no part of Tidegate writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MalformedKey(pub String);

impl std::fmt::Display for MalformedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` is no key of a Tidegate store", self.0)
    }
}

impl std::error::Error for MalformedKey {}

fn parse(text: &str) -> Option<Key> {
    let (kind, rest) = text.split_once('/')?;
    let pair = || rest.split_once('/');
    Some(match kind {
        "project" => Key::Project(label(rest)?),
        "version" => Key::Version(hex64(rest)?),
        "deploy" => Key::Deploy(hex64(rest)?),
        "region" => Key::Region(label(rest)?),
        "slot" => {
            let (version, index) = pair()?;
            Key::Slot {
                version: hex64(version)?,
                index: hex32(index)?,
            }
        }
        "route" => Key::Route(label(rest)?),
        "host" => Key::Host(NodeId(hex32(rest)?)),
        "instances" => Key::Instances(NodeId(hex32(rest)?)),
        "gateway" => Key::Gateway(NodeId(hex32(rest)?)),
        "peer" => {
            let (region, node) = pair()?;
            Key::Peer {
                region: label(region)?,
                node: NodeId(hex32(node)?),
            }
        }
        "ack" => {
            let (node, version) = pair()?;
            Key::Ack {
                node: NodeId(hex32(node)?),
                version: hex64(version)?,
            }
        }
        _ if text == Key::COUNTERS => Key::Counters,
        _ if text == Key::LEASE => Key::Lease,
        _ if text == Key::FENCE => Key::Fence,
        _ => return None,
    })
}

fn label(text: &str) -> Option<String> {
    (!text.is_empty() && !text.contains('/')).then(|| text.to_owned())
}

fn hex64(text: &str) -> Option<u64> {
    canonical(text, 16).then(|| u64::from_str_radix(text, 16).ok())?
}

fn hex32(text: &str) -> Option<u32> {
    canonical(text, 8).then(|| u32::from_str_radix(text, 16).ok())?
}

fn canonical(text: &str, width: usize) -> bool {
    text.len() == width
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_round_trip() {
        for key in [
            Key::Project("hello".into()),
            Key::Version(0xfeed),
            Key::Deploy(u64::MAX),
            Key::Region("syd".into()),
            Key::Counters,
            Key::Slot {
                version: 3,
                index: 1,
            },
            Key::Route("hello".into()),
            Key::Host(NodeId(1)),
            Key::Instances(NodeId(1)),
            Key::Gateway(NodeId(u32::MAX)),
            Key::Peer {
                region: "mel".into(),
                node: NodeId(9),
            },
            Key::Ack {
                node: NodeId(2),
                version: 5,
            },
            Key::Lease,
            Key::Fence,
        ] {
            assert_eq!(Key::parse(&key.to_string()), Ok(key));
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in [
            "",
            "version",
            "version/1",
            "version/00000000000000FF",
            "slot/0000000000000001",
            "lease/other",
            "project/",
            "project/a/b",
        ] {
            assert_eq!(Key::parse(text), Err(MalformedKey(text.into())), "{text}");
        }
    }
}
