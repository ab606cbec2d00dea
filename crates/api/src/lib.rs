//! The wire contract of `proto/rung/v1` as Rust, generated at build time. Conversions to domain
//! types live beside the service, in `server`.

pub mod bounded;

/// Package `rung.v1`.
#[allow(
    clippy::all,
    clippy::too_many_lines,
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    reason = "generated: what it holds changes with the generator"
)]
pub mod v1 {
    tonic::include_proto!("rung.v1");

    /// The compiled descriptors, for server reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("rung.v1");
}
