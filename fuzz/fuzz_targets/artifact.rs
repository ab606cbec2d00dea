//! See `fuzz/src/artifact.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::artifact::decode(bytes));
