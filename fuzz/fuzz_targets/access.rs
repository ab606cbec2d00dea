//! See `fuzz/src/access.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::access::decode(bytes));
