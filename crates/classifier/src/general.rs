//! The general axis: how much a query separates stronger from weaker models, whichever they are. Learned from every
//! model of the training data at once; what a pair that no classifier has met is ranked by, and what a fit on few
//! labels starts at. No probability: that takes outcomes of the pair itself.

use features::{Features, SURFACE_LEN};

use crate::weights;
use crate::{NgramTable, WeightsError};

/// A linear function of a query's features, in standard deviations within a category of the data it was learned from.
#[derive(Debug, Clone)]
pub struct GeneralAxis {
    /// The n-grams it knows.
    pub ngrams: NgramTable,
    /// A weight for each of them, on `count x idf` scaled to unit length.
    pub wide: Vec<f32>,
    /// Mean of each surface feature over the fitting rows, of length [`SURFACE_LEN`].
    pub surface_mean: Vec<f32>,
    /// Inverse standard deviation of each; 0 for one that never varied.
    pub surface_scale: Vec<f32>,
    /// A weight for each, standardised and held within five deviations.
    pub surface: Vec<f32>,
}

impl GeneralAxis {
    /// Where a query lies on the axis.
    pub fn read(&self, features: &Features) -> f32 {
        let (mut ids, mut weights) = (Vec::new(), Vec::new());
        self.ngrams.weigh(features, &mut ids, &mut weights);
        let wide: f32 = ids.iter().zip(&weights).map(|(id, w)| w * self.wide[*id as usize]).sum();
        let standard = |j: usize| (features.surface[j] - self.surface_mean[j]) * self.surface_scale[j];
        wide + (0..SURFACE_LEN).map(|j| standard(j).clamp(-5.0, 5.0) * self.surface[j]).sum::<f32>()
    }

    /// The weights of the n-grams of another table, in its order; zero where the axis does not know one.
    pub fn wide_on(&self, table: &NgramTable) -> Vec<f32> {
        let weight = |hash: &u64| self.ngrams.row(*hash).map_or(0.0, |row| self.wide[row]);
        table.hashes().iter().map(weight).collect()
    }

    /// The weights of surface features standardised by other inverse deviations; zero where a feature never varied,
    /// since it is read as zero then.
    pub fn surface_on(&self, scale: &[f32]) -> Vec<f32> {
        let raw = self.surface.iter().zip(&self.surface_scale).map(|(weight, scale)| weight * scale);
        raw.zip(scale).map(|(weight, scale)| if *scale > 0.0 { weight / scale } else { 0.0 }).collect()
    }

    /// The axis as safetensors bytes; equal axes give equal bytes.
    ///
    /// # Errors
    /// When its columns are not of one length.
    pub fn to_bytes(&self) -> Result<Vec<u8>, WeightsError> {
        weights::axis_to_bytes(self)
    }

    /// Restores an axis from [`GeneralAxis::to_bytes`].
    ///
    /// # Errors
    /// When the bytes are no safetensors file or hold other tensors; the tensor is named.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WeightsError> {
        weights::axis_from_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis() -> GeneralAxis {
        let mut surface = vec![0.0; SURFACE_LEN];
        surface[0] = 0.5;
        GeneralAxis {
            ngrams: NgramTable::new(vec![3, 8], vec![1.0, 2.0]).unwrap(),
            wide: vec![1.0, -1.0],
            surface_mean: vec![1.0; SURFACE_LEN],
            surface_scale: vec![2.0; SURFACE_LEN],
            surface,
        }
    }

    #[test]
    fn reads_ngrams_of_unit_length_and_clamped_surface_features() {
        let mut query = Features { ngrams: vec![3, 4], ngram_counts: vec![2.0, 1.0], ..Features::default() };
        query.surface[0] = 2.0;
        // The one known n-gram weighs 1, the feature lies two deviations above its mean.
        assert_eq!(axis().read(&query), 1.0 + 0.5 * 2.0);
        query.surface[0] = 100.0;
        assert_eq!(axis().read(&query), 1.0 + 0.5 * 5.0);
        assert!(axis().read(&Features::default()).is_finite());
    }

    #[test]
    fn reads_the_same_on_another_table() {
        let table = NgramTable::new(vec![1, 8], vec![1.0, 1.0]).unwrap();
        assert_eq!(axis().wide_on(&table), [0.0, -1.0]);
        let on = axis().surface_on(&[4.0, 0.0]);
        assert_eq!(on, [0.25, 0.0], "half the deviation, half the weight; a constant feature has none");
    }

    #[test]
    fn bytes_give_it_back_and_strangers_are_refused() {
        let bytes = axis().to_bytes().unwrap();
        let read = GeneralAxis::from_bytes(&bytes).unwrap();
        assert_eq!((&read.wide, &read.surface), (&axis().wide, &axis().surface));
        assert_eq!(read.to_bytes().unwrap(), bytes);
        assert!(GeneralAxis::from_bytes(&bytes[..bytes.len() - 4]).is_err());
        let short = GeneralAxis { wide: vec![1.0], ..axis() };
        let refused = short.to_bytes().and_then(|bytes| GeneralAxis::from_bytes(&bytes).map(|_| ()));
        assert!(refused.unwrap_err().to_string().contains("wide"), "a weight is missing");
    }
}
