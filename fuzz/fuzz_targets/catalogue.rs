//! See `fuzz/src/catalogue.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::catalogue::decode(bytes));
