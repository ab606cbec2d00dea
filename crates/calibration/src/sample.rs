//! The rows a map is fitted to: scores, whether strong was strictly better, weights. Checked once,
//! here, for every map.

use crate::CalibrationError;
use types::Score;

/// The least number of rows (with a positive weight) that a map may be fitted to: below it the prior
/// is the better guess (methods section 2.2).
pub const MIN_ROWS: usize = 30;

/// One row of positive weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Row {
    pub(crate) logit: f64,
    pub(crate) label: bool,
    pub(crate) weight: f64,
}

/// Rows with both labels among them, enough to fit a map to.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub(crate) rows: Vec<Row>,
}

impl Sample {
    /// Takes the rows of positive weight. `labels[i]` says whether strong's answer was strictly
    /// better in row `i`; a weight counts a row that many times, rows of weight 0 count for nothing.
    ///
    /// # Errors
    /// When lengths differ, a weight is negative or not finite, fewer than [`MIN_ROWS`] rows have a
    /// positive weight, or they all have one label.
    pub fn new(scores: &[Score], labels: &[bool], weights: Option<&[f64]>) -> Result<Self, CalibrationError> {
        Self::at_least(MIN_ROWS, scores, labels, weights)
    }

    /// [`Self::new`] with the number of rows it insists on as an argument.
    pub(crate) fn at_least(
        needed: usize,
        scores: &[Score],
        labels: &[bool],
        weights: Option<&[f64]>,
    ) -> Result<Self, CalibrationError> {
        let expected = scores.len();
        let columns = [("labels", labels.len()), ("weights", weights.map_or(expected, <[f64]>::len))];
        for (what, found) in columns {
            if found != expected {
                return Err(CalibrationError::LengthMismatch { what, expected, found });
            }
        }
        let mut rows = Vec::with_capacity(expected);
        for (row, (score, label)) in scores.iter().zip(labels).enumerate() {
            let weight = weights.map_or(1.0, |w| w[row]);
            if !(weight.is_finite() && weight >= 0.0) {
                return Err(CalibrationError::BadWeight { row, weight });
            }
            if weight > 0.0 {
                rows.push(Row { logit: score.logit(), label: *label, weight });
            }
        }
        let sample = Self { rows };
        let (rows, positives) = (sample.len(), sample.positives());
        if rows < needed {
            return Err(CalibrationError::TooFewRows { rows, needed });
        }
        if positives == 0 || positives == rows {
            return Err(CalibrationError::SingleClass { rows, label: positives > 0 });
        }
        Ok(sample)
    }

    /// Number of rows.
    #[expect(clippy::len_without_is_empty, reason = "a sample is never empty")]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Rows with a true label.
    pub fn positives(&self) -> usize {
        self.rows.iter().filter(|row| row.label).count()
    }

    /// Weight of the rows with a true and with a false label.
    pub(crate) fn class_weights(&self) -> (f64, f64) {
        let of = |label| self.rows.iter().filter(|row| row.label == label).map(|row| row.weight).sum();
        (of(true), of(false))
    }

    /// Runs of equal scores, lowest first.
    pub(crate) fn pools(&self) -> Vec<Pool> {
        let mut rows = self.rows.clone();
        rows.sort_by(|a, b| a.logit.total_cmp(&b.logit));
        let pool = |run: &[Row]| Pool {
            logit: run[0].logit,
            weight: run.iter().map(|row| row.weight).sum(),
            positive: run.iter().filter(|row| row.label).map(|row| row.weight).sum(),
        };
        rows.chunk_by(|a, b| a.logit == b.logit).map(pool).collect()
    }
}

