//! Debug text that ends somewhere.

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
        self.text.push_str(&s[..s.floor_char_boundary(room)]);
        // Whoever formats stops at the first error.
        Err(fmt::Error)
    }
}

/// The Debug text of a value on one line, at most so many bytes, and whether that is all of
/// it.
pub(super) fn debug(value: &dyn Debug, max: usize) -> (String, bool) {
    let mut out = Bounded {
        text: String::new(),
        max,
    };
    let result = write!(out, "{value:?}");
    (out.text, result.is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_within_a_character_never() {
        assert_eq!(debug(&"né", 10), ("\"né\"".into(), true));
        assert_eq!(debug(&"né", 3), ("\"n".into(), false));
    }
}
