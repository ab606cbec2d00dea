//! The deep tier in training: vectors of an encoder beside the features of the fast tier.

use corpus::Example;
use encoder::{Encoder, EncoderError, encoder_text};

/// The encoder's vector of every example, computed on every core.
///
/// # Errors
/// When the tokenizer fails on a text.
pub fn embed(encoder: &Encoder, examples: &[Example]) -> Result<Vec<Vec<f32>>, EncoderError> {
    let texts: Vec<String> = examples.iter().map(|e| encoder_text(&e.query)).collect();
    encoder.embed_texts(&texts, &|_| {})
}
