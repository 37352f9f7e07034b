//! Instances as text and as map keys.
//!
//! The text is the one that [`InstanceRef`] displays, `v3.0.7`; it names directories, files
//! and the mark in a process's environment, so reading it back is strict.

use tidegate_protocol::InstanceRef;

/// Orders instances.
pub(crate) type Key = (u64, u32, u64);

pub(crate) fn key(instance: InstanceRef) -> Key {
    (instance.version, instance.slot, instance.epoch)
}

/// Reads `v3.0.7`; anything that would not display as the same text is refused.
pub(crate) fn parse_instance(text: &str) -> Option<InstanceRef> {
    let mut parts = text.strip_prefix('v')?.split('.');
    let instance = InstanceRef {
        version: parts.next()?.parse().ok()?,
        slot: parts.next()?.parse().ok()?,
        epoch: parts.next()?.parse().ok()?,
    };
    (parts.next().is_none() && instance.to_string() == text).then_some(instance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_nothing_else_does() {
        let instance = InstanceRef {
            version: u64::MAX,
            slot: 3,
            epoch: 9,
        };
        assert_eq!(parse_instance(&instance.to_string()), Some(instance));
        for text in [
            "",
            "v1.2",
            "v1.2.3.4",
            "1.2.3",
            "v01.2.3",
            "v1.2.+3",
            "v1.2.3/..",
        ] {
            assert_eq!(parse_instance(text), None, "{text}");
        }
    }
}
