//! What a labelled sample proves about a threshold: "with confidence 1 - delta the risk is at most
//! alpha". Valid for rows that took no part in training, calibrating or choosing, that are exchangeable
//! with the traffic, and that are looked at once (methods section 3c; Angelopoulos et al. 2021,
//! "Learn then Test").

use evaluation::{EvaluationError, binomial_cdf, upper_bound};
use types::{Threshold, WinProbability};

use crate::SelectError;

/// Steps of the grid on which the conditional risk is tested: fixed before any data is seen.
const GRID: u32 = 400;

/// Power that [`labels_for_certificate`] plans for.
const POWER: f64 = 0.8;

/// The risk that is bounded. A row's loss is 1 (graded: up to 1) when it stays on weak although strong would
/// have been strictly better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Risk {
    /// Mean loss over all queries, losses 0 or 1: the exact binomial test.
    CheapAndWrong,
    /// Mean loss among the queries kept on weak, losses 0 or 1: the exact binomial test on a fixed grid.
    WrongGivenCheap,
    /// Mean loss over all queries, losses in [0, 1]: the Hoeffding-Bentkus test.
    GradedLoss,
}

/// What is to be proved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Certificate {
    /// Which risk.
    pub risk: Risk,
    /// Its bound, in (0, 1).
    pub alpha: f64,
    /// The chance that the promise does not hold, in (0, 1).
    pub delta: f64,
}

/// What was proved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Certified {
    /// The highest threshold that passes; queries at or above it go strong.
    pub threshold: Threshold,
    /// Rows the test counts: all, or those kept on weak for [`Risk::WrongGivenCheap`].
    pub tested: usize,
    /// Sum of their losses below the threshold.
    pub loss: f64,
    /// P-value of "the risk is above alpha" at the threshold, at most delta.
    pub p_value: f64,
    /// Upper confidence bound of the risk at the threshold, at most alpha.
    pub upper_bound: f64,
}

/// Tests thresholds from the safest (all strong) upwards and stops at the first failure: a fixed sequence,
/// so no correction for many tests. `losses[i]` in [0, 1] is what row i costs when kept on weak.
///
/// `None`: there are too few rows for any threshold to pass (see [`least_labels_for_certificate`]), or
/// the first one of the grid fails.
///
/// # Errors
/// Without rows, at different lengths, with a loss outside [0, 1] (or between 0 and 1 where the risk
/// counts), or with alpha or delta outside (0, 1).
pub fn certify(
    wanted: &Certificate,
    probabilities: &[WinProbability],
    losses: &[f64],
) -> Result<Option<Certified>, SelectError> {
    wanted.check()?;
    let mut rows = wanted.rows(probabilities, losses)?;
    rows.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    match wanted.risk {
        Risk::CheapAndWrong | Risk::GradedLoss => wanted.over_all(&rows),
        Risk::WrongGivenCheap => wanted.given_cheap(&rows),
    }
}

impl Certificate {
    /// Tests one threshold, known beforehand, on rows: it passes where the p-value is at most delta. `None`: no row
    /// counts.
    ///
    /// # Errors
    /// As [`certify`].
    pub fn test(
        &self,
        threshold: Threshold,
        probabilities: &[WinProbability],
        losses: &[f64],
    ) -> Result<Option<Certified>, SelectError> {
        self.check()?;
        let rows = self.rows(probabilities, losses)?;
        let kept = || rows.iter().filter(|row| row.0 < threshold.get());
        let tested = if self.risk == Risk::WrongGivenCheap { kept().count() } else { rows.len() };
        if tested == 0 {
            return Ok(None);
        }
        self.certified(threshold, tested, kept().map(|row| row.1).sum()).map(Some)
    }

    pub(crate) fn check(&self) -> Result<(), SelectError> {
        for (field, value) in [("alpha", self.alpha), ("delta", self.delta)] {
            if !(value > 0.0 && value < 1.0) {
                return Err(SelectError::OutOfRange { field, value, expected: "a number between 0 and 1" });
            }
        }
        Ok(())
    }

    fn rows(&self, p: &[WinProbability], losses: &[f64]) -> Result<Vec<(f64, f64)>, EvaluationError> {
        if p.len() != losses.len() {
            let (expected, found) = (p.len(), losses.len());
            return Err(EvaluationError::LengthMismatch { what: "losses", expected, found });
        }
        if p.is_empty() {
            return Err(EvaluationError::Empty);
        }
        let possible = |loss: f64| match self.risk {
            Risk::GradedLoss => (0.0..=1.0).contains(&loss),
            Risk::CheapAndWrong | Risk::WrongGivenCheap => loss == 0.0 || loss == 1.0,
        };
        if let Some(row) = losses.iter().position(|loss| !possible(*loss)) {
            return Err(EvaluationError::OutOfRange { what: "loss", row, value: losses[row] });
        }
        Ok(p.iter().map(|p| p.get()).zip(losses.iter().copied()).collect())
    }

    /// P-value of "the risk is above alpha" for n rows with this sum of losses.
    pub(crate) fn p_value(&self, loss: f64, n: usize) -> Result<f64, EvaluationError> {
        match self.risk {
            Risk::GradedLoss => hoeffding_bentkus_p_value(loss, n, self.alpha),
            // Counts are whole.
            Risk::CheapAndWrong | Risk::WrongGivenCheap => binomial_cdf(loss as usize, n, self.alpha),
        }
    }

