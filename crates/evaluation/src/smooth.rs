//! smECE: calibration error without bins (Błasiok and Nakkiran 2023).

use crate::EvaluationError;
use crate::error::{check_lengths, check_unit};

/// Points of the integral over [0, 1].
const GRID: usize = 1_000;

/// Probabilities are pooled in at most this many cells when there are more distinct ones.
const CELLS: f64 = 512.0;

/// Cells to a bandwidth that are fine enough: the kernel hardly changes within one.
const CELLS_PER_BANDWIDTH: f64 = 16.0;

/// Where the kernel is as good as 0, in bandwidths.
const REACH: f64 = 6.0;

/// Halvings of the bandwidth's bracket.
const HALVINGS: usize = 30;

/// The smooth expected calibration error at bandwidth `h`: the integral over t in [0, 1] of
/// `|mean of K_h(t, p_i) (p_i - y_i)|`, K a Gaussian reflected at 0 and 1. In [0, 1].
///
/// # Errors
/// Without rows, at different lengths, or with a probability outside [0, 1].
pub fn sm_ece_at(p: &[f64], y: &[bool], h: f64) -> Result<f64, EvaluationError> {
    Ok(integral(&residuals(p, y, (CELLS_PER_BANDWIDTH / h).ceil().min(CELLS))?, h))
}

/// The smooth expected calibration error at its own bandwidth: the h at which the error equals h. In [0, 1]. It is
/// therefore its own bandwidth, too, at which resamples are measured by [`sm_ece_at`].
///
/// # Errors
/// As [`sm_ece_at`].
pub fn sm_ece(p: &[f64], y: &[bool]) -> Result<f64, EvaluationError> {
    let residuals = residuals(p, y, CELLS)?;
    // The error falls with the bandwidth, the bandwidth rises with itself: they meet once.
    let (mut low, mut high) = (1e-4, 1.0);
    for _ in 0..HALVINGS {
        let h = 0.5 * (low + high);
        if integral(&residuals, h) > h { low = h } else { high = h }
    }
    Ok(integral(&residuals, 0.5 * (low + high)))
}

/// Probabilities with the mean of `p - y` over all rows that have them.
fn residuals(p: &[f64], y: &[bool], cells: f64) -> Result<Vec<(f64, f64)>, EvaluationError> {
    check_lengths(p.len(), &[("outcomes", y.len())])?;
    check_unit("probability", p)?;
    let rows = p.len() as f64;
    let mut rows_by_p: Vec<(f64, f64)> =
        p.iter().zip(y).map(|(p, y)| (*p, p - f64::from(u8::from(*y)))).collect();
    rows_by_p.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let cell = |p: f64| (p * cells).floor();
    let many = rows_by_p.chunk_by(|a, b| a.0 == b.0).count() as f64 > cells;
    let same = |a: &(f64, f64), b: &(f64, f64)| a.0 == b.0 || many && cell(a.0) == cell(b.0);
    let pool = |pool: &[(f64, f64)]| {
        let at = pool.iter().map(|r| r.0).sum::<f64>() / pool.len() as f64;
        (at, pool.iter().map(|r| r.1).sum::<f64>() / rows)
    };
    Ok(rows_by_p.chunk_by(same).map(pool).collect())
}

fn integral(residuals: &[(f64, f64)], h: f64) -> f64 {
    // The kernel's mirror images `t + sign p + shift` at 0 and 1; those further away matter for wide
    // bandwidths only.
    const NEAR: [(f64, f64); 3] = [(-1.0, 0.0), (1.0, 0.0), (1.0, -2.0)];
    const FAR: [(f64, f64); 7] =
        [NEAR[0], NEAR[1], NEAR[2], (-1.0, 2.0), (-1.0, -2.0), (1.0, 2.0), (1.0, -4.0)];
    let images: &[(f64, f64)] = if h > 0.2 { &FAR } else { &NEAR };
    let gaussian = |d: f64| (-0.5 * (d / h).powi(2)).exp();
    // The image `t + sign p + shift` is near 0 for the p around `-sign (t + shift)`: the rows are in that order.
    let image = |t: f64, (sign, shift): (f64, f64)| {
        let centre = -sign * (t + shift);
        let from = residuals.partition_point(|(p, _)| *p < centre - REACH * h);
        let upto = residuals.partition_point(|(p, _)| *p <= centre + REACH * h);
        residuals[from..upto].iter().map(|(p, r)| r * gaussian(p - centre)).sum::<f64>()
    };
    let at = |i: usize| {
        let t = (i as f64 + 0.5) / GRID as f64;
        images.iter().map(|of| image(t, *of)).sum::<f64>().abs()
    };
    let scale = 1.0 / (h * (2.0 * std::f64::consts::PI).sqrt());
    scale * (0..GRID).map(at).sum::<f64>() / GRID as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ece_equal_mass;
    use crate::probability::tests::{SCORES_A, assert_close, labels_a};
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn agrees_with_exact_quadrature() {
        let y = labels_a();
        for (h, expected) in [(0.05, 0.16958810070357094), (0.1, 0.1554674602593664), (0.3, 0.139357)] {
            assert_close(sm_ece_at(&SCORES_A, &y, h).unwrap(), expected, 2e-5);
        }
        assert_close(sm_ece(&SCORES_A, &y).unwrap(), 0.146684044430277, 2e-5);
    }

    #[test]
    fn pooling_many_probabilities_changes_little_and_right_forecasts_score_low() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let p: Vec<f64> = (0..20_000).map(|_| rng.random()).collect();
        let y: Vec<bool> = p.iter().map(|p| rng.random::<f64>() < *p).collect();
        let off: Vec<bool> = p.iter().map(|p| rng.random::<f64>() < (p - 0.1).max(0.0)).collect();
        assert!(sm_ece(&p, &y).unwrap() < 0.02);
        let (smooth, binned) = (sm_ece(&p, &off).unwrap(), ece_equal_mass(&p, &off, 20).unwrap());
        assert!((smooth - binned).abs() < 0.02, "{smooth} {binned}");
        let few: Vec<f64> = p.iter().map(|p| (p * 1_500.0).round() / 1_500.0).collect();
        assert_close(sm_ece(&few, &off).unwrap(), smooth, 1e-3);
    }

    #[test]
    fn what_is_undefined_is_an_error() {
        assert_eq!(sm_ece(&[], &[]), Err(EvaluationError::Empty));
        assert!(sm_ece(&[1.2], &[true]).is_err());
    }
}
