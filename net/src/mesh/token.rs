//! The secret that the nodes of one mesh share.
//!
//! Sent as `authorization: Bearer <token>` with every call. Compared by digest and in
//! constant time, so that an answer's delay tells nothing about it.

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tonic::Status;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};

const HEADER: &str = "authorization";
/// Bytes of a token.
const LENGTH: std::ops::RangeInclusive<usize> = 16..=1_024;

/// A mesh token. Never shown in logs.
#[derive(Clone)]
pub struct Token {
    header: MetadataValue<Ascii>,
    digest: [u8; 32],
}

/// A text that cannot be a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedToken;

impl std::fmt::Display for MalformedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "a mesh token is {} to {} visible ASCII characters without spaces; \
             `openssl rand -hex 32` makes one",
            LENGTH.start(),
            LENGTH.end()
        )
    }
}

impl std::error::Error for MalformedToken {}

impl Token {
    /// # Errors
    /// Too short, too long, or not visible ASCII.
    pub fn new(text: &str) -> Result<Self, MalformedToken> {
        if !LENGTH.contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(MalformedToken);
        }
        let value = format!("Bearer {text}");
        let mut header =
            MetadataValue::<Ascii>::try_from(value.as_str()).map_err(|_| MalformedToken)?;
        header.set_sensitive(true);
        Ok(Self {
            digest: Sha256::digest(header.as_bytes()).into(),
            header,
        })
    }

    /// Adds the token to a call.
    pub(super) fn present(&self, call: &mut MetadataMap) {
        call.insert(HEADER, self.header.clone());
    }

    /// Refuses a call without this token.
    pub(super) fn check(&self, call: &MetadataMap) -> Result<(), Status> {
        let Some(shown) = call.get(HEADER) else {
            return Err(Status::unauthenticated(
                "this mesh wants a token and none was sent; start the node with --token",
            ));
        };
        let digest: [u8; 32] = Sha256::digest(shown.as_bytes()).into();
        if bool::from(digest.ct_eq(&self.digest)) {
            Ok(())
        } else {
            Err(Status::unauthenticated(
                "the token is not the one of this mesh; start the node with the --token that \
                 control was started with",
            ))
        }
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_token_passes() {
        let token = Token::new("0123456789abcdef").unwrap();
        let mut call = MetadataMap::new();
        assert!(token.check(&call).is_err());
        Token::new("0123456789abcdeF").unwrap().present(&mut call);
        assert!(token.check(&call).is_err());
        token.present(&mut call);
        assert!(token.check(&call).is_ok());
    }

    #[test]
    fn what_cannot_be_a_token_is_refused() {
        for text in [
            "",
            "short",
            "with a space 0123456789",
            "übertrieben langes wort",
        ] {
            assert_eq!(Token::new(text).err(), Some(MalformedToken), "{text}");
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        let token = Token::new("0123456789abcdef").unwrap();
        assert!(!format!("{token:?}").contains("0123"));
    }
}
