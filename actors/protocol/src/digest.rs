//! Content addresses.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// SHA-256 of a blob. An artifact is named by the digest of its encoded manifest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// Not 32 bytes, or not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedDigest;

impl std::fmt::Display for MalformedDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a digest is 32 bytes, or 64 hexadecimal digits")
    }
}

impl std::error::Error for MalformedDigest {}

impl TryFrom<&[u8]> for Digest {
    type Error = MalformedDigest;

    fn try_from(bytes: &[u8]) -> Result<Self, MalformedDigest> {
        bytes.try_into().map(Digest).map_err(|_| MalformedDigest)
    }
}

impl TryFrom<&Bytes> for Digest {
    type Error = MalformedDigest;

    fn try_from(bytes: &Bytes) -> Result<Self, MalformedDigest> {
        Digest::try_from(bytes.as_ref())
    }
}

impl From<Digest> for Bytes {
    fn from(digest: Digest) -> Bytes {
        Bytes::copy_from_slice(&digest.0)
    }
}

impl std::str::FromStr for Digest {
    type Err = MalformedDigest;

    fn from_str(text: &str) -> Result<Self, MalformedDigest> {
        let hex = text.as_bytes();
        if hex.len() != 64 {
            return Err(MalformedDigest);
        }
        let nibble = |c: u8| (c as char).to_digit(16).ok_or(MalformedDigest);
        let mut out = [0; 32];
        for (byte, pair) in out.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = (nibble(pair[0])? << 4 | nibble(pair[1])?) as u8;
        }
        Ok(Digest(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_round_trip() {
        let digest = Digest(std::array::from_fn(|i| i as u8 * 7));
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(Digest::try_from(&Bytes::from(digest)), Ok(digest));
        assert_eq!("00".parse::<Digest>(), Err(MalformedDigest));
        assert_eq!("zz".repeat(32).parse::<Digest>(), Err(MalformedDigest));
    }
}