    /// The loss of a threshold only grows with it, so the sequence of tests ends where the p-value
    /// crosses delta: the certificate is an order statistic of the rows with a loss.
    fn over_all(&self, rows: &[(f64, f64)]) -> Result<Option<Certified>, SelectError> {
        let n = rows.len();
        if self.p_value(0.0, n)? > self.delta {
            return Ok(None);
        }
        let (mut kept, mut threshold) = (0.0, Threshold::NEVER);
        for block in rows.chunk_by(|a, b| a.0 == b.0) {
            let with = kept + block.iter().map(|row| row.1).sum::<f64>();
            // Rows at the threshold go strong, so the first block that is too much ends the sequence.
            if self.p_value(with, n)? > self.delta {
                threshold = Threshold::saturating(block[0].0);
                break;
            }
            kept = with;
        }
        self.certified(threshold, n, kept).map(Some)
    }

    /// The conditional risk is not monotone: thresholds of a fixed grid are tested in turn, from the first
    /// that keeps enough rows for any test to pass, up to the first that fails.
    fn given_cheap(&self, rows: &[(f64, f64)]) -> Result<Option<Certified>, SelectError> {
        let least = least_labels_for_certificate(self.alpha, self.delta);
        let (mut kept, mut loss, mut passed) = (0, 0.0, None);
        for step in 1..=GRID + 1 {
            let threshold = match step {
                step if step > GRID => Threshold::NEVER,
                step => Threshold::saturating(f64::from(step) / f64::from(GRID)),
            };
            while kept < rows.len() && rows[kept].0 < threshold.get() {
                loss += rows[kept].1;
                kept += 1;
            }
            if kept < least {
                continue;
            }
            if self.p_value(loss, kept)? > self.delta {
                break;
            }
            passed = Some((threshold, kept, loss));
        }
        passed.map(|(threshold, kept, loss)| self.certified(threshold, kept, loss)).transpose()
    }

    fn certified(&self, threshold: Threshold, tested: usize, loss: f64) -> Result<Certified, SelectError> {
        let (p_value, upper_bound) = (self.p_value(loss, tested)?, self.upper_bound(loss, tested)?);
        Ok(Certified { threshold, tested, loss, p_value, upper_bound })
    }

    /// Upper confidence bound of the risk for n rows with this sum of losses.
    pub(crate) fn upper_bound(&self, loss: f64, n: usize) -> Result<f64, EvaluationError> {
        match self.risk {
            Risk::CheapAndWrong | Risk::WrongGivenCheap => upper_bound(loss as usize, n, self.delta),
            Risk::GradedLoss => self.hoeffding_bentkus_bound(loss, n),
        }
    }

    /// The least risk that the test refutes at this loss, by bisection: p-values fall with the risk.
    fn hoeffding_bentkus_bound(&self, loss: f64, n: usize) -> Result<f64, EvaluationError> {
        let (mut low, mut high) = (loss / n as f64, 1.0);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if hoeffding_bentkus_p_value(loss, n, middle)? > self.delta {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok(high)
    }
}

/// P-value of "the mean of losses in [0, 1] is above `alpha`" for n rows with this sum of losses:
/// `min(exp(-n KL(min(R, alpha) || alpha)), e P(Bin(n, alpha) <= ceil(n R)))` (Bates et al. 2021).
///
/// # Errors
/// Without rows, or with a sum above n or an alpha outside [0, 1].
pub fn hoeffding_bentkus_p_value(loss: f64, n: usize, alpha: f64) -> Result<f64, EvaluationError> {
    // A sum of fractions that should be whole may miss it by rounding: ceil must not add a row.
    let whole = (loss - 1e-9 * loss.max(1.0)).ceil().max(0.0) as usize;
    let bentkus = std::f64::consts::E * binomial_cdf(whole, n, alpha)?;
    let rate = (loss / n as f64).min(alpha);
    let term = |a: f64, b: f64| if a == 0.0 { 0.0 } else { a * (a / b).ln() };
    let divergence = term(rate, alpha) + term(1.0 - rate, 1.0 - alpha);
    let hoeffding = (-(n as f64) * divergence).exp();
    Ok(hoeffding.min(bentkus).min(1.0))
}

/// The least rows with which any threshold can pass, `ln delta / ln (1 - alpha)` rounded up: as many
/// without a single loss refute a risk above alpha.
pub fn least_labels_for_certificate(alpha: f64, delta: f64) -> usize {
    (delta.ln() / (-alpha).ln_1p()).ceil() as usize
}

/// Rows from which the exact test certifies alpha with a chance of 80 % when the true risk is
/// `true_risk` below alpha (within 1 % above 400 rows); `None` beyond ten million rows.
///
/// # Errors
/// When a number is outside (0, 1) or the true risk is not below alpha.
pub fn labels_for_certificate(alpha: f64, delta: f64, true_risk: f64) -> Result<Option<usize>, SelectError> {
    Certificate { risk: Risk::CheapAndWrong, alpha, delta }.check()?;
    if !(0.0..alpha).contains(&true_risk) {
        let (field, value) = ("true risk", true_risk);
        return Err(SelectError::OutOfRange { field, value, expected: "a number from 0 to below alpha" });
    }
    let (mut n, mut critical) = (20usize.max(least_labels_for_certificate(alpha, delta)), 0);
    while n < 10_000_000 {
        // The critical count never falls as rows are added.
        while binomial_cdf(critical + 1, n, alpha)? <= delta {
            critical += 1;
        }
        let passes = binomial_cdf(critical, n, alpha)? <= delta;
        if passes && binomial_cdf(critical, n, true_risk)? >= POWER {
            return Ok(Some(n));
        }
        n = if n < 400 { n + 1 } else { n + n / 100 + 1 };
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
