//! Checkpoints of encoders: the first byte says which of the three files the rest is, the others are those of a tiny
//! encoder. What is read gives vectors of its width for any text.

use classifier::Backend;
use encoder::{Encoder, EncoderConfig, EncoderError, EncoderFiles, EncoderOptions, EngineKind};

const CONFIG: &[u8] = include_bytes!("../../crates/encoder/tests/reference/tiny/config.json");
const TOKENIZER: &[u8] = include_bytes!("../../crates/encoder/tests/reference/tiny/tokenizer.json");
const WEIGHTS: &[u8] = include_bytes!("../../crates/encoder/tests/reference/tiny/model.safetensors");

/// Reads the bytes after the first as the `c`onfiguration, the `t`okenizer or the `w`eights.
pub fn decode(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let own = |letter: u8, file: &[u8]| if *first == letter { rest.to_vec() } else { file.to_vec() };
    if !b"ctw".contains(first) {
        return;
    }
    let files = EncoderFiles {
        config: own(b'c', CONFIG),
        tokenizer: own(b't', TOKENIZER),
        weights: own(b'w', WEIGHTS),
    };
    let config = match EncoderConfig::read(&files.config, &EncoderOptions::default()) {
        Ok(config) => config,
        Err(error) => return is_told(&error),
    };
    let written = config.to_json();
    let again = written.as_deref().map(|json| EncoderConfig::read(json, &EncoderOptions::default()));
    assert!(matches!(again, Ok(Ok(again)) if again == config), "a configuration is written as it was read");
    let Ok(device) = Backend::Flex.device() else { return };
    for kind in [EngineKind::Int8, EngineKind::Burn(device)] {
        match Encoder::read(&files, &EncoderOptions::default(), &kind) {
            Ok(encoder) => embeds(&encoder),
            Err(error) => is_told(&error),
        }
    }
}

fn is_told(error: &EncoderError) {
    assert!(!error.to_string().is_empty());
}

fn embeds(encoder: &Encoder) {
    for text in ["", "where is my parcel", "\u{0}\u{fffd}🙂 é", &"a b ".repeat(200)] {
        match encoder.tokens().ids(text) {
            Ok(ids) => {
                let most = encoder.config().head_tokens + encoder.config().tail_tokens + 2;
                assert!((2..=most).contains(&ids.len()), "{} ids", ids.len());
                assert!(ids.iter().all(|id| (*id as usize) < encoder.config().shape.vocabulary), "{ids:?}");
                assert_eq!(encoder.embed(&ids).len(), encoder.width());
            }
            Err(error) => is_told(&error),
        }
    }
}
