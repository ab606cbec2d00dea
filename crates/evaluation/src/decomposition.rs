//! What a score is made of: how far the forecasts are from what their own ranking could say (miscalibration),
//! how much that ranking tells (discrimination), and how hard the outcomes are (uncertainty).

use crate::EvaluationError;
use crate::{brier, log_loss};

/// `score = miscalibration - discrimination + uncertainty`, each at least 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decomposition {
    /// The score of the forecasts as they are.
    pub score: f64,
    /// What recalibrating them by isotonic regression would save.
    pub miscalibration: f64,
    /// What the recalibrated forecasts save over the base rate.
    pub discrimination: f64,
    /// The score of the base rate.
    pub uncertainty: f64,
}

/// The CORP decomposition of the Brier score (Dimitriadis, Gneiting and Jordan 2021). `recalibrated` is the
/// isotonic regression of the outcomes on the forecasts, on these very rows.
///
/// # Errors
/// Without rows, at different lengths, or with a probability outside [0, 1].
pub fn corp_brier(p: &[f64], recalibrated: &[f64], y: &[bool]) -> Result<Decomposition, EvaluationError> {
    decompose(brier, p, recalibrated, y)
}

/// The CORP decomposition of the log loss; probabilities are cut as in [`log_loss`].
///
/// # Errors
/// As [`corp_brier`].
pub fn corp_log_loss(p: &[f64], recalibrated: &[f64], y: &[bool]) -> Result<Decomposition, EvaluationError> {
    decompose(log_loss, p, recalibrated, y)
}

fn decompose(
    measure: impl Fn(&[f64], &[bool]) -> Result<f64, EvaluationError>,
    p: &[f64],
    recalibrated: &[f64],
    y: &[bool],
) -> Result<Decomposition, EvaluationError> {
    let score = measure(p, y)?;
    let best = measure(recalibrated, y)?;
    let base_rate = y.iter().filter(|y| **y).count() as f64 / y.len() as f64;
    let uncertainty = measure(&vec![base_rate; y.len()], y)?;
    Ok(Decomposition { score, miscalibration: score - best, discrimination: uncertainty - best, uncertainty })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probability::tests::{SCORES_A, assert_close, labels_a};

    /// Isotonic regression of fixture A: six rows at 0 when sorted up to 0.472136 and so on.
    fn recalibrated() -> Vec<f64> {
        // Sorted by score the labels are 0000 0000 0 1 0 0 1 0 1 0 ...: pooled by hand into three blocks.
        let mut order: Vec<usize> = (0..20).collect();
        order.sort_by(|a, b| SCORES_A[*a].total_cmp(&SCORES_A[*b]));
        let y = labels_a();
        let mut blocks: Vec<(f64, Vec<usize>)> = Vec::new();
        for row in order {
            let mut block = (f64::from(u8::from(y[row])), vec![row]);
            while let Some(below) = blocks.pop_if(|below| below.0 >= block.0) {
                let (a, b) = (below.1.len() as f64, block.1.len() as f64);
                block = ((below.0 * a + block.0 * b) / (a + b), [below.1, block.1].concat());
            }
            blocks.push(block);
        }
        let mut values = vec![0.0; 20];
        for (value, rows) in blocks {
            for row in rows {
                values[row] = value;
            }
        }
        values
    }

    #[test]
    fn corp_agrees_with_the_reference() {
        let y = labels_a();
        let found = corp_brier(&SCORES_A, &recalibrated(), &y).unwrap();
        assert_close(found.miscalibration, 0.05822560988600002, 1e-9);
        assert_close(found.discrimination, 0.1525, 1e-9);
        assert_close(found.uncertainty, 0.2275, 1e-9);
        let found = corp_log_loss(&SCORES_A, &recalibrated(), &y).unwrap();
        // The reference does not cut probabilities of 0 and 1; the cut costs about 1e-6 a row.
        assert_close(found.miscalibration, 0.21060839680944532, 1e-5);
        assert_close(found.discrimination, 0.43950248486664883, 1e-5);
        assert_close(found.uncertainty, 0.6474466390346324, 1e-9);
        assert_close(found.score, found.miscalibration - found.discrimination + found.uncertainty, 1e-12);
    }
}
