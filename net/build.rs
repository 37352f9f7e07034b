//! Generates the mesh service from `proto/` with protox, so that no system protoc is needed.
//! The envelope and what it carries are the types of `tidegate-protocol`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let protocol = "../actors/protocol/proto";
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed={protocol}");
    let files = protox::compile(["proto/mesh.proto"], ["proto", protocol])?;
    tonic_prost_build::configure()
        .extern_path(".tidegate.v1", "::tidegate_protocol")
        .bytes(".")
        .compile_fds(files)?;
    Ok(())
}
