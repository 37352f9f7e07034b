//! Events in words: one line for the list, and what arrived in full.

use std::fmt::Write as _;

use tidegate_kernel::{EngineOp, Note};
use tidegate_protocol::{
    Address, Bytes, Key, Message, NodeId, Record, Role, store_commit_reply::Outcome,
};

use super::bounded::debug;
use super::layout;
use crate::happening::{Happening, InstanceStep, RequestStep};
use crate::request::Request;
use crate::world::World;

/// Longest line about an event, and longest text of what arrived.
const LINE_BYTES_MAX: usize = 160;
const DETAIL_BYTES_MAX: usize = 4_000;
/// Keys that a line names.
const KEYS_MAX: usize = 3;

/// `host-syd-1/metald`, as people call it.
pub(super) fn name_of(world: &World, address: Address) -> String {
    let node = node_name(world, address.node);
    match address.role {
        Role::Gateway => format!("{node}/gateway {}", address.index),
        Role::Client => node.to_owned(),
        role => format!("{node}/{}", role.name()),
    }
}

fn node_name(world: &World, node: NodeId) -> &str {
    let topology = &world.env.topology;
    let index = topology.index(node);
    index.map_or("an unknown machine", |i| topology.nodes[i].name.as_str())
}

/// One line about a message.
pub(super) fn message_line(body: &Message) -> String {
    match body {
        Message::StoreCommit(commit) => {
            let txn = commit.txn.as_ref();
            let writes = txn.map_or(&[][..], |txn| &txn.writes);
            format!("StoreCommit: {}", keys(writes.iter().map(|w| &w.key)))
        }
        Message::StoreCommitReply(reply) => match &reply.outcome {
            Some(Outcome::Applied(at)) => format!("StoreCommitReply: applied, revision {at}"),
            Some(Outcome::Conflict(key)) => format!("StoreCommitReply: conflict on {key}"),
            _ => inner(body),
        },
        Message::StoreFeed(feed) if feed.entries.is_empty() => "StoreFeed: nothing new".into(),
        Message::StoreFeed(feed) => {
            let whole = if feed.reset { "snapshot, " } else { "" };
            format!(
                "StoreFeed: {whole}{}",
                keys(feed.entries.iter().map(|e| &e.key))
            )
        }
        Message::BlobRead(read) => format!("BlobRead: from byte {}", read.offset),
        Message::BlobData(data) if data.missing => "BlobData: it is not here".into(),
        Message::BlobData(data) => {
            let (count, total) = (data.data.len(), data.total);
            format!(
                "BlobData: {count} of {total} bytes, from byte {}",
                data.offset
            )
        }
        _ => inner(body),
    }
}

fn keys<'a>(keys: impl Iterator<Item = &'a String>) -> String {
    let all: Vec<String> = keys.map(|key| short_key(key)).collect();
    let shown = all.len().min(KEYS_MAX);
    let mut text = all[..shown].join(", ");
    if all.len() > shown {
        let _ = write!(text, " and {} more", all.len() - shown);
    }
    text
}

/// A key without the zeros that its numbers are filled up with.
fn short_key(key: &str) -> String {
    let part = |part: &'_ str| match part.len() {
        8 | 16 if part.starts_with('0') => {
            let short = part.trim_start_matches('0');
            if short.is_empty() { "0" } else { short }.to_owned()
        }
        _ => part.to_owned(),
    };
    let parts: Vec<String> = key.split('/').map(part).collect();
    parts.join("/")
}

/// The one-line Debug text of a message, its kind once.
fn inner(body: &Message) -> String {
    let text = line(body);
    match text.split_once('(') {
        Some((_, inner)) => inner.strip_suffix(')').unwrap_or(inner).to_owned(),
        None => text,
    }
}

fn line(value: &dyn std::fmt::Debug) -> String {
    let (text, whole) = debug(value, LINE_BYTES_MAX);
    let mut text = short_digests(&text);
    if !whole {
        text.push('…');
    }
    text
}

