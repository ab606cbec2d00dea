//! What is off by default: run with `--features ndarray,object-store`, and `wgpu` where Vulkan is.
#![allow(clippy::unwrap_used, missing_docs, reason = "helpers of tests")]

#[path = "../../../crates/decision-log/tests/support/mod.rs"]
mod support;

mod backends;
mod object_store;
