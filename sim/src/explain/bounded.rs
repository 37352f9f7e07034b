//! Debug text that ends somewhere, and that a person can read: what fits into one line is
//! put into one.

use std::fmt::{self, Debug, Write};

/// Takes text until it is full.
struct Bounded {
    text: String,
    max: usize,
}

impl Write for Bounded {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let room = self.max - self.text.len();
        if s.len() <= room {
            self.text.push_str(s);
            return Ok(());
        }
        let end = (0..=room).rev().find(|i| s.is_char_boundary(*i));
        self.text.push_str(&s[..end.unwrap_or(0)]);
        // Whoever formats stops at the first error.
        Err(fmt::Error)
    }
}

/// The Debug text of a value, at most so many bytes, and whether that is all of it.
pub(super) fn debug(value: &dyn Debug, pretty: bool, max: usize) -> (String, bool) {
    let mut out = Bounded {
        text: String::new(),
        max,
    };
    let result = if pretty {
        write!(out, "{value:#?}")
    } else {
        write!(out, "{value:?}")
    };
    (out.text, result.is_ok())
}

/// Longest line that is made of several.
const FOLDED_MAX: usize = 84;

/// The lines of a pretty Debug text, small structures folded into one line each:
/// `node: NodeId(\n6,\n),` becomes `node: NodeId(6),`.
pub(super) fn folded(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    // Where each open bracket is, and whether all that follows it is single lines so far.
    let mut open: Vec<(usize, bool)> = Vec::new();
    for line in text.lines() {
        let bare = line.trim_start();
        if line.ends_with(['{', '(', '[']) {
            open.push((lines.len(), true));
        } else if bare.starts_with(['}', ')', ']'])
            && let Some((at, single)) = open.pop()
        {
            let one = single.then(|| fold(&lines[at..], bare)).flatten();
            if let Some(one) = one {
                lines.truncate(at);
                lines.push(one);
                continue;
            }
            if let Some(outer) = open.last_mut() {
                outer.1 = false;
            }
        }
        lines.push(line.to_owned());
    }
    lines
}

fn fold(lines: &[String], close: &str) -> Option<String> {
    let (head, inside) = lines.split_first()?;
    let words = inside.iter().map(|line| line.trim_start().len() + 1);
    let indent = head.len() - head.trim_start().len();
    if head.len() - indent + words.sum::<usize>() + close.len() > FOLDED_MAX {
        return None;
    }
    let inside: Vec<&str> = inside.iter().map(|line| line.trim_start()).collect();
    let inside = inside.join(" ");
    let inside = inside.strip_suffix(',').unwrap_or(&inside);
    let space = if head.ends_with('{') && !inside.is_empty() {
        " "
    } else {
        ""
    };
    Some(format!("{head}{space}{inside}{space}{close}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_within_a_character_never() {
        assert_eq!(debug(&"né", false, 10), ("\"né\"".into(), true));
        assert_eq!(debug(&"né", false, 3), ("\"n".into(), false));
        assert_eq!(debug(&[1, 2], true, 100).0, "[\n    1,\n    2,\n]");
    }

    #[test]
    fn small_structures_become_one_line() {
        #[derive(Debug)]
        #[expect(dead_code, reason = "only its Debug text is of use")]
        struct Outer {
            some: Option<Option<u8>>,
            none: Vec<u8>,
            text: &'static str,
            long: Vec<String>,
        }
        let outer = Outer {
            some: Some(Some(7)),
            none: Vec::new(),
            text: "a (",
            long: vec!["x".repeat(50), "y".repeat(50)],
        };
        let lines = folded(&format!("{outer:#?}"));
        assert_eq!(
            lines[..5],
            [
                "Outer {",
                "    some: Some(Some(7)),",
                "    none: [],",
                "    text: \"a (\",",
                "    long: [",
            ]
        );
        assert_eq!(lines.len(), 9);
        assert_eq!(folded(&format!("{:#?}", (1, [2, 3]))), ["(1, [2, 3])"]);
    }
}
