//! See `fuzz/src/token.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::token::decode(bytes));
