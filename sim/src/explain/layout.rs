//! Debug text on lines that a person can read: what fits into one line is put into one.
//!
//! It lays out the compact Debug text, which is several times cheaper to make than the
//! pretty one. Text that is cut off, or that has brackets of its own, is laid out as far as
//! it can be understood; nothing of it is lost.

/// Longest line that is made of several.
const LINE_MAX: usize = 84;
const INDENT: usize = 4;

/// The lines of a compact Debug text: `node: NodeId(6)` stays one line, a long list has a
/// line for each of its items.
pub(super) fn lines(text: &str) -> Vec<String> {
    let mut layout = Layout {
        text,
        marks: marks(text.as_bytes()),
        lines: Vec::new(),
    };
    let all = 0..layout.marks.len();
    layout.item(0..text.len(), all, 0, "");
    layout.lines
}

/// A bracket or comma outside of every string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// Where it is, and the place of its closing bracket among the marks; past the last
    /// mark when it is never closed.
    Open(usize, usize),
    Close(usize),
    Comma(usize),
}

fn marks(text: &[u8]) -> Vec<Mark> {
    let mut marks = Vec::new();
    let mut open = Vec::new();
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => at = end_of_string(text, at),
            b'\'' => at = end_of_char(text, at),
            b'(' | b'[' | b'{' => {
                open.push(marks.len());
                marks.push(Mark::Open(at, usize::MAX));
            }
            b')' | b']' | b'}' => {
                if let Some(which) = open.pop() {
                    closes_at(&mut marks, which);
                    marks.push(Mark::Close(at));
                }
            }
            b',' => marks.push(Mark::Comma(at)),
            _ => {}
        }
        at += 1;
    }
    for which in open {
        closes_at(&mut marks, which);
    }
    marks
}

/// The next mark closes this one.
fn closes_at(marks: &mut [Mark], which: usize) {
    let next = marks.len();
    if let Mark::Open(_, close) = &mut marks[which] {
        *close = next;
    }
}

/// The closing quote of the string that begins here, or the end of the text.
fn end_of_string(text: &[u8], begin: usize) -> usize {
    let mut at = begin + 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

/// The closing quote of the character that begins here; the place itself when it is only an
/// apostrophe. What is no single byte is no bracket, and needs no care.
fn end_of_char(text: &[u8], begin: usize) -> usize {
    let end = match text.get(begin + 1) {
        Some(b'\\') => begin + 3,
        _ => begin + 2,
    };
    if text.get(end) == Some(&b'\'') {
        end
    } else {
        begin
    }
}

struct Layout<'a> {
    text: &'a str,
    marks: Vec<Mark>,
    lines: Vec<String>,
}

