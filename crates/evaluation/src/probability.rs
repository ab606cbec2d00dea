//! Measures of single probabilities against what happened: Brier, log loss, AUROC.
//! Measures of groups of them are in `reliability`.

use crate::EvaluationError;
use crate::error::{check_lengths, check_scores, check_unit};

/// Probabilities are cut to `[LOG_LOSS_CLAMP, 1 - LOG_LOSS_CLAMP]` before the log, so one certain
/// and wrong forecast costs 13.8 instead of everything.
pub const LOG_LOSS_CLAMP: f64 = 1e-6;

/// Mean squared distance of probabilities from outcomes, in [0, 1]; lower is better.
///
/// # Errors
/// Without rows, at different lengths, or with a probability outside [0, 1].
pub fn brier(p: &[f64], y: &[bool]) -> Result<f64, EvaluationError> {
    check_lengths(p.len(), &[("outcomes", y.len())])?;
    check_unit("probability", p)?;
    let total: f64 = p.iter().zip(y).map(|(p, y)| (p - f64::from(u8::from(*y))).powi(2)).sum();
    Ok(total / p.len() as f64)
}

/// Mean of minus the natural log of the probability given to what happened, at least 0; lower is
/// better. Computed from the probabilities because they are what is served; see [`LOG_LOSS_CLAMP`].
///
/// # Errors
/// Without rows, at different lengths, or with a probability outside [0, 1].
pub fn log_loss(p: &[f64], y: &[bool]) -> Result<f64, EvaluationError> {
    check_lengths(p.len(), &[("outcomes", y.len())])?;
    check_unit("probability", p)?;
    let loss = |(p, y): (&f64, &bool)| {
        let p = p.clamp(LOG_LOSS_CLAMP, 1.0 - LOG_LOSS_CLAMP);
        if *y { -p.ln() } else { -(-p).ln_1p() }
    };
    Ok(p.iter().zip(y).map(loss).sum::<f64>() / p.len() as f64)
}

/// Mean distance of probabilities from the true ones, in [0, 1]: for simulated data only, where the
/// truth is known.
///
/// # Errors
/// Without rows, at different lengths, or with a number outside [0, 1].
pub fn mean_absolute_error(p: &[f64], truth: &[f64]) -> Result<f64, EvaluationError> {
    check_lengths(p.len(), &[("true probabilities", truth.len())])?;
    check_unit("probability", p)?;
    check_unit("true probability", truth)?;
    Ok(p.iter().zip(truth).map(|(p, t)| (p - t).abs()).sum::<f64>() / p.len() as f64)
}

