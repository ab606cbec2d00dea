//! Features as rectangular arrays: what the network eats. Padding carries weight zero.

use burn::tensor::{Device, Int, Tensor, TensorData};
use features::{Features, SURFACE_LEN};

/// Inverse document frequency of each n-gram bucket, `ln((1 + n) / (1 + df)) + 1`
/// (the smoothed form of Salton's idf). Zero marks a bucket never seen while fitting: it is left out.
#[derive(Debug, Clone, PartialEq)]
pub struct IdfTable(Vec<f32>);

impl IdfTable {
    /// A table read from weights: one finite, non-negative value per bucket.
    pub fn new(values: Vec<f32>) -> Self {
        Self(values)
    }

    /// Counts document frequencies over the n-grams of the fitting rows. Buckets seen in fewer
    /// than `minimum_rows` rows get zero.
    pub fn fit<'a>(rows: impl Iterator<Item = &'a [u32]>, buckets: usize, minimum_rows: u32) -> Self {
        let mut frequency = vec![0u32; buckets];
        let mut count = 0u32;
        for ngrams in rows {
            count += 1;
            for ngram in ngrams {
                frequency[*ngram as usize] += 1;
            }
        }
        let idf = |df: u32| ((1.0 + f64::from(count)) / (1.0 + f64::from(df))).ln() + 1.0;
        Self(frequency.into_iter().map(|df| if df < minimum_rows { 0.0 } else { idf(df) as f32 }).collect())
    }

    /// One value per bucket.
    pub fn values(&self) -> &[f32] {
        &self.0
    }

    /// Appends the known n-grams of one row and their weights `count x idf`, scaled to unit length.
    fn weigh(&self, features: &Features, ids: &mut Vec<i32>, weights: &mut Vec<f32>) {
        let first = weights.len();
        let mut squares = 0.0f32;
        for (ngram, count) in features.ngrams.iter().zip(&features.ngram_counts) {
            let weight = count * self.0[*ngram as usize];
            if weight > 0.0 {
                ids.push(*ngram as i32);
                weights.push(weight);
                squares += weight * weight;
            }
        }
        let scale = squares.sqrt().recip();
        for weight in &mut weights[first..] {
            *weight *= scale;
        }
    }
}

/// Rows of features on a device. `n` rows, padded to the longest.
#[derive(Debug, Clone)]
pub struct Batch {
    /// N-gram buckets, `[n, g]`.
    pub(crate) ngrams: Tensor<2, Int>,
    /// Unit-length tf-idf weights, `[n, g]`, zero on padding.
    pub(crate) ngram_weights: Tensor<2>,
    /// Token buckets, `[n, t]`.
    pub(crate) tokens: Tensor<2, Int>,
    /// One on tokens, zero on padding, `[n, t]`; `None` when no row is padded.
    pub(crate) token_mask: Option<Tensor<2>>,
    /// Raw surface rows, `[n, SURFACE_LEN]`.
    pub(crate) surface: Tensor<2>,
}

/// Host-side buffers of a batch, used again from call to call.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    ids: Vec<i32>,
    weights: Vec<f32>,
}

impl Batch {
    /// Packs rows of features; `rows` must not be empty.
    pub fn new(rows: &[&Features], idf: &IdfTable, device: &Device) -> Self {
        let n = rows.len();
        let mut known: Vec<(Vec<i32>, Vec<f32>)> = Vec::with_capacity(n);
        for row in rows {
            let (mut ids, mut weights) = (Vec::new(), Vec::new());
            idf.weigh(row, &mut ids, &mut weights);
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
        }
    }

    /// Packs a single row without padding: the shape every served decision has.
    pub(crate) fn single(row: &Features, idf: &IdfTable, buffers: &mut Buffers, device: &Device) -> Self {
        buffers.ids.clear();
        buffers.weights.clear();
        idf.weigh(row, &mut buffers.ids, &mut buffers.weights);
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
        }
    }
}
