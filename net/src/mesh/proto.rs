//! The generated service and messages of `mesh.proto`.

#![expect(
    unreachable_pub,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated code has its own habits"
)]
#![expect(
    clippy::large_enum_variant,
    reason = "nearly every frame is an envelope; a box would be an allocation for each"
)]

tonic::include_proto!("tidegate.mesh.v1");
