//! See `fuzz/src/corpus.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::corpus::decode(bytes));
