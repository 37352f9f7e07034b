//! The whole state of an actor as bytes, and back.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The bytes of a state. Two equal states of one build have equal bytes: nothing in an actor
/// is unordered.
///
/// # Errors
/// A value that its own serialisation refuses; no state of an actor holds one.
pub fn snapshot<T: Serialize>(state: &T) -> Result<Vec<u8>, postcard::Error> {
    postcard::to_stdvec(state)
}

/// The state of these bytes.
///
/// # Errors
/// They are not those of such a state of this build, or more than those.
pub fn restore<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    match postcard::take_from_bytes(bytes) {
        Ok((state, [])) => Ok(state),
        Ok((_, rest)) => Err(format!("{} bytes too many", rest.len())),
        Err(error) => Err(error.to_string()),
    }
}
