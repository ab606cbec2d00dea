//! Everything that decides how a classifier is fitted; saved in the manifest.

use serde::{Deserialize, Serialize};

/// Hyper-parameters of a fit. The defaults were chosen on the in-domain protocol's folds
/// and on the starter corpus; `training cross-validate` prints what they reach.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FitConfig {
    /// Passes over the fitting rows at most.
    pub epochs: usize,
    /// Rows of one step.
    pub batch_rows: usize,
    /// Peak learning rate of the deep part and the biases.
    pub learning_rate: f64,
    /// Peak learning rate of the ability vectors. Low: vectors that grow undo the penalty on the wide table.
    pub ability_learning_rate: f64,
    /// Peak learning rate of the wide table.
    pub wide_learning_rate: f64,
    /// AdamW's epsilon on the wide table.
    pub wide_epsilon: f64,
    /// Decoupled weight decay of AdamW on everything but the wide table.
    pub weight_decay: f64,
    /// L2 penalty on the wide table: `l2_wide / 2 x |W|^2` beside the mean loss of a row.
    pub l2_wide: f64,
    /// L2 penalty on the linear read-out of surface features and the encoder's vector, as for the wide table.
    pub l2_linear: f64,
    /// Penalties of the ridge regression the fit starts at, beside the sum of squares: of n-grams,
    pub ridge_wide: f64,
    /// of surface features,
    pub ridge_surface: f64,
    /// and of the encoder's vector.
    pub ridge_embedded: f64,
    /// What a unit of a general axis learned elsewhere is worth before any label: probability that strong gains,
    /// a tie counted as half.
    pub prior_gain: f64,
    /// Penalty of what the labels say to that.
    pub ridge_prior: f64,
    /// Weight of the success loss beside the win loss.
    pub success_weight: f64,
    /// Share of all steps during which the learning rate rises.
    pub warm_up: f64,
    /// Epochs without a better dev loss before the fit stops.
    pub patience: usize,
    /// N-grams seen in fewer fitting rows are left out of the wide part.
    pub minimum_rows_per_ngram: u32,
    /// The most n-grams of the wide part.
    pub most_ngrams: usize,
    /// What a tie is worth for strong, in [0, 0.5]; 0: a tie means weak suffices.
    pub tie_value: f64,
    /// Seed of initial weights, shuffling and dropout.
    pub seed: u64,
}

impl Default for FitConfig {
    fn default() -> Self {
        Self {
            epochs: 30,
            batch_rows: 256,
            learning_rate: 2e-3,
            ability_learning_rate: 2e-4,
            wide_learning_rate: 0.1,
            wide_epsilon: 1e-2,
            weight_decay: 1e-2,
            l2_wide: 6e-5,
            l2_linear: 1e-3,
            ridge_wide: 20.0,
            ridge_surface: 3e3,
            ridge_embedded: 1e4,
            prior_gain: 0.03,
            ridge_prior: 200.0,
            success_weight: 0.1,
            warm_up: 0.1,
            patience: 5,
            minimum_rows_per_ngram: 2,
            most_ngrams: 1 << 18,
            tie_value: 0.5,
            seed: 7,
        }
    }
}

/// The learning-rate factor over a fit: linear rise, then cosine decay to zero.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    total: usize,
    rise: usize,
}

impl Schedule {
    /// A schedule over `total` steps of which the share `warm_up` rises.
    pub fn new(total: usize, warm_up: f64) -> Self {
        Self { total: total.max(1), rise: ((total as f64) * warm_up).ceil().max(1.0) as usize }
    }

    /// The factor at a 0-based step, in (0, 1].
    pub fn factor(&self, step: usize) -> f64 {
        if step < self.rise {
            return (step + 1) as f64 / self.rise as f64;
        }
        let progress = (step - self.rise) as f64 / (self.total - self.rise).max(1) as f64;
        (0.5 * (1.0 + (std::f64::consts::PI * progress.min(1.0)).cos())).max(1e-3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_then_falls() {
        let schedule = Schedule::new(100, 0.1);
        let factors: Vec<f64> = (0..100).map(|s| schedule.factor(s)).collect();
        assert!(factors[..10].windows(2).all(|w| w[0] < w[1]));
        assert!(factors[10..].windows(2).all(|w| w[0] >= w[1]));
        assert_eq!(factors[9], 1.0);
        assert!(factors.iter().all(|f| *f > 0.0 && *f <= 1.0));
    }
}
