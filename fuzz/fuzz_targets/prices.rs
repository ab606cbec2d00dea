//! See `fuzz/src/prices.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::prices::decode(bytes));