/// A line with no more of each digest than tells it from others.
fn short_digests(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_hexdigit()) {
        let (before, from) = rest.split_at(start);
        let length = from.len()
            - from
                .trim_start_matches(|c: char| c.is_ascii_hexdigit())
                .len();
        let (digits, after) = from.split_at(length);
        out.push_str(before);
        out.push_str(if length == 64 { &digits[..8] } else { digits });
        rest = after;
    }
    out + rest
}

fn full(value: &dyn std::fmt::Debug) -> String {
    let (text, whole) = debug(value, DETAIL_BYTES_MAX);
    let mut text = layout::lines(&text).join("\n");
    if !whole {
        text.push_str("\n… (the rest is left out)");
    }
    text
}

/// What arrived with a message, its records decoded.
pub(super) fn message_detail(body: &Message) -> String {
    match body {
        Message::StoreFeed(feed) => {
            let mut head = feed.clone();
            let entries = std::mem::take(&mut head.entries);
            let mut text = full(&head);
            records(&mut text, entries.iter().map(|e| (&e.key, &e.value)));
            text
        }
        Message::StoreCommit(commit) => {
            let mut head = commit.clone();
            let txn = head.txn.as_mut();
            let writes = txn.map_or(Vec::new(), |txn| std::mem::take(&mut txn.writes));
            let mut text = full(&head);
            records(&mut text, writes.iter().map(|w| (&w.key, &w.value)));
            text
        }
        _ => full(body),
    }
}

fn records<'a>(text: &mut String, entries: impl Iterator<Item = (&'a String, &'a Option<Bytes>)>) {
    for (key, value) in entries {
        if text.len() > DETAIL_BYTES_MAX {
            text.push_str("\n… (further records are left out)");
            return;
        }
        let _ = match (value, Key::parse(key)) {
            (None, _) => write!(text, "\n{key} deleted"),
            (Some(value), Ok(parsed)) => match Record::parse(&parsed, value) {
                Ok(record) => write!(text, "\n{key} = {}", full(&record)),
                Err(_) => write!(text, "\n{key} does not decode"),
            },
            (Some(_), Err(_)) => write!(text, "\n{key} is no key that is known"),
        };
    }
}

/// One line about an event, and what came with it.
pub(super) fn event(world: &World, what: &Happening) -> (String, String) {
    match what {
        Happening::Message(flight) => (message_line(&flight.body), message_detail(&flight.body)),
        Happening::Timer { actor, .. } => {
            let cell = world.actors[*actor as usize].cell.as_ref();
            let why = cell.and_then(|c| c.next_deadline()).map(|(_, why)| why);
            (
                format!("timer: {}", why.unwrap_or("nothing due")),
                String::new(),
            )
        }
        Happening::Disk { actor, .. } => disk(world, *actor),
        Happening::Driver { report, .. } => (format!("driver: {}", line(report)), full(report)),
        Happening::Blob { report, .. } => (format!("blobs: {}", line(report)), full(report)),
        Happening::Instance { instance, step } => {
            let who = world.env.instances.get(*instance);
            let did = match step {
                InstanceStep::Ready => "has booted",
                InstanceStep::Crash => "crashes",
                InstanceStep::Exit => "exits",
            };
            (format!("instance {} {did}", who.reference), line(who))
        }
        Happening::Served {
            instance, request, ..
        } => {
            let who = world.env.instances.get(*instance);
            let text = format!("instance {} has answered request {request}", who.reference);
            (text, String::new())
        }
        Happening::Request {
            request,
            step,
            what,
        } => match world.requests.current(*request, *step) {
            Some(r) => (request_line(world, *request, r, *what), String::new()),
            None => (format!("request {request} has ended"), String::new()),
        },
        Happening::Arrival { stream } => {
            let app = world.streams[*stream as usize].app;
            (
                format!("a client asks for {}", world.hosts[app as usize]),
                String::new(),
            )
        }
        Happening::Fault { fault, begin } => {
            let planned = &world.faults[*fault as usize];
            let word = if *begin { "begins" } else { "ends" };
            let text = format!("{} {word}: {}", planned.kind.name(), planned.label);
            (text, full(planned))
        }
        Happening::AfterCommit { node, crash } => {
            let name = &world.env.topology.nodes[*node as usize].name;
            let word = if *crash {
                "die after a commit"
            } else {
                "are back"
            };
            (format!("the processes of {name} {word}"), String::new())
        }
        Happening::Operator { operation } => {
            let mut outcomes = world.operator.outcomes(&world.env.scenario);
            let outcome = outcomes.nth(*operation as usize);
            let what = outcome.map_or("an operation".into(), |o| o.what);
            (format!("operator: {what}"), String::new())
        }
        Happening::Checkpoint => ("the oracles look at everything".into(), String::new()),
    }
}

