//! Every coverage mark: a situation worth reaching, named where it is met.
//!
//! The list is what makes an unreached mark visible: a swarm says which of these it never
//! met. The test below keeps it equal to the sources.

/// All marks, sorted.
pub const ALL: &[&str] = &[
    "a claim lost a race",
    "a deposed scheduler's claim was refused",
    "a full queue refused a request",
    "a held artifact was found damaged",
    "a held request moved over a cutover",
    "a held request was given up",
    "a message was too large for the wire",
    "a refused connection was tried elsewhere",
    "a start that failed is tried again",
    "a wake waits for a host",
    "artifacts verified",
    "blobs that rotted",
    "buggify: a fetcher asks another source",
    "buggify: a gateway holds no request",
    "buggify: a host leaves a heartbeat out",
    "buggify: a host waits for its mirror",
    "buggify: a mirror misses a message",
    "buggify: a scheduler places an instance elsewhere",
    "buggify: a scheduler skips a renewal",
    "buggify: a store asks its engine what changed",
    "buggify: a store commits one by one",
    "buggify: a store does not answer a commit",
    "buggify: a store refuses a commit",
    "buggify: a store sends a snapshot in small parts",
    "buggify: a store sends everything again",
    "buggify: an edge puts its acknowledgements off",
    "buggify: an origin answers with half of what was asked",
    "buggify: control admits no request",
    "buggify: sync passes a region over",
    "clients that sent again",
    "control: commit without an answer",
    "control: conflict",
    "control: proved by the mirror",
    "corrupt blobs refused",
    "depositions",
    "elections",
    "feeds found",
    "feeds lost",
    "files that a front found gone",
    "full queues",
    "held artifacts are checked anew",
    "instances stopped",
    "instances that became healthy",
    "instances that failed",
    "malformed records",
    "processes that died after a commit",
    "rotten files served",
    "routes adopted",
    "slots claimed",
    "slots reclaimed",
    "store: revisions that no answer told of",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    /// The strings in the argument lists of calls of `mark`.
    fn marks_in(source: &str, found: &mut BTreeSet<String>) {
        let calls = source.match_indices("mark(");
        for (start, call) in calls.chain(source.match_indices("buggify(")) {
            let line = source[..start].rsplit('\n').next().unwrap_or_default();
            if line.trim_start().starts_with("//") {
                continue;
            }
            let arguments = &source[start + call.len()..];
            let arguments = arguments.split(';').next().unwrap_or_default();
            for (i, part) in arguments.split('"').enumerate() {
                if i % 2 == 1 {
                    found.insert(part.to_owned());
                }
                if i % 2 == 0 && part.contains(')') {
                    break;
                }
            }
        }
    }

    fn walk(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "tests" && name != "target" {
                walk(&path, found);
            } else if name.ends_with(".rs") && name != "tests.rs" && name != "marks.rs" {
                let source = std::fs::read_to_string(&path).unwrap();
                let product = source
                    .split("#[cfg(test)]\nmod tests {")
                    .next()
                    .unwrap_or_default();
                marks_in(product, found);
            }
        }
    }

    #[test]
    fn the_list_is_what_the_sources_say() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut found = BTreeSet::new();
        for folder in ["actors", "sim/src"] {
            walk(&root.join(folder), &mut found);
        }
        let listed: BTreeSet<String> = super::ALL.iter().map(|m| (*m).to_owned()).collect();
        assert_eq!(listed, found);
        assert!(super::ALL.is_sorted());
    }
}
