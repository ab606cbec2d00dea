//! Text to token ids within a budget: head and tail of what is long.

use std::panic::catch_unwind;

use serde::de::IgnoredAny;
use tokenizers::Tokenizer;

use crate::{EncoderConfig, EncoderError};

/// Bytes of text per token of budget that are looked at; no natural text has longer tokens on average.
const BYTES_PER_TOKEN: usize = 16;

/// A checkpoint's tokenizer under a token budget.
#[derive(Debug, Clone)]
pub struct Tokens {
    tokenizer: Tokenizer,
    head: usize,
    tail: usize,
    prefix: String,
    first: u32,
    last: u32,
}

impl Tokens {
    /// Reads `tokenizer.json`. Padding and truncation written there are switched off: the budget counts.
    ///
    /// # Errors
    /// When the bytes are no tokenizer, it lacks `[CLS]` or `[SEP]`, or knows more tokens than the encoder.
    pub fn read(json: &[u8], config: &EncoderConfig) -> Result<Self, EncoderError> {
        let mut tokenizer = tokenizer(json)?;
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|e| EncoderError::Tokenizer(e.to_string()))?;
        // Ids need not be as many as tokens: it is the highest that has to have a row.
        let highest = tokenizer.get_vocab(true).into_values().max();
        let rows = config.shape.vocabulary;
        if let Some(id) = highest.filter(|id| *id as usize >= rows) {
            return Err(EncoderError::Tokenizer(format!(
                "a token of id {id}, but the word table has {rows} rows"
            )));
        }
        let special = |name: &str| {
            tokenizer
                .token_to_id(name)
                .ok_or_else(|| EncoderError::Tokenizer(format!("token {name} is missing")))
        };
        let (first, last) = (special("[CLS]")?, special("[SEP]")?);
        let (head, tail, prefix) = (config.head_tokens, config.tail_tokens, config.prefix.clone());
        Ok(Self { tokenizer, head, tail, prefix, first, last })
    }

    /// The ids of a text between `[CLS]` and `[SEP]`, at most `head + tail + 2` of them: those of the head, and
    /// where the text is longer those of its tail.
    ///
    /// # Errors
    /// When the tokenizer fails on the text.
    pub fn ids(&self, text: &str) -> Result<Vec<u32>, EncoderError> {
        let mut ids = vec![self.first];
        let most = (self.head + self.tail) * BYTES_PER_TOKEN;
        if text.len() <= 2 * most {
            let all = self.encode(&format!("{}{text}", self.prefix))?;
            if all.len() <= self.head + self.tail {
                ids.extend(all);
            } else {
                ids.extend(&all[..self.head]);
                ids.extend(&all[all.len() - self.tail..]);
            }
        } else {
            // A long text is not tokenised in full for the sake of its ends.
            let head = self.encode(&format!("{}{}", self.prefix, &text[..text.floor_char_boundary(most)]))?;
            let tail = self.encode(&text[text.ceil_char_boundary(text.len() - most)..])?;
            ids.extend(&head[..self.head.min(head.len())]);
            ids.extend(&tail[tail.len().saturating_sub(self.tail)..]);
        }
        ids.push(self.last);
        Ok(ids)
    }

    /// Whether a text has more tokens than the budget, given its ids.
    pub fn is_full(&self, ids: &[u32]) -> bool {
        ids.len() >= self.head + self.tail + 2
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>, EncoderError> {
        let encoding = self.tokenizer.encode_fast(text, false);
        Ok(encoding.map_err(|e| EncoderError::Tokenizer(e.to_string()))?.get_ids().to_vec())
    }

    /// The tokenizer as `tokenizer.json`.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, EncoderError> {
        let json = self.tokenizer.to_string(false).map_err(|e| EncoderError::Tokenizer(e.to_string()))?;
        Ok(json.into_bytes())
    }
}

/// The tokenizer of a file. Its reader panics at JSON that breaks off inside the decoder and at a normaliser's table that
/// is none: both are a refusal like any other.
fn tokenizer(json: &[u8]) -> Result<Tokenizer, EncoderError> {
    serde_json::from_slice::<IgnoredAny>(json).map_err(|e| EncoderError::Tokenizer(e.to_string()))?;
    match catch_unwind(|| Tokenizer::from_bytes(json)) {
        Ok(read) => read.map_err(|e| EncoderError::Tokenizer(e.to_string())),
        Err(_) => Err(EncoderError::Tokenizer("a part of it is not what its type says".to_owned())),
    }
}
