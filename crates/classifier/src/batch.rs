//! Features as rectangular arrays: what the network eats. Padding carries weight zero.

use burn::tensor::{Device, Int, Tensor, TensorData};
use features::{Features, SURFACE_LEN};

use crate::NgramTable;

/// Rows of features on a device. `n` rows, padded to the longest.
#[derive(Debug, Clone)]
pub struct Batch {
    /// N-gram rows, `[n, g]`.
    pub(crate) ngrams: Tensor<2, Int>,
    /// Unit-length tf-idf weights, `[n, g]`, zero on padding.
    pub(crate) ngram_weights: Tensor<2>,
    /// Token buckets, `[n, t]`.
    pub(crate) tokens: Tensor<2, Int>,
    /// One on tokens, zero on padding, `[n, t]`; `None` when no row is padded.
    pub(crate) token_mask: Option<Tensor<2>>,
    /// Raw surface rows, `[n, SURFACE_LEN]`.
    pub(crate) surface: Tensor<2>,
    /// The encoder's vectors, `[n, embedding]`; in the deep tier only.
    pub(crate) embedding: Option<Tensor<2>>,
}

/// Host-side buffers of a batch, used again from call to call.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    ids: Vec<i32>,
    weights: Vec<f32>,
}

impl Batch {
    /// Packs rows of features; `rows` must not be empty.
    pub fn new(rows: &[&Features], ngrams: &NgramTable, device: &Device) -> Self {
        let n = rows.len();
        let mut known: Vec<(Vec<i32>, Vec<f32>)> = Vec::with_capacity(n);
        for row in rows {
            let (mut ids, mut weights) = (Vec::new(), Vec::new());
            ngrams.weigh(row, &mut ids, &mut weights);
            known.push((ids, weights));
        }
        let g = known.iter().map(|k| k.0.len()).max().unwrap_or(0).max(1);
        let t = rows.iter().map(|r| r.tokens.len()).max().unwrap_or(0).max(1);
        let mut ids = vec![0i32; n * g];
        let mut weights = vec![0f32; n * g];
        let mut tokens = vec![0i32; n * t];
        let mut mask = vec![0f32; n * t];
        let mut surface = Vec::with_capacity(n * SURFACE_LEN);
        for (i, (row, (row_ids, row_weights))) in rows.iter().zip(&known).enumerate() {
            ids[i * g..][..row_ids.len()].copy_from_slice(row_ids);
            weights[i * g..][..row_ids.len()].copy_from_slice(row_weights);
            for (j, token) in row.tokens.iter().enumerate() {
                tokens[i * t + j] = *token as i32;
                mask[i * t + j] = 1.0;
            }
            surface.extend_from_slice(&row.surface);
        }
        Self {
            ngrams: Tensor::from_data(TensorData::new(ids, [n, g]), device),
            ngram_weights: Tensor::from_data(TensorData::new(weights, [n, g]), device),
            tokens: Tensor::from_data(TensorData::new(tokens, [n, t]), device),
            token_mask: Some(Tensor::from_data(TensorData::new(mask, [n, t]), device)),
            surface: Tensor::from_data(TensorData::new(surface, [n, SURFACE_LEN]), device),
            embedding: None,
        }
    }

    /// This batch with the encoder's vectors of its rows, all of one length.
    #[must_use]
    pub fn with_embeddings(self, rows: &[&[f32]], device: &Device) -> Self {
        let width = rows.first().map_or(0, |row| row.len());
        let flat: Vec<f32> = rows.iter().flat_map(|row| row.iter().copied()).collect();
        self.with_vectors(Tensor::from_data(TensorData::new(flat, [rows.len(), width]), device))
    }

    /// This batch with the encoder's vectors of its rows, `[n, embedding]`; gradients flow back through them.
    #[must_use]
    pub fn with_vectors(mut self, vectors: Tensor<2>) -> Self {
        self.embedding = Some(vectors);
        self
    }

    /// Packs a single row without padding: the shape every served decision has.
    pub(crate) fn single(
        row: &Features,
        ngrams: &NgramTable,
        buffers: &mut Buffers,
        device: &Device,
    ) -> Self {
        buffers.ids.clear();
        buffers.weights.clear();
        ngrams.weigh(row, &mut buffers.ids, &mut buffers.weights);
        if buffers.ids.is_empty() {
            buffers.ids.push(0);
            buffers.weights.push(0.0);
        }
        let g = buffers.ids.len();
        let mask = row.tokens.is_empty().then(|| Tensor::zeros([1, 1], device));
        let tokens: Vec<i32> = match mask {
            Some(_) => vec![0],
            None => row.tokens.iter().map(|t| *t as i32).collect(),
        };
        let t = tokens.len();
        Self {
            ngrams: Tensor::from_data(TensorData::new(buffers.ids.clone(), [1, g]), device),
            ngram_weights: Tensor::from_data(TensorData::new(buffers.weights.clone(), [1, g]), device),
            tokens: Tensor::from_data(TensorData::new(tokens, [1, t]), device),
            token_mask: mask,
            surface: Tensor::from_data(TensorData::new(row.surface.to_vec(), [1, SURFACE_LEN]), device),
            embedding: None,
        }
    }
}