/// Rows of one score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pool {
    pub(crate) logit: f64,
    pub(crate) weight: f64,
    /// Weight of the rows with a true label.
    pub(crate) positive: f64,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::numeric::logit;

    /// Fixture A: golden-ratio scores in (0, 1) and deterministic labels.
    pub(crate) const SCORES_A: [f64; 20] = [
        0.618034, 0.236068, 0.854102, 0.472136, 0.09017, 0.708204, 0.326238, 0.944272, 0.562306, 0.18034,
        0.798374, 0.416408, 0.034442, 0.652476, 0.27051, 0.888544, 0.506578, 0.124612, 0.742646, 0.36068,
    ];
    pub(crate) const LABELS_A: [u8; 20] = [1, 0, 1, 0, 0, 1, 0, 1, 0, 0, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0];
    /// Fixture T: tied scores.
    const SCORES_T: [f64; 12] = [0.1, 0.2, 0.2, 0.3, 0.4, 0.4, 0.4, 0.6, 0.7, 0.7, 0.9, 0.95];
    const LABELS_T: [u8; 12] = [0, 0, 1, 0, 1, 0, 0, 1, 0, 1, 1, 1];

    pub(crate) fn scores(logits: impl IntoIterator<Item = f64>) -> Vec<Score> {
        logits.into_iter().map(|z| Score::new(z).unwrap()).collect()
    }

    pub(crate) fn labels(labels: &[u8]) -> Vec<bool> {
        labels.iter().map(|y| *y == 1).collect()
    }

    /// Fixture A on the logit scale.
    pub(crate) fn fixture_a() -> Sample {
        Sample::at_least(2, &scores(SCORES_A.map(logit)), &labels(&LABELS_A), None).unwrap()
    }

    /// Fixture T as it stands: monotone maps do not care for the scale, interpolation does.
    pub(crate) fn fixture_t() -> Sample {
        Sample::at_least(2, &scores(SCORES_T), &labels(&LABELS_T), None).unwrap()
    }

    pub(crate) fn assert_close(found: f64, expected: f64, tolerance: f64) {
        assert!((found - expected).abs() <= tolerance, "{found} is not {expected} within {tolerance}");
    }

    #[test]
    fn what_cannot_be_fitted_is_refused_with_the_reason() {
        let few = Sample::new(&scores(SCORES_A), &labels(&LABELS_A), None).unwrap_err();
        assert_eq!(few, CalibrationError::TooFewRows { rows: 20, needed: 30 });
        assert!(few.to_string().contains("at least 30"));

        let z = scores((0..40).map(f64::from));
        let one = Sample::new(&z, &[true; 40], None).unwrap_err();
        assert_eq!(one, CalibrationError::SingleClass { rows: 40, label: true });

        let mut y = vec![false; 40];
        y[..20].fill(true);
        let short = CalibrationError::LengthMismatch { what: "labels", expected: 40, found: 39 };
        assert_eq!(Sample::new(&z, &y[..39], None), Err(short));
        let short = CalibrationError::LengthMismatch { what: "weights", expected: 40, found: 1 };
        assert_eq!(Sample::new(&z, &y, Some(&[1.0])), Err(short));
        let mut weights = vec![1.0; 40];
        weights[3] = -1.0;
        let bad = CalibrationError::BadWeight { row: 3, weight: -1.0 };
        assert_eq!(Sample::new(&z, &y, Some(&weights)), Err(bad));

        // Rows of weight 0 are no evidence: here they hide that only one class is left.
        let weights: Vec<f64> = y.iter().map(|y| f64::from(u8::from(*y))).collect();
        let hidden = Sample::new(&z, &y, Some(&weights)).unwrap_err();
        assert_eq!(hidden, CalibrationError::TooFewRows { rows: 20, needed: 30 });
    }

    #[test]
    fn equal_scores_are_pooled() {
        let pools = fixture_t().pools();
        let found: Vec<_> = pools.iter().map(|p| (p.logit, p.weight, p.positive)).collect();
        let expected = [
            (0.1, 1.0, 0.0),
            (0.2, 2.0, 1.0),
            (0.3, 1.0, 0.0),
            (0.4, 3.0, 1.0),
            (0.6, 1.0, 1.0),
            (0.7, 2.0, 1.0),
            (0.9, 1.0, 1.0),
            (0.95, 1.0, 1.0),
        ];
        assert_eq!(found, expected);
    }
}
