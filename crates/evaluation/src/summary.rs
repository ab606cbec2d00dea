//! The usual figures of calibrated probabilities at once, each with its interval.

use crate::bootstrap::{Interval, percentile_intervals};
use crate::error::check_lengths;
use crate::{EvaluationError, auroc, brier, ece_equal_mass, log_loss};
use rand::Rng;

/// A figure with its bootstrap interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The figure on the rows as given.
    pub value: f64,
    /// How it varies over resamples of groups.
    pub interval: Interval,
}

/// How a [`Summary`] is computed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SummaryConfig {
    /// Bins of equal mass for the ECE.
    pub ece_bins: usize,
    /// Bootstrap resamples.
    pub resamples: usize,
    /// Confidence level of the intervals, in (0, 1).
    pub level: f64,
}

impl Default for SummaryConfig {
    /// Ten bins, 1,000 resamples, 95 %.
    fn default() -> Self {
        Self { ece_bins: 10, resamples: 1000, level: 0.95 }
    }
}

/// The figures of one set of probabilities.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Number of rows.
    pub rows: usize,
    /// Rows with a true outcome.
    pub positives: usize,
    /// Mean squared error.
    pub brier: Estimate,
    /// Mean log loss.
    pub log_loss: Estimate,
    /// Expected calibration error over bins of equal mass. Its resamples repeat rows, which adds noise to every
    /// bin: the interval is centred on the figure ([`Interval::centred_on`]) and cut at 0.
    pub ece_equal_mass: Estimate,
    /// Area under the ROC curve.
    pub auroc: Estimate,
}

impl Summary {
    /// Computes every figure and its interval from the same resamples. `groups[row]` names the rows that
    /// belong together (see [`crate::bootstrap`]).
    ///
    /// # Errors
    /// Those of the measures and of the bootstrap; a single outcome class is refused, because the
    /// AUROC is then undefined.
    pub fn compute<G: Ord, R: Rng + ?Sized>(
        p: &[f64],
        y: &[bool],
        groups: &[G],
        config: SummaryConfig,
        rng: &mut R,
    ) -> Result<Self, EvaluationError> {
        check_lengths(p.len(), &[("outcomes", y.len()), ("groups", groups.len())])?;
        let values = [brier(p, y)?, log_loss(p, y)?, ece_equal_mass(p, y, config.ece_bins)?, auroc(p, y)?];
        let figures = |rows: &[usize]| {
            let p: Vec<f64> = rows.iter().map(|row| p[*row]).collect();
            let y: Vec<bool> = rows.iter().map(|row| y[*row]).collect();
            [
                brier(&p, &y).ok(),
                log_loss(&p, &y).ok(),
                ece_equal_mass(&p, &y, config.ece_bins).ok(),
                auroc(&p, &y).ok(),
            ]
        };
        let intervals = percentile_intervals(groups, figures, config.resamples, config.level, rng)?;
        let estimate = |i: usize| Estimate { value: values[i], interval: intervals[i] };
        let mut ece_equal_mass = estimate(2);
        ece_equal_mass.interval = ece_equal_mass.interval.centred_on(ece_equal_mass.value);
        ece_equal_mass.interval.lower = ece_equal_mass.interval.lower.max(0.0);
        Ok(Self {
            rows: p.len(),
            positives: y.iter().filter(|y| **y).count(),
            brier: estimate(0),
            log_loss: estimate(1),
            ece_equal_mass,
            auroc: estimate(3),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probability::tests::{SCORES_A, assert_close, labels_a};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn every_figure_is_there_with_an_interval_around_it() {
        let groups: Vec<usize> = (0..20).collect();
        let config = SummaryConfig { ece_bins: 5, resamples: 300, level: 0.95 };
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let summary = Summary::compute(&SCORES_A, &labels_a(), &groups, config, &mut rng).unwrap();
        assert_eq!((summary.rows, summary.positives), (20, 7));
        let expected = [
            (summary.brier, 0.13322560988600002),
            (summary.log_loss, 0.4185525509774289),
            (summary.ece_equal_mass, 0.1908278),
            (summary.auroc, 0.9340659340659341),
        ];
        for (estimate, value) in expected {
            assert_close(estimate.value, value, 1e-12);
            let Interval { lower, upper, .. } = estimate.interval;
            assert!(lower < value && value < upper, "{value} in [{lower}, {upper}]");
        }
    }

    #[test]
    fn one_class_and_stray_groups_are_refused() {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let mut run = |y: &[bool], groups: &[u8]| {
            Summary::compute(&[0.2, 0.4], y, groups, SummaryConfig::default(), &mut rng).unwrap_err()
        };
        assert_eq!(run(&[true, true], &[0, 1]), EvaluationError::SingleClass(true));
        let stray = EvaluationError::LengthMismatch { what: "groups", expected: 2, found: 1 };
        assert_eq!(run(&[true, false], &[0]), stray);
    }
}
