//! Where a line of output begins and ends.
//!
//! Bytes come in pieces of any size; lines go out with the position in the raw file at which
//! they ended. A line without an end is held back until its newline comes, or the instance is
//! gone. Beyond the limit its beginning goes out with a mark and the rest is dropped as it
//! comes, so that memory stays bounded whatever a program writes.

const CUT_MARK: &str = " [… the rest of this line was too long to keep]";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Position in the raw file just after it.
    pub end: u64,
    pub text: String,
}

#[derive(Debug)]
pub(crate) struct Splitter {
    line_bytes_max: usize,
    /// Position in the raw file of the next byte.
    position: u64,
    held: Vec<u8>,
    /// Inside a line that went out already, or whose beginning was never seen.
    skipping: bool,
}

impl Splitter {
    pub(crate) fn new(line_bytes_max: usize, position: u64) -> Splitter {
        Splitter {
            line_bytes_max,
            position,
            held: Vec::new(),
            skipping: false,
        }
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Everything before went out or was dropped; what comes after is held back.
    pub(crate) fn settled(&self) -> u64 {
        self.position - self.held.len() as u64
    }

    /// Goes to another position; `skipping`: in the middle of a line.
    pub(crate) fn jump(&mut self, position: u64, skipping: bool) {
        self.position = position;
        self.held.clear();
        self.skipping = skipping;
    }

    pub(crate) fn push(&mut self, mut bytes: &[u8], out: &mut Vec<Line>) {
        while let Some(newline) = bytes.iter().position(|byte| *byte == b'\n') {
            self.hold(&bytes[..newline], out);
            self.position += 1;
            if !std::mem::take(&mut self.skipping) {
                self.emit(false, out);
            }
            bytes = &bytes[newline + 1..];
        }
        self.hold(bytes, out);
    }

    /// Lets go of a line without an end.
    pub(crate) fn flush(&mut self, out: &mut Vec<Line>) {
        if !self.held.is_empty() {
            self.emit(false, out);
        }
        self.skipping = false;
    }

    fn hold(&mut self, bytes: &[u8], out: &mut Vec<Line>) {
        self.position += bytes.len() as u64;
        if self.skipping {
            return;
        }
        let room = self.line_bytes_max - self.held.len();
        self.held.extend(&bytes[..bytes.len().min(room)]);
        if bytes.len() > room {
            self.emit(true, out);
            self.skipping = true;
        }
    }

    fn emit(&mut self, cut: bool, out: &mut Vec<Line>) {
        let mut text = String::from_utf8_lossy(&self.held).into_owned();
        if cut {
            // A character that the cut went through, and what replacing bytes made longer.
            text.truncate(text.floor_char_boundary(self.line_bytes_max));
            text.truncate(text.trim_end_matches(char::REPLACEMENT_CHARACTER).len());
            text.push_str(CUT_MARK);
        } else {
            text.truncate(text.floor_char_boundary(self.line_bytes_max));
            if text.ends_with('\r') {
                text.pop();
            }
        }
        self.held.clear();
        out.push(Line {
            end: self.position,
            text,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of `bytes`, which must not depend on the pieces they come in.
    fn split(line_bytes_max: usize, bytes: &[u8]) -> Vec<(u64, String)> {
        let mut results: Vec<Vec<(u64, String)>> = Vec::new();
        for piece in [1, 2, 3, bytes.len().max(1)] {
            let mut splitter = Splitter::new(line_bytes_max, 0);
            let mut out = Vec::new();
            for piece in bytes.chunks(piece) {
                splitter.push(piece, &mut out);
            }
            splitter.flush(&mut out);
            assert_eq!(splitter.position(), bytes.len() as u64);
            results.push(out.into_iter().map(|line| (line.end, line.text)).collect());
        }
        let last = results.pop().expect("some pieces");
        let texts = |lines: &[(u64, String)]| -> Vec<String> {
            lines.iter().map(|(_, text)| text.clone()).collect()
        };
        assert!(results.iter().all(|other| texts(other) == texts(&last)));
        last
    }

    #[test]
    fn lines_end_at_newlines_and_at_the_end() {
        let lines = split(100, b"a\r\n\nbc\nd");
        let expected = [(3, "a"), (4, ""), (7, "bc"), (8, "d")];
        assert_eq!(lines, expected.map(|(end, text)| (end, text.to_owned())));
    }

    #[test]
    fn what_is_too_long_or_not_text_is_marked() {
        let lines = split(4, "abcd\nabcde\nabcü\nx".as_bytes());
        let texts: Vec<&str> = lines.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "abcd",
                &format!("abcd{CUT_MARK}"),
                &format!("abc{CUT_MARK}"),
                "x"
            ]
        );
        assert_eq!(split(100, b"a\xffb\n")[0].1, "a\u{fffd}b");
    }

    #[test]
    fn what_is_held_back_is_not_settled() {
        let mut splitter = Splitter::new(4, 0);
        let mut out = Vec::new();
        splitter.push(b"a\nbc", &mut out);
        assert_eq!(splitter.settled(), 2);
        splitter.push(b"defgh", &mut out);
        assert_eq!((splitter.settled(), out.len()), (9, 2));
    }

    #[test]
    fn a_jump_into_a_line_drops_its_rest() {
        let mut splitter = Splitter::new(100, 0);
        let mut out = Vec::new();
        splitter.push(b"half", &mut out);
        splitter.jump(1000, true);
        splitter.push(b"rest\nnext\n", &mut out);
        assert_eq!(
            out,
            [Line {
                end: 1010,
                text: "next".to_owned()
            }]
        );
    }
}
