//! Lengths of time as scenario files write them: `250us`, `40ms`, `12s`, `5m`, `1h`.

use serde::{Deserialize, Serialize};
use tidegate_kernel::Duration;

/// A length of time, at most 48 hours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub u64);

/// Longest span that a file may name, in nanoseconds.
const NANOS_MAX: u64 = 48 * 3600 * 1_000_000_000;

impl Span {
    pub const fn seconds(seconds: u64) -> Self {
        Self(seconds * 1_000_000_000)
    }

    pub const fn millis(millis: u64) -> Self {
        Self(millis * 1_000_000)
    }

    pub const fn micros(micros: u64) -> Self {
        Self(micros * 1_000)
    }

    pub const fn is_zero(&self) -> bool {
        self.0 == 0
    }

    pub const fn nanos(self) -> u64 {
        self.0
    }

    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    pub fn duration(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            0 => f.write_str("0s"),
            n if n.is_multiple_of(60_000_000_000) => write!(f, "{}m", n / 60_000_000_000),
            n if n.is_multiple_of(1_000_000_000) => write!(f, "{}s", n / 1_000_000_000),
            n if n.is_multiple_of(1_000_000) => write!(f, "{}ms", n / 1_000_000),
            n if n.is_multiple_of(1_000) => write!(f, "{}us", n / 1_000),
            n => write!(f, "{n}ns"),
        }
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let remedy = || {
            format!(
                "`{text}` is no length of time; write a whole number and ns, us, ms, s, m or h, such as \"90s\""
            )
        };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| remedy())?;
        let scale: u64 = match unit {
            "ns" => 1,
            "us" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60 * 1_000_000_000,
            "h" => 3600 * 1_000_000_000,
            _ => return Err(remedy()),
        };
        number
            .checked_mul(scale)
            .filter(|n| *n <= NANOS_MAX)
            .map(Span)
            .ok_or_else(|| format!("`{text}` is longer than 48h; choose a shorter time"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_parse_and_print() {
        for (text, nanos) in [
            ("7ns", 7),
            ("250us", 250_000),
            ("40ms", 40_000_000),
            ("12s", 12_000_000_000),
            ("5m", 300_000_000_000),
        ] {
            let span = Span::try_from(text.to_owned()).unwrap();
            assert_eq!((span.nanos(), span.to_string().as_str()), (nanos, text));
        }
        assert_eq!(Span::try_from("1h".to_owned()).unwrap().to_string(), "60m");
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in [
            "",
            "5",
            "s",
            "-1s",
            "1.5s",
            "1 s",
            "49h",
            "99999999999999999999s",
            "5d",
        ] {
            assert!(Span::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
