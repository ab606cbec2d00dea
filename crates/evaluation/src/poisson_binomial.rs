//! The number of wins among rows that win with probabilities of their own, as forecasts say: what would be
//! seen if every forecast were right. For consistency bands and for tests of slices.

use statrs::distribution::{ContinuousCDF, Normal};

use crate::EvaluationError;
use crate::error::check_unit;

/// Up to this many rows the distribution is exact; above, the refined normal approximation (Volkova 1996)
/// with its error of order 1/n takes over.
const EXACT_UP_TO: usize = 2_000;

/// The distribution of the number of wins.
#[derive(Debug, Clone)]
pub(crate) struct PoissonBinomial {
    rows: usize,
    mean: f64,
    sd: f64,
    skewness: f64,
    /// `P(at most k)`, where it is exact.
    cumulative: Vec<f64>,
}

impl PoissonBinomial {
    pub(crate) fn new(p: &[f64]) -> Self {
        let mean: f64 = p.iter().sum();
        let variance: f64 = p.iter().map(|p| p * (1.0 - p)).sum();
        let third: f64 = p.iter().map(|p| p * (1.0 - p) * (1.0 - 2.0 * p)).sum();
        let sd = variance.sqrt();
        let skewness = if sd > 0.0 { third / (sd * sd * sd) } else { 0.0 };
        let cumulative = if p.len() <= EXACT_UP_TO || sd == 0.0 { exact(p) } else { Vec::new() };
        Self { rows: p.len(), mean, sd, skewness, cumulative }
    }

    /// P(at most `k`); below 0 it is 0.
    pub(crate) fn cdf(&self, k: i64) -> f64 {
        let Ok(k) = usize::try_from(k) else { return 0.0 };
        if k >= self.rows {
            return 1.0;
        }
        if let Some(below) = self.cumulative.get(k) {
            return *below;
        }
        let x = (k as f64 + 0.5 - self.mean) / self.sd;
        let normal = Normal::standard();
        let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
        (normal.cdf(x) + self.skewness * (1.0 - x * x) * density / 6.0).clamp(0.0, 1.0)
    }

    /// The least k with `P(at most k) >= q`.
    pub(crate) fn quantile(&self, q: f64) -> usize {
        let (mut low, mut high) = (0, self.rows);
        while low < high {
            let middle = (low + high) / 2;
            if self.cdf(middle as i64) >= q { high = middle } else { low = middle + 1 }
        }
        low
    }
}

/// Adds one row after the other to the distribution.
fn exact(p: &[f64]) -> Vec<f64> {
    let mut mass = vec![0.0; p.len() + 1];
    mass[0] = 1.0;
    for (rows, p) in p.iter().enumerate() {
        for k in (0..=rows).rev() {
            mass[k + 1] += mass[k] * p;
            mass[k] *= 1.0 - p;
        }
    }
    mass.iter()
        .scan(0.0, |below, mass| {
            *below += mass;
            Some(*below)
        })
        .collect()
}

/// Two-sided mid-p value of "these forecasts are right" when `wins` of the rows were won: twice the
/// smaller of the two tails, each with half of the mass at `wins` itself. In [0, 1].
///
/// # Errors
/// Without rows, with more wins than rows, or with a forecast outside [0, 1].
pub fn calibration_mid_p(p: &[f64], wins: usize) -> Result<f64, EvaluationError> {
    if p.is_empty() {
        return Err(EvaluationError::Empty);
    }
    if wins > p.len() {
        return Err(EvaluationError::TooManySuccesses { successes: wins, trials: p.len() });
    }
    check_unit("probability", p)?;
    let distribution = PoissonBinomial::new(p);
    let wins = wins as i64;
    let (below, upto) = (distribution.cdf(wins - 1), distribution.cdf(wins));
    let lower = 0.5 * (below + upto);
    Ok((2.0 * lower.min(1.0 - lower)).clamp(0.0, 1.0))
}

/// Holm's correction (1979): for each p-value the least level of the whole family at which it is rejected.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut largest = 0.0_f64;
    for (rank, row) in order.into_iter().enumerate() {
        largest = largest.max((p_values.len() - rank) as f64 * p_values[row]).min(1.0);
        adjusted[row] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binomial_cdf;
    use crate::probability::tests::assert_close;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn slice_tests_agree_with_the_reference() {
        let phi = (5f64.sqrt() - 1.0) / 2.0;
        let s: Vec<f64> = (1..=30).map(|i| ((f64::from(i) * phi).fract() * 1e6).round() / 1e6).collect();
        let expected = [(5, 0.7894281327087902), (6, 0.3527081454886778), (3, 0.03376576213295497)];
        for (slice, (wins, mid_p)) in expected.into_iter().enumerate() {
            let p: Vec<f64> = (0..30).filter(|i| i % 3 == slice).map(|i| s[i]).collect();
            assert_close(calibration_mid_p(&p, wins).unwrap(), mid_p, 1e-12);
        }
    }

    #[test]
    fn holm_steps_down() {
        let found = holm(&[0.01, 0.04, 0.03, 0.005]);
        let expected = [0.03, 0.06, 0.06, 0.02];
        for (found, expected) in found.into_iter().zip(expected) {
            assert_close(found, expected, 1e-12);
        }
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn the_approximation_meets_the_exact_distribution() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let p: Vec<f64> = (0..EXACT_UP_TO).map(|_| rng.random_range(0.0..0.4)).collect();
        let exact = PoissonBinomial::new(&p);
        let approximate = PoissonBinomial { cumulative: Vec::new(), ..exact.clone() };
        for k in 0..EXACT_UP_TO as i64 {
            assert_close(approximate.cdf(k), exact.cdf(k), 1e-4);
        }
    }

    #[test]
    fn a_right_forecast_is_rejected_as_often_as_it_should() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut rejected = 0;
        for _ in 0..2_000 {
            let p: Vec<f64> = (0..80).map(|_| rng.random()).collect();
            let wins = p.iter().filter(|p| rng.random::<f64>() < **p).count();
            rejected += u32::from(calibration_mid_p(&p, wins).unwrap() < 0.05);
        }
        // Three standard errors of 2,000 draws at 5 % are 0.0146.
        assert!((f64::from(rejected) / 2_000.0 - 0.05).abs() < 0.015, "{rejected}");
    }

    proptest! {
        #[test]
        fn equal_probabilities_are_binomial(n in 1usize..60, p in 0.0..=1.0f64, k in 0usize..60) {
            let k = k.min(n);
            let found = PoissonBinomial::new(&vec![p; n]);
            prop_assert!((found.cdf(k as i64) - binomial_cdf(k, n, p).unwrap()).abs() < 1e-9);
            let q = found.quantile(0.3);
            prop_assert!(found.cdf(q as i64) >= 0.3 && (q == 0 || found.cdf(q as i64 - 1) < 0.3));
        }
    }
}
