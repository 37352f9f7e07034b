//! Generates the prost types from `proto/` with protox, so that no system protoc is needed.

/// Types with repeated or nested messages: prost leaves `Eq` and `Hash` out for them. The
/// trace of a simulated run hashes every message, so all of them have it.
const WITHOUT_HASH: [&str; 15] = [
    "VersionSpec",
    "InstancesRecord",
    "Manifest",
    "Envelope",
    "Envelope.body",
    "Txn",
    "StoreCommit",
    "StoreFeed",
    "Provision",
    "ApiRequest",
    "ApiRequest.call",
    "CreateVersion",
    "ApiReply",
    "VersionStatus",
    "LogData",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["proto/message.proto", "proto/record.proto"], ["proto"])?;
    let mut config = prost_build::Config::new();
    config.bytes(["."]);
    // For snapshots of actors, which hold messages and records.
    config.type_attribute(".", "#[derive(serde::Serialize, serde::Deserialize)]");
    for name in WITHOUT_HASH {
        config.type_attribute(format!("tidegate.v1.{name}"), "#[derive(Eq, Hash)]");
    }
    config.compile_fds(files)?;
    Ok(())
}