impl Layout<'_> {
    /// Puts an item, whose marks are these, and `tail` after it.
    fn item(
        &mut self,
        item: std::ops::Range<usize>,
        marks: std::ops::Range<usize>,
        indent: usize,
        tail: &str,
    ) {
        let mut from = item.start;
        let mut mark = marks.start;
        while item.end - from > LINE_MAX
            && let Some((open, inside, close)) = self.group(mark, &marks, item.end)
        {
            self.line(from..open + 1, indent, "");
            self.items(open + 1..close, inside.clone(), indent + INDENT);
            from = close;
            mark = inside.end + 1;
        }
        self.line(from..item.end, indent, tail);
    }

    /// The next group of an item that is worth several lines: the first that is long, or the
    /// last. Where it opens, the marks inside, and where it closes.
    fn group(
        &self,
        mark: usize,
        marks: &std::ops::Range<usize>,
        end: usize,
    ) -> Option<(usize, std::ops::Range<usize>, usize)> {
        let mut found = None;
        let mut at = mark;
        while at < marks.end {
            let Mark::Open(open, closes) = self.marks[at] else {
                at += 1;
                continue;
            };
            let close = match self.marks.get(closes) {
                Some(Mark::Close(close)) => *close,
                _ => end,
            };
            found = Some((open, at + 1..closes, close));
            if close - open > LINE_MAX / 2 {
                break;
            }
            at = closes + 1;
        }
        found
    }

    /// Puts what stands between two brackets.
    fn items(&mut self, all: std::ops::Range<usize>, marks: std::ops::Range<usize>, indent: usize) {
        let (mut from, mut first) = (all.start, marks.start);
        let mut at = marks.start;
        while at < marks.end {
            match self.marks[at] {
                Mark::Open(_, closes) => at = closes + 1,
                Mark::Comma(comma) => {
                    let item = self.trimmed(from..comma);
                    self.item(item, first..at, indent, ",");
                    from = comma + 1;
                    at += 1;
                    first = at;
                }
                Mark::Close(_) => at += 1,
            }
        }
        let item = self.trimmed(from..all.end);
        if !item.is_empty() {
            self.item(item, first..marks.end, indent, ",");
        }
    }

    fn trimmed(&self, item: std::ops::Range<usize>) -> std::ops::Range<usize> {
        let text = &self.text[item.clone()];
        let start = item.start + (text.len() - text.trim_start().len());
        start..start + text.trim().len()
    }

    fn line(&mut self, text: std::ops::Range<usize>, indent: usize, tail: &str) {
        let text = self.text[text].trim();
        if text.is_empty() && tail.is_empty() {
            return;
        }
        let mut line = String::with_capacity(indent + text.len() + tail.len());
        line.extend(std::iter::repeat_n(' ', indent));
        line.push_str(text);
        line.push_str(tail);
        self.lines.push(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    #[expect(dead_code, reason = "only its Debug text is of use")]
    struct Outer {
        some: Option<Option<u8>>,
        none: Vec<u8>,
        text: &'static str,
        character: char,
        long: Vec<String>,
    }

    fn outer(text: &'static str) -> Outer {
        Outer {
            some: Some(Some(7)),
            none: Vec::new(),
            text,
            character: '{',
            long: vec!["x".repeat(50), "y".repeat(50)],
        }
    }

    #[test]
    fn small_structures_stay_one_line() {
        let text = format!("{:?}", outer("a \\\" ("));
        assert_eq!(
            lines(&text)[..6],
            [
                "Outer {",
                "    some: Some(Some(7)),",
                "    none: [],",
                r#"    text: "a \\\" (","#,
                "    character: '{',",
                "    long: [",
            ]
        );
        assert_eq!(lines(&text).len(), 10);
        assert_eq!(lines(&format!("{:?}", (1, [2, 3]))), ["(1, [2, 3])"]);
        assert_eq!(lines(""), [""; 0]);
    }

    #[test]
    fn a_short_key_stays_with_its_long_value() {
        let value = "z".repeat(90);
        let map = std::collections::BTreeMap::from([((1, "k"), vec![value.clone()])]);
        let expected = [
            "{".to_owned(),
            "    (1, \"k\"): [".to_owned(),
            format!("        \"{value}\","),
            "    ],".to_owned(),
            "}".to_owned(),
        ];
        assert_eq!(lines(&format!("{map:?}")), expected);
    }

    /// Everything but spaces and the commas at the ends of lines.
    fn bare(lines: &[String]) -> String {
        let bare = lines.iter().map(|line| line.trim().trim_end_matches(','));
        let all: String = bare.collect();
        all.replace([' ', ','], "")
    }

    #[test]
    fn nothing_is_lost_wherever_the_text_is_cut_off() {
        let text = format!("{:?}", [outer("it's"), outer("é ]")]);
        for end in (0..=text.len()).filter(|end| text.is_char_boundary(*end)) {
            let cut = &text[..end];
            assert_eq!(bare(&lines(cut)), cut.replace([' ', ','], ""), "{cut}");
        }
        for odd in ["}])", "don't (do [that", "a, b, c", "((((", "'", "\""] {
            assert_eq!(bare(&lines(odd)), odd.replace([' ', ','], ""), "{odd}");
        }
    }
}
