//! Compiles `proto/` without protoc.

use std::error::Error;
use std::path::PathBuf;

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let contracts = ["admin", "cascade", "outcomes", "router", "semantic"];
    let contracts = contracts.map(|name| format!("rung/v1/{name}.proto"));
    let descriptors = protox::compile(contracts, [&root])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("rung.v1.bin");
    std::fs::write(out, descriptors.encode_to_vec())?;
    let mut prost = tonic_prost_build::Config::new();
    prost.enable_type_names();
    let codec = "crate::bounded::BoundedCodec";
    tonic_prost_build::configure().codec_path(codec).compile_fds_with_config(descriptors, prost)?;
    Ok(())
}