fn disk(world: &World, actor: u32) -> (String, String) {
    let store = world.env.store_index(world.actors[actor as usize].me);
    let first = store.and_then(|store| world.env.disks[store].waiting().front());
    match first {
        Some(op) => (format!("disk is done: {}", disk_line(op)), disk_detail(op)),
        None => ("disk is done with nothing".into(), String::new()),
    }
}

fn disk_line(op: &EngineOp) -> String {
    match op {
        EngineOp::Commit { txns, .. } => {
            let writes = txns.iter().flat_map(|txn| &txn.writes);
            format!("commit of {}", keys(writes.map(|w| &w.key)))
        }
        EngineOp::Feed { after_revision, .. } => {
            format!("changes after revision {after_revision}")
        }
        EngineOp::Snapshot { prefixes, .. } => format!("snapshot of {}", prefixes.join(", ")),
    }
}

/// Each transaction of a batch, its records decoded.
fn disk_detail(op: &EngineOp) -> String {
    let EngineOp::Commit { batch, txns } = op else {
        return full(op);
    };
    let mut text = format!("batch {batch}");
    for txn in txns {
        if text.len() > DETAIL_BYTES_MAX {
            text.push_str("\n… (further transactions are left out)");
            break;
        }
        let _ = write!(text, "\npreconditions: {}", full(&txn.preconditions));
        records(&mut text, txn.writes.iter().map(|w| (&w.key, &w.value)));
    }
    text
}

fn request_line(world: &World, number: u32, r: &Request, what: RequestStep) -> String {
    let app = world.streams[r.stream() as usize].app;
    let host = &world.hosts[app as usize];
    let at = match what {
        RequestStep::AtGateway => "reaches the gateway",
        RequestStep::ConnectFailed => "could not be connected",
        RequestStep::AtInstance => "reaches its instance",
        RequestStep::Answered => "is answered, at the gateway",
        RequestStep::Broken => "breaks on its way",
        RequestStep::TimedOut => "times out at the gateway",
        RequestStep::HopAnswered => "is answered by the other region",
        RequestStep::AtClient => "ends at its client",
        RequestStep::ClientLeaves => "is given up by its client",
    };
    format!("request {number} for {host} {at}")
}

