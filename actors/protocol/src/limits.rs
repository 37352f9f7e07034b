//! Bounds that hold everywhere. Each names what is refused beyond it.

/// Bytes of one store value.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of one store key.
pub const KEY_BYTES_MAX: usize = 512;
/// Writes and preconditions of one transaction, together.
pub const TXN_OPS_MAX: usize = 256;
/// Bytes of the keys and values of one transaction. It is fed in one message.
pub const TXN_BYTES_MAX: usize = 512 * 1024;
/// Bytes of entries in one feed message; a longer feed comes in several.
pub const FEED_BYTES_MAX: usize = 128 * 1024;
/// Bytes of one blob read.
pub const BLOB_CHUNK_BYTES: usize = 256 * 1024;
/// Bytes of one encoded envelope on the wire.
pub const ENVELOPE_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of output shown of an instance that died.
pub const LOG_TAIL_BYTES_MAX: usize = 4 * 1024;

/// Bytes of a project's name: it is a DNS label.
pub const PROJECT_NAME_BYTES_MAX: usize = 63;
/// Host names of a project.
pub const PROJECT_HOSTS_MAX: usize = 32;
/// Bytes of a host name (RFC 1035 §2.3.4).
pub const HOST_NAME_BYTES_MAX: usize = 253;
/// Words of a command, and bytes of all of them.
pub const COMMAND_WORDS_MAX: usize = 256;
pub const COMMAND_BYTES_MAX: usize = 16 * 1024;
/// Variables of a version, and bytes of names and values together.
pub const ENV_VARIABLES_MAX: usize = 256;
pub const ENV_BYTES_MAX: usize = 32 * 1024;
/// Slots of a version in one region.
pub const INSTANCES_MAX: u32 = 100;
/// Requests in flight at one instance from one gateway actor.
pub const CONCURRENCY_MAX: u32 = 10_000;
/// Regions that a version may name.
pub const REGIONS_MAX: usize = 64;
/// Files of an artifact, bytes of one path, bytes of one file, bytes of all.
pub const ARTIFACT_FILES_MAX: usize = 20_000;
pub const ARTIFACT_PATH_BYTES_MAX: usize = 1024;
pub const ARTIFACT_FILE_BYTES_MAX: u64 = 512 * 1024 * 1024;
pub const ARTIFACT_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Bytes of an encoded manifest.
pub const MANIFEST_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Longest grace between SIGTERM and SIGKILL.
pub const STOP_GRACE_MS_MAX: u64 = 300_000;
/// Versions of a project that edges keep, besides the active one.
pub const VERSIONS_KEPT: usize = 10;
