//! See `fuzz/src/verifier.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::verifier::decode(bytes));
