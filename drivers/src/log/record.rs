//! One line of a version's log, as stored.
//!
//! Text, so that `less` works when nothing else does:
//!
//! ```text
//! tidegate-log 1 5ca1ab1e5ca1ab1e      head of a segment: format, identity of the log
//! @ v3.0.7 4096                        where the raw file of an instance was read up to
//! 1700000000000 v3.0.7 4123 listening  wall time, instance, end in its raw file, text
//! ```
//!
//! A line never holds a newline, so a newline is always an end, and whatever does not parse
//! (the zeros that a power loss leaves, say) is skipped.

use std::io::Write as _;

use tidegate_protocol::{InstanceRef, LogLine};

use crate::names::parse_instance;

const HEAD: &str = "tidegate-log 1 ";
const MARK: &str = "@ ";

/// What a stored line tells.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Record {
    Line { line: LogLine, raw_end: u64 },
    Mark { instance: InstanceRef, raw_end: u64 },
}

pub(crate) fn head(log: u64) -> Vec<u8> {
    format!("{HEAD}{log:016x}\n").into_bytes()
}

/// Identity of the log, from the first line of a segment.
pub(crate) fn parse_head(line: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(line).ok()?;
    u64::from_str_radix(text.strip_prefix(HEAD)?.strip_suffix('\n')?, 16).ok()
}

pub(crate) fn put_line(
    out: &mut Vec<u8>,
    wall_ms: u64,
    instance: InstanceRef,
    end: u64,
    text: &str,
) {
    // Writing to memory cannot fail.
    let _ = writeln!(out, "{wall_ms} {instance} {end} {text}");
}

pub(crate) fn put_mark(out: &mut Vec<u8>, instance: InstanceRef, end: u64) {
    let _ = writeln!(out, "{MARK}{instance} {end}");
}

/// Reads one stored line, with or without its newline.
pub(crate) fn parse(line: &[u8]) -> Option<Record> {
    let text = std::str::from_utf8(line).ok()?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    if let Some(mark) = text.strip_prefix(MARK) {
        let (instance, raw_end) = mark.split_once(' ')?;
        return Some(Record::Mark {
            instance: parse_instance(instance)?,
            raw_end: raw_end.parse().ok()?,
        });
    }
    let (wall_ms, rest) = text.split_once(' ')?;
    let (instance, rest) = rest.split_once(' ')?;
    let (raw_end, text) = rest.split_once(' ')?;
    Some(Record::Line {
        line: LogLine {
            wall_ms: wall_ms.parse().ok()?,
            instance: Some(parse_instance(instance)?),
            text: text.to_owned(),
        },
        raw_end: raw_end.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_marks_and_heads_read_back() {
        let instance = InstanceRef {
            version: 3,
            slot: 0,
            epoch: 7,
        };
        let raw_end = 12;
        for text in ["", " spaces  stay ", "@ v1.1.1 5", "ü\r\t"] {
            let mut stored = Vec::new();
            put_line(&mut stored, 5, instance, raw_end, text);
            let line = LogLine {
                wall_ms: 5,
                instance: Some(instance),
                text: text.to_owned(),
            };
            assert_eq!(parse(&stored), Some(Record::Line { line, raw_end }));
        }
        let mut stored = Vec::new();
        put_mark(&mut stored, instance, raw_end);
        assert_eq!(parse(&stored), Some(Record::Mark { instance, raw_end }));
        assert_eq!(parse_head(&head(0xabc)), Some(0xabc));
    }

    #[test]
    fn rubbish_is_nothing() {
        for rubbish in [
            &b""[..],
            b"\0\0\0\n",
            b"5 v3.0.7\n",
            b"x v3.0.7 1 a",
            b"\xff 1 1 1",
        ] {
            assert_eq!(parse(rubbish), None);
        }
        assert_eq!(parse(&head(1)), None);
        assert_eq!(parse_head(b"tidegate-log 1 5ca1"), None);
    }
}
