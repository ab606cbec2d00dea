//! Texts as token ids, packed by rows.

use std::hash::{Hash, Hasher};

use burn::tensor::Device;
use corpus::Example;
use encoder::{EncoderError, Ids, Tokens, encoder_text};

/// Token ids of texts.
pub(crate) struct Texts {
    ids: Vec<Vec<u32>>,
}

impl Texts {
    pub(crate) fn new<'a>(
        tokens: &Tokens,
        texts: impl IntoIterator<Item = &'a String>,
    ) -> Result<Self, EncoderError> {
        let ids = texts.into_iter().map(|text| tokens.ids(text)).collect::<Result<_, _>>()?;
        Ok(Self { ids })
    }

    /// Tokens of a row.
    pub(crate) fn length(&self, row: usize) -> usize {
        self.ids[row].len()
    }

    /// The ids of rows on a device, padded to the longest.
    pub(crate) fn pack(&self, rows: &[usize], device: &Device) -> Ids {
        let rows: Vec<&[u32]> = rows.iter().map(|r| self.ids[*r].as_slice()).collect();
        Ids::new(&rows, device)
    }

    pub(crate) fn hash(&self, hasher: &mut impl Hasher) {
        self.ids.hash(hasher);
    }
}

/// What the encoder reads of examples.
pub(crate) fn texts_of(examples: &[Example]) -> Vec<String> {
    examples.iter().map(|e| encoder_text(&e.query)).collect()
}

/// The bits of vectors: what an encoder makes of texts says which encoder it is.
pub(crate) fn hash_vectors(vectors: &[Vec<f32>], hasher: &mut impl Hasher) {
    vectors.iter().flatten().for_each(|v| v.to_bits().hash(hasher));
}
