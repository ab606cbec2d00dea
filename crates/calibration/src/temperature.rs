//! Temperature scaling: one factor on the logit. It cannot mend a wrong base rate, which is what
//! routers get wrong most: here for comparison, never chosen by default.

use crate::CalibrationError;
use crate::numeric::sigmoid;
use crate::sample::Sample;

/// `ln beta` is searched in `[-LOG_RANGE, LOG_RANGE]`.
const LOG_RANGE: f64 = 10.0;

/// The map `score -> sigmoid(beta * score)`; the temperature is `1 / beta`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TemperatureScaling {
    beta: f64,
}

impl TemperatureScaling {
    /// A map of known inverse temperature.
    ///
    /// # Errors
    /// When it is negative or not finite.
    pub fn new(beta: f64) -> Result<Self, CalibrationError> {
        if !beta.is_finite() {
            return Err(CalibrationError::NotFinite { parameter: "beta", value: beta });
        }
        if beta < 0.0 { Err(CalibrationError::NegativeSlope(beta)) } else { Ok(Self { beta }) }
    }

    /// The inverse temperature.
    pub fn beta(&self) -> f64 {
        self.beta
    }

    pub(crate) fn probability(&self, logit: f64) -> f64 {
        sigmoid(self.beta * logit)
    }

    /// Maximum likelihood: the loss is convex in beta, so its derivative is bisected over `ln beta` in
    /// [-10, 10] (Guo et al. 2017; methods section 2.1). At an end of that range the end is taken.
    pub fn fit(sample: &Sample) -> Self {
        let slope = |log_beta: f64| -> f64 {
            let beta = log_beta.exp();
            let term = |row: &crate::sample::Row| {
                let error = sigmoid(beta * row.logit) - f64::from(u8::from(row.label));
                row.weight * error * row.logit
            };
            sample.rows.iter().map(term).sum()
        };
        let (mut low, mut high) = (-LOG_RANGE, LOG_RANGE);
        while high - low > 1e-15 * LOG_RANGE {
            let middle = 0.5 * (low + high);
            if middle <= low || middle >= high {
                break;
            }
            if slope(middle) < 0.0 { low = middle } else { high = middle }
        }
        Self { beta: (0.5 * (low + high)).exp() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::logit;
    use crate::sample::tests::{assert_close, fixture_a, labels, scores};

    #[test]
    fn agrees_with_the_reference_on_fixture_a() {
        let map = TemperatureScaling::fit(&fixture_a());
        assert_close(map.beta(), 1.757362592254994, 1e-7);
        let expected = [
            (0.05, 0.00562749817566702),
            (0.25, 0.12667753066916118),
            (0.5, 0.5),
            (0.75, 0.8733224693308389),
            (0.95, 0.994372501824333),
        ];
        for (s, p) in expected {
            assert_close(map.probability(logit(s)), p, 1e-7);
        }
    }

    #[test]
    fn a_backward_ranking_ends_at_the_flattest_map() {
        let y = labels(&[1, 1, 1, 0, 0, 0]);
        let sample = Sample::at_least(2, &scores([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0]), &y, None).unwrap();
        assert_close(TemperatureScaling::fit(&sample).beta().ln(), -LOG_RANGE, 1e-9);
        assert!(TemperatureScaling::new(-1.0).is_err() && TemperatureScaling::new(f64::NAN).is_err());
    }
}