/// What kind of mark a note makes on a lane, and its text.
pub(super) fn note(world: &World, note: &Note) -> (&'static str, String) {
    let on = |host: &NodeId| node_name(world, *host).to_owned();
    let because = |reason: &str| match reason {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    match note {
        Note::Elected { epoch } => ("election", format!("elected, epoch {epoch}")),
        Note::Deposed { epoch } => ("election", format!("deposed, epoch {epoch}")),
        Note::Claimed { instance, host } => {
            ("slot", format!("claimed slot {instance} for {}", on(host)))
        }
        Note::Reclaimed {
            instance,
            host,
            reason,
        } => {
            let host = on(host);
            (
                "slot",
                format!("took slot {instance} back from {host}: {reason}"),
            )
        }
        Note::Instance {
            instance,
            state,
            reason,
        } => {
            let state = state.as_str_name().rsplit('_').next().unwrap_or_default();
            let state = state.to_lowercase();
            (
                "instance",
                format!("instance {instance} {state}{}", because(reason)),
            )
        }
        Note::Deploy {
            version,
            step,
            reason,
        } => {
            let step = step.as_str_name().rsplit('_').next().unwrap_or_default();
            let step = step.to_lowercase();
            (
                "deploy",
                format!("deploy of version {version}: {step}{}", because(reason)),
            )
        }
        Note::Cutover {
            project,
            version,
            epoch,
        } => (
            "cutover",
            format!("{project} cut over to version {version}, epoch {epoch}"),
        ),
        Note::Serving {
            project,
            version,
            epoch,
        } => (
            "cutover",
            format!("routes {project} to version {version}, epoch {epoch}"),
        ),
        Note::Verified { version, .. } => (
            "artifact",
            format!("verified the artifact of version {version}"),
        ),
        Note::Corrupt { artifact, .. } => (
            "trouble",
            format!("refused a damaged blob of artifact {artifact:?}"),
        ),
        Note::Malformed { what } => ("trouble", format!("malformed: {what}")),
        Note::Full { queue } => ("trouble", format!("queue full: {queue}")),
        Note::Feed { store, live } => {
            let touch = if *live {
                "in touch with"
            } else {
                "lost touch with"
            };
            ("feed", format!("{touch} {}", name_of(world, *store)))
        }
        Note::Mark(name) => ("mark", (*name).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_protocol::{FeedEntry, FenceRecord, LeaseRecord, StoreFeed, Txn, Wake, Write};

    #[test]
    fn a_message_is_one_short_line() {
        let wake = Message::Wake(Wake {
            version: 3,
            ..Wake::default()
        });
        let text = message_line(&wake);
        assert!(text.starts_with("Wake { version: 3"), "{text}");
        assert!(text.ends_with('}'), "{text}");
    }

    #[test]
    fn digests_are_short_and_keys_without_zeros() {
        let digest = "ab01".repeat(16);
        assert_eq!(
            short_digests(&format!("Checked {{ digest: {digest}, present: true }}")),
            "Checked { digest: ab01ab01, present: true }"
        );
        assert_eq!(short_key("slot/0000000000000012/00000000"), "slot/12/0");
        assert_eq!(short_key("lease/scheduler"), "lease/scheduler");
    }

    #[test]
    fn a_disk_says_what_it_committed() {
        let write = |key: Key, record: Option<Record>| Write {
            key: key.to_string(),
            value: record.map(|r| r.encode()),
        };
        let fence = Record::Fence(FenceRecord {
            epoch: 77,
            ..FenceRecord::default()
        });
        let op = EngineOp::Commit {
            batch: 5,
            txns: vec![Txn {
                preconditions: Vec::new(),
                writes: vec![write(Key::Fence, Some(fence)), write(Key::Deploy(3), None)],
            }],
        };
        assert_eq!(disk_line(&op), "commit of fence/scheduler, deploy/3");
        let detail = disk_detail(&op);
        assert!(detail.contains("epoch: 77"), "{detail}");
        assert!(
            detail.contains("deploy/0000000000000003 deleted"),
            "{detail}"
        );
    }

    #[test]
    fn records_are_decoded() {
        let entry = |key: &str, value: Option<Bytes>| FeedEntry {
            key: key.into(),
            value,
            revision: 1,
        };
        let lease = Record::Lease(LeaseRecord {
            epoch: 41,
            ..LeaseRecord::default()
        });
        let unreadable = Key::Version(4).to_string();
        let feed = Message::StoreFeed(StoreFeed {
            entries: vec![
                entry("lease/scheduler", Some(lease.encode())),
                entry("version/3", None),
                entry(&unreadable, Some(Bytes::from_static(b"\xff"))),
                entry("what", Some(Bytes::new())),
            ],
            ..StoreFeed::default()
        });
        assert_eq!(
            message_line(&feed),
            "StoreFeed: lease/scheduler, version/3, version/4 and 1 more"
        );
        let detail = message_detail(&feed);
        for part in [
            "epoch: 41",
            "version/3 deleted",
            "does not decode",
            "what is no key",
        ] {
            assert!(detail.contains(part), "{part} in {detail}");
        }
    }
}
