//! What several answers to one query are worth when they agree: a table from agreement to accuracy (methods section 6;
//! ABC, arXiv 2407.02348). Unanimity is no proof, because errors are correlated: the table says
//! what it was worth on labelled rows. What agrees is counted by
//! `features::answer`.

use evaluation::upper_bound;

use crate::SelectError;
use crate::error::share;

/// A row of the table from agreement to accuracy: labelled queries whose answers agreed to the same degree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgreementLevel {
    correct: usize,
    queries: usize,
}

impl AgreementLevel {
    /// So many of the queries had a correct top answer.
    ///
    /// # Errors
    /// Without queries, or when more are correct than there are.
    pub fn new(correct: usize, queries: usize) -> Result<Self, SelectError> {
        if correct > queries || queries == 0 {
            let (field, value) = ("correct answers", correct as f64);
            return Err(SelectError::OutOfRange {
                field,
                value,
                expected: "at most the queries, at least 1",
            });
        }
        Ok(Self { correct, queries })
    }

    /// The accuracy expected at this level, under Jeffreys' prior: `(correct + 1/2) / (queries + 1)`.
    pub fn accuracy(&self) -> f64 {
        (self.correct as f64 + 0.5) / (self.queries as f64 + 1.0)
    }

    /// The exact (Clopper-Pearson) one-sided lower bound: the accuracy is below it with probability at most `delta`.
    ///
    /// # Errors
    /// When `delta` is outside (0, 1).
    pub fn lower_bound(&self, delta: f64) -> Result<f64, SelectError> {
        // One minus the upper bound of being wrong.
        Ok(1.0 - upper_bound(self.queries - self.correct, self.queries, delta)?)
    }
}

/// The chance that all `k` answers are wrong when each is with probability `error` and errors are correlated with
/// intra-class correlation `rho`: beta-binomial, `prod (a + i) / (a + b + i)` over i < k, for
/// `a = error (1 - rho) / rho` and `b = (1 - error) (1 - rho) / rho`. A bound on agreeing and being wrong, which also
/// needs the same wrong answer.
///
/// # Errors
/// When `error` or `rho` is outside [0, 1].
pub fn all_wrong_together(k: u32, error: f64, rho: f64) -> Result<f64, SelectError> {
    let (error, rho) = (share("error", error)?, share("correlation", rho)?);
    // Each factor times rho / rho, so that no correlation is no special case.
    let factor = |i: u32| (error * (1.0 - rho) + f64::from(i) * rho) / (1.0 - rho + f64::from(i) * rho);
    // The first factor is the error itself, also at full correlation, where the others are 1.
    Ok((1..k).map(factor).fold(if k == 0 { 1.0 } else { error }, |product, factor| product * factor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
    }

    // Numbers of methods/golden/06_verifier.json.

    #[test]
    fn the_table_agrees_with_the_reference() {
        let expected = [
            (171, 180, 0.9475138121546961, 0.9222207417992048),
            (51, 60, 0.8442622950819673, 0.7735590005051197),
            (28, 40, 0.6951219512195121, 0.5883989995148851),
            (7, 20, 0.35714285714285715, 0.20666403328284663),
        ];
        for (correct, queries, accuracy, lower) in expected {
            let level = AgreementLevel::new(correct, queries).unwrap();
            close(level.accuracy(), accuracy);
            assert!((level.lower_bound(0.1).unwrap() - lower).abs() < 1e-9);
        }
        assert!(AgreementLevel::new(0, 0).is_err() && AgreementLevel::new(3, 2).is_err());
        assert_eq!(AgreementLevel::new(0, 5).unwrap().lower_bound(0.1), Ok(0.0));
    }

    #[test]
    fn errors_in_common_agree_with_the_reference() {
        let expected = [
            (2, 0.1, 0.11100000000000002),
            (2, 0.43, 0.1803),
            (2, 0.7, 0.23699999999999996),
            (3, 0.1, 0.047427272727272735),
            (3, 0.43, 0.12999251748251747),
            (3, 0.7, 0.20772352941176464),
            (5, 0.1, 0.011610561188811193),
            (5, 0.43, 0.08431632569548353),
            (5, 0.7, 0.17670739112903222),
        ];
        for (k, rho, p) in expected {
            close(all_wrong_together(k, 0.3, rho).unwrap(), p);
        }
        close(all_wrong_together(3, 0.3, 0.0).unwrap(), 0.027);
        close(all_wrong_together(3, 0.3, 1.0).unwrap(), 0.3);
        assert!(all_wrong_together(3, 1.3, 0.5).is_err() && all_wrong_together(3, 0.3, f64::NAN).is_err());
    }

    proptest! {
        #[test]
        fn correlation_lies_between_independent_and_one(k in 1u32..8, e in 0.0..=1.0f64, rho in 0.0..=1.0f64) {
            let found = all_wrong_together(k, e, rho).unwrap();
            prop_assert!(found >= e.powi(k as i32) - 1e-12 && found <= e + 1e-12);
        }
    }
}
