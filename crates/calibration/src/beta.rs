//! Beta calibration: both tails of the probability scale bend on their own.

use crate::CalibrationError;
use crate::logistic::{LogisticRow, Prior, fit_logistic};
use crate::numeric::{sigmoid, softplus};
use crate::sample::{Row, Sample};

/// The map `sigmoid(a ln s - b ln(1 - s) + c)` with `s = sigmoid(score)` and a, b >= 0
/// (Kull, Silva Filho and Flach 2017): never decreasing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BetaCalibration {
    a: f64,
    b: f64,
    c: f64,
}

impl BetaCalibration {
    /// A map of known parameters.
    ///
    /// # Errors
    /// When one is not finite, or a or b is negative.
    pub fn new(a: f64, b: f64, c: f64) -> Result<Self, CalibrationError> {
        for (parameter, value) in [("a", a), ("b", b), ("c", c)] {
            if !value.is_finite() {
                return Err(CalibrationError::NotFinite { parameter, value });
            }
        }
        for slope in [a, b] {
            if slope < 0.0 {
                return Err(CalibrationError::NegativeSlope(slope));
            }
        }
        Ok(Self { a, b, c })
    }

    /// a, b and c.
    pub fn parameters(&self) -> [f64; 3] {
        [self.a, self.b, self.c]
    }

    pub(crate) fn probability(&self, logit: f64) -> f64 {
        let [low, high] = features(logit);
        sigmoid(self.a * low + self.b * high + self.c)
    }

    /// Maximum likelihood with a, b >= 0 by the active set of the method's authors: a negative one is
    /// put to 0 and the rest fitted again.
    ///
    /// # Errors
    /// When the labels are separable by the score, so that no finite optimum exists.
    pub fn fit(sample: &Sample) -> Result<Self, CalibrationError> {
        let [a, b, c] = maximise_likelihood(sample, [true, true])?;
        let [a, b, c] = match (a < 0.0, b < 0.0) {
            (false, false) => [a, b, c],
            (true, _) => maximise_likelihood(sample, [false, true])?,
            (false, true) => maximise_likelihood(sample, [true, false])?,
        };
        if a >= 0.0 && b >= 0.0 {
            return Self::new(a, b, c);
        }
        let [.., c] = maximise_likelihood(sample, [false, false])?;
        Self::new(0.0, 0.0, c)
    }
}

/// `ln s` and `-ln(1 - s)` of `s = sigmoid(logit)`, never by way of s. Both rise with the logit.
fn features(logit: f64) -> [f64; 2] {
    [-softplus(-logit), softplus(logit)]
}

/// Maximum likelihood of the parameters that are free; the others stay 0.
fn maximise_likelihood(sample: &Sample, free: [bool; 2]) -> Result<[f64; 3], CalibrationError> {
    let row = |row: &Row| {
        let [low, high] = features(row.logit);
        let x = vec![if free[0] { low } else { 0.0 }, if free[1] { high } else { 0.0 }, 1.0];
        LogisticRow { x, offset: 0.0, label: f64::from(u8::from(row.label)), weight: row.weight }
    };
    let rows: Vec<LogisticRow> = sample.rows.iter().map(row).collect();
    let found = fit_logistic(&rows, &[Prior::FREE; 3])?;
    Ok([found[0], found[1], found[2]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::logit;
    use crate::sample::tests::{assert_close, fixture_a, labels, scores};
    use proptest::prelude::*;

    #[test]
    fn agrees_with_the_reference_on_fixture_a() {
        let map = BetaCalibration::fit(&fixture_a()).unwrap();
        let expected = [3.39206666623472, 1.6509270087566947, -0.172381202957127];
        for (found, expected) in map.parameters().into_iter().zip(expected) {
            assert_close(found, expected, 1e-6);
        }
        let expected = [
            (0.05, 3.537664571011994e-05),
            (0.25, 0.012130328282494855),
            (0.5, 0.20112992231043136),
            (0.75, 0.7577627697043094),
            (0.95, 0.990041928287666),
        ];
        for (s, p) in expected {
            assert_close(map.probability(logit(s)), p, 1e-7);
        }
    }

    #[test]
    fn separable_labels_have_no_optimum_and_backward_ones_give_the_base_rate() {
        let z = scores((0..40).map(|i| f64::from(i) - 19.5));
        let y: Vec<bool> = (0..40).map(|i| i >= 20).collect();
        let separable = Sample::new(&z, &y, None).unwrap();
        assert_eq!(BetaCalibration::fit(&separable), Err(CalibrationError::NotConverged));
        let backward: Vec<bool> = (0..40).map(|i| i < 20 && i != 3 || i == 30).collect();
        let map = BetaCalibration::fit(&Sample::new(&z, &backward, None).unwrap()).unwrap();
        assert_eq!(map.parameters()[..2], [0.0, 0.0]);
        assert_close(map.probability(5.0), 0.5, 1e-9);
    }

    #[test]
    fn parameters_are_checked() {
        assert!(BetaCalibration::new(-1e-9, 1.0, 0.0).is_err());
        assert!(BetaCalibration::new(1.0, -1e-9, 0.0).is_err());
        assert!(BetaCalibration::new(1.0, 1.0, f64::NAN).is_err());
        let flat = Sample::at_least(2, &scores([0.0; 4]), &labels(&[1, 0, 0, 0]), None).unwrap();
        assert_close(BetaCalibration::fit(&flat).unwrap().probability(0.0), 0.25, 1e-6);
    }

    proptest! {
        #[test]
        fn the_fit_is_monotone_and_no_worse_than_its_neighbours(
            rows in prop::collection::vec((-4.0..4.0f64, any::<bool>()), 30..60),
        ) {
            let z = scores(rows.iter().map(|r| r.0));
            let y: Vec<bool> = rows.iter().map(|r| r.1).collect();
            let Ok(sample) = Sample::new(&z, &y, None) else { return Ok(()) };
            let Ok(map) = BetaCalibration::fit(&sample) else { return Ok(()) };
            let loss = |map: &BetaCalibration| -> f64 {
                let of = |row: &Row| {
                    let [low, high] = features(row.logit);
                    let z = map.a * low + map.b * high + map.c;
                    softplus(z) - f64::from(u8::from(row.label)) * z
                };
                sample.rows.iter().map(of).sum()
            };
            let best = loss(&map);
            for step in [[1e-2, 0.0, 0.0], [-1e-2, 0.0, 0.0], [0.0, 1e-2, 0.0], [0.0, -1e-2, 0.0], [0.0, 0.0, 1e-2], [0.0, 0.0, -1e-2]] {
                let [a, b, c] = map.parameters();
                if let Ok(next) = BetaCalibration::new(a + step[0], b + step[1], c + step[2]) {
                    prop_assert!(loss(&next) >= best - 1e-9);
                }
            }
            prop_assert!(map.probability(-1.0) <= map.probability(0.5));
        }
    }
}
