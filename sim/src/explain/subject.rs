//! What a violation speaks of: the instances, versions, projects and machines that its text
//! names, so that the notes which name the same can be shown beside it.
//!
//! The text is read as a person reads it; a name that is not understood is passed over, and
//! costs a highlight, never a wrong cause.

use std::collections::BTreeSet;

use tidegate_kernel::Note;
use tidegate_protocol::{InstanceRef, Key};

/// Everything that a text names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Subjects {
    /// Version and slot.
    pub slots: BTreeSet<(u64, u32)>,
    pub versions: BTreeSet<u64>,
    pub projects: BTreeSet<String>,
    /// Ids of machines.
    pub nodes: BTreeSet<u32>,
}

/// The names that a world knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    pub projects: &'a [String],
    /// Names of machines and their ids.
    pub nodes: &'a [(String, u32)],
}

impl Subjects {
    pub(super) fn of(text: &str, known: Known<'_>) -> Self {
        let mut found = Self::default();
        let is_part = |c: char| c.is_alphanumeric() || "-_./".contains(c);
        let words: Vec<&str> = text
            .split(|c| !is_part(c))
            .map(|word| word.trim_end_matches('.'))
            .filter(|word| !word.is_empty())
            .collect();
        for (i, word) in words.iter().enumerate() {
            let number = words.get(i + 1).and_then(|next| next.parse::<u64>().ok());
            match (*word, number) {
                ("version" | "deploy", Some(version)) => {
                    found.versions.insert(version);
                }
                ("node", Some(node)) => {
                    found.nodes.extend(u32::try_from(node));
                }
                _ => found.word(word, known),
            }
        }
        found
    }

    fn word(&mut self, word: &str, known: Known<'_>) {
        if let Some(slot) = instance(word) {
            self.slots.insert(slot);
            return;
        }
        if word.contains('/')
            && let Ok(key) = Key::parse(word)
        {
            return self.key(key);
        }
        let project = word.split('.').next().unwrap_or(word);
        if known.projects.iter().any(|p| p == project) {
            self.projects.insert(project.to_owned());
        }
        let node = known.nodes.iter().find(|(name, _)| name == word);
        self.nodes.extend(node.map(|(_, id)| *id));
    }

    fn key(&mut self, key: Key) {
        match key {
            Key::Slot { version, index } => {
                self.slots.insert((version, index));
            }
            Key::Version(version) | Key::Deploy(version) => {
                self.versions.insert(version);
            }
            Key::Ack { node, version } => {
                self.versions.insert(version);
                self.nodes.insert(node.0);
            }
            Key::Project(project) | Key::Route(project) => {
                self.projects.insert(project);
            }
            Key::Host(node) | Key::Instances(node) | Key::Gateway(node) => {
                self.nodes.insert(node.0);
            }
            Key::Peer { .. } | Key::Region(_) | Key::Counters | Key::Lease | Key::Fence => {}
        }
    }

    /// Whether a note of an actor on machine `node` speaks of one of them. What a text names
    /// most exactly decides: an instance before a version or a project, those before a
    /// machine.
    pub(super) fn are_in(&self, note: &Note, node: u32) -> bool {
        if !self.slots.is_empty() {
            return instance_of(note).is_some_and(|i| self.slots.contains(&(i.version, i.slot)));
        }
        if !self.versions.is_empty() || !self.projects.is_empty() {
            let project = project_of(note).is_some_and(|p| self.projects.contains(p));
            let version = version_of(note).is_some_and(|v| self.versions.contains(&v));
            return project || version;
        }
        self.nodes.contains(&node)
    }
}

/// `v3.0.1`: version, slot, epoch.
fn instance(word: &str) -> Option<(u64, u32)> {
    let mut parts = word.strip_prefix('v')?.split('.');
    let (version, slot) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let _epoch: u64 = parts.next()?.parse().ok()?;
    parts.next().is_none().then_some((version, slot))
}

fn instance_of(note: &Note) -> Option<InstanceRef> {
    match note {
        Note::Claimed { instance, .. }
        | Note::Reclaimed { instance, .. }
        | Note::Instance { instance, .. } => Some(*instance),
        _ => None,
    }
}

fn version_of(note: &Note) -> Option<u64> {
    match note {
        Note::Deploy { version, .. }
        | Note::Cutover { version, .. }
        | Note::Serving { version, .. }
        | Note::Verified { version, .. } => Some(*version),
        _ => instance_of(note).map(|i| i.version),
    }
}

fn project_of(note: &Note) -> Option<&str> {
    match note {
        Note::Cutover { project, .. } | Note::Serving { project, .. } => Some(project),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_protocol::NodeId;

    fn subjects(text: &str) -> Subjects {
        let projects = ["shop".to_owned(), "cron".to_owned()];
        let nodes = [("gw-syd-0".to_owned(), 4), ("host-syd-1".to_owned(), 7)];
        let known = Known {
            projects: &projects,
            nodes: &nodes,
        };
        Subjects::of(text, known)
    }

    #[test]
    fn a_text_names_what_a_reader_sees_in_it() {
        let s = subjects("slot v3.0.1 belongs to node 8 and, in the same epoch, to 7");
        assert_eq!(s.slots, BTreeSet::from([(3, 0)]));
        assert_eq!(s.nodes, BTreeSet::from([8]));
        let s = subjects("gw-syd-0 serves version 5 of epoch 4, the newest is 7 of 5");
        assert_eq!((s.versions, s.nodes), ([5].into(), [4].into()));
        let s = subjects("deploy/000000000000000c of shop is still in step DEPLOY_STEP_PROVE");
        assert_eq!(
            (s.versions, s.projects),
            ([12].into(), ["shop".into()].into())
        );
        let s = subjects("slot/0000000000000003/00000001 and route/cron are left");
        assert_eq!(
            (s.slots, s.projects),
            ([(3, 1)].into(), ["cron".into()].into())
        );
        let s = subjects("a request to cron.tide.example never ended.");
        assert_eq!(s.projects, ["cron".to_owned()].into());
        assert_eq!(
            subjects("it rains on v1 of vv.1.2 and slot/x/1"),
            Subjects::default()
        );
    }

    #[test]
    fn the_most_exact_name_decides() {
        let claimed = |version, slot| Note::Claimed {
            instance: InstanceRef {
                version,
                slot,
                epoch: 9,
            },
            host: NodeId(7),
        };
        let s = subjects("slot v3.0.1 belongs to node 8");
        assert!(s.are_in(&claimed(3, 0), 1));
        assert!(!s.are_in(&claimed(3, 1), 8));
        let s = subjects("deploy 3 of shop failed");
        assert!(s.are_in(&claimed(3, 1), 1));
        assert!(!s.are_in(&claimed(4, 1), 1));
        assert!(subjects("gw-syd-0 is behind").are_in(&claimed(4, 1), 4));
        assert!(!subjects("nothing known").are_in(&claimed(4, 1), 4));
    }
}
