//! See `fuzz/src/weights.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::weights::decode(bytes));
