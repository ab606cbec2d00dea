//! See `fuzz/src/records.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::records::decode(bytes));
