//! See `fuzz/src/encoder.rs`. A tokenizer's reader panics and is caught: the hook that ends the process at any panic is
//! taken back, and what is not caught ends it all the same.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: drop(std::panic::take_hook()),
    |bytes: &[u8]| fuzz::encoder::decode(bytes)
);