/// The chance that a random row with a true outcome is scored above a random row with a false one,
/// ties counting half (average ranks); 0.5 is no order at all. Scores may be on any scale.
///
/// # Errors
/// Without rows, at different lengths, with a NaN, or when all outcomes are equal.
pub fn auroc(score: &[f64], y: &[bool]) -> Result<f64, EvaluationError> {
    check_lengths(score.len(), &[("outcomes", y.len())])?;
    check_scores(score)?;
    let mut order: Vec<usize> = (0..score.len()).collect();
    order.sort_unstable_by(|a, b| score[*a].total_cmp(&score[*b]));
    // Twice the wins of true over false rows, in whole numbers: exact and blind to the order of rows.
    let (mut wins_doubled, mut below_false, mut all_true) = (0u128, 0u128, 0u128);
    for block in order.chunk_by(|a, b| score[*a] == score[*b]) {
        let here_true = block.iter().filter(|row| y[**row]).count() as u128;
        let here_false = block.len() as u128 - here_true;
        wins_doubled += here_true * (2 * below_false + here_false);
        below_false += here_false;
        all_true += here_true;
    }
    if all_true == 0 || below_false == 0 {
        return Err(EvaluationError::SingleClass(all_true > 0));
    }
    Ok(wins_doubled as f64 / (2 * all_true * below_false) as f64)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Fixture A: golden-ratio scores in (0, 1) and deterministic labels.
    pub(crate) const SCORES_A: [f64; 20] = [
        0.618034, 0.236068, 0.854102, 0.472136, 0.09017, 0.708204, 0.326238, 0.944272, 0.562306, 0.18034,
        0.798374, 0.416408, 0.034442, 0.652476, 0.27051, 0.888544, 0.506578, 0.124612, 0.742646, 0.36068,
    ];

    pub(crate) fn labels_a() -> Vec<bool> {
        [1, 0, 1, 0, 0, 1, 0, 1, 0, 0, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0].iter().map(|y| *y == 1).collect()
    }

    pub(crate) fn assert_close(found: f64, expected: f64, tolerance: f64) {
        assert!((found - expected).abs() <= tolerance, "{found} is not {expected} within {tolerance}");
    }

    #[test]
    fn agrees_with_the_references() {
        let y = labels_a();
        assert_close(brier(&SCORES_A, &y).unwrap(), 0.13322560988600002, 1e-12);
        assert_close(log_loss(&SCORES_A, &y).unwrap(), 0.4185525509774289, 1e-12);
        assert_close(auroc(&SCORES_A, &y).unwrap(), 0.9340659340659341, 1e-12);
        let x = [0.1, 0.2, 0.2, 0.3, 0.4, 0.4, 0.4, 0.6, 0.7, 0.7, 0.9, 0.95];
        let y = [0, 0, 1, 0, 1, 0, 0, 1, 0, 1, 1, 1].map(|y| y == 1);
        assert_close(auroc(&x, &y).unwrap(), 0.7777777777777777, 1e-12);
    }

    #[test]
    fn the_mean_absolute_error_ignores_signs() {
        assert_close(mean_absolute_error(&[0.1, 0.5, 1.0], &[0.4, 0.3, 1.0]).unwrap(), 0.5 / 3.0, 1e-15);
        assert!(mean_absolute_error(&[0.1], &[1.1]).is_err());
        assert_eq!(mean_absolute_error(&[], &[]), Err(EvaluationError::Empty));
    }

    #[test]
    fn the_log_is_clamped() {
        assert_close(log_loss(&[0.0], &[true]).unwrap(), 13.815510557964274, 1e-12);
        assert_close(log_loss(&[1.0], &[false]).unwrap(), 13.815510557964274, 1e-9);
        assert!(log_loss(&[1.0], &[true]).unwrap() < 1.1e-6);
    }

    #[test]
    fn what_is_undefined_is_an_error() {
        assert_eq!(brier(&[], &[]), Err(EvaluationError::Empty));
        let short = EvaluationError::LengthMismatch { what: "outcomes", expected: 1, found: 0 };
        assert_eq!(log_loss(&[0.5], &[]), Err(short));
        assert!(matches!(
            brier(&[0.1, f64::NAN], &[true; 2]),
            Err(EvaluationError::OutOfRange { row: 1, .. })
        ));
        assert!(matches!(log_loss(&[1.5], &[true]), Err(EvaluationError::OutOfRange { row: 0, .. })));
        assert_eq!(auroc(&[0.1, 0.2], &[true, true]), Err(EvaluationError::SingleClass(true)));
        assert_eq!(auroc(&[0.1, f64::NAN], &[true, false]), Err(EvaluationError::ScoreIsNan(1)));
        assert_eq!(auroc(&[f64::NEG_INFINITY, f64::INFINITY], &[false, true]), Ok(1.0));
        assert_eq!(auroc(&[0.0, -0.0], &[false, true]), Ok(0.5));
    }

    proptest! {
        #[test]
        fn auroc_counts_pairs(rows in prop::collection::vec((0u8..6, any::<bool>()), 2..40)) {
            let score: Vec<f64> = rows.iter().map(|r| f64::from(r.0)).collect();
            let y: Vec<bool> = rows.iter().map(|r| r.1).collect();
            let (mut wins, mut pairs) = (0.0, 0.0);
            for a in rows.iter().filter(|r| r.1) {
                for b in rows.iter().filter(|r| !r.1) {
                    pairs += 1.0;
                    wins += if a.0 > b.0 { 1.0 } else if a.0 == b.0 { 0.5 } else { 0.0 };
                }
            }
            match auroc(&score, &y) {
                Ok(found) => prop_assert!((found - wins / pairs).abs() < 1e-12),
                Err(_) => prop_assert!(pairs == 0.0),
            }
        }

        #[test]
        fn the_true_rate_has_the_least_brier_and_log_loss_of_all_constants(
            y in prop::collection::vec(any::<bool>(), 1..50), other in 0.0..=1.0f64,
        ) {
            let rate = y.iter().filter(|y| **y).count() as f64 / y.len() as f64;
            let (best, worse) = (vec![rate; y.len()], vec![other; y.len()]);
            prop_assert!(brier(&best, &y).unwrap() <= brier(&worse, &y).unwrap() + 1e-12);
            // The clamp makes a constant 0 cost 1e-6.
            prop_assert!(log_loss(&best, &y).unwrap() <= log_loss(&worse, &y).unwrap() + 2e-6);
        }
    }
}
