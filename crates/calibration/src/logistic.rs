//! Logistic regression with offsets and a Gaussian prior: the one Newton method behind the beta map and behind
//! the abilities of a model that joins a fitted classifier. What the columns mean is the caller's business.

use crate::CalibrationError;
use crate::numeric::{sigmoid, softplus};

/// More Newton steps than a convex fit of a few parameters needs; reaching it is an error.
const MAX_STEPS: usize = 100;

/// One row: `logit = offset + x·parameters`.
#[derive(Debug, Clone, PartialEq)]
pub struct LogisticRow {
    /// As many numbers as there are parameters.
    pub x: Vec<f64>,
    /// What is known of the logit beforehand.
    pub offset: f64,
    /// The target, in [0, 1].
    pub label: f64,
    /// At least 0.
    pub weight: f64,
}

/// A normal prior of one parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prior {
    /// Where it is pulled.
    pub mean: f64,
    /// How much: the inverse variance, at least 0; 0 leaves it free.
    pub precision: f64,
}

impl Prior {
    /// No pull at all.
    pub const FREE: Self = Self { mean: 0.0, precision: 0.0 };
}

/// The parameters that minimise `Σ w [softplus(z) - y z] + Σ precision/2 (parameter - mean)²` (methods section
/// 1.1), by Newton's method with step halving from the prior means.
///
/// # Errors
/// When no finite optimum exists (separable labels and a free parameter), or numbers are of absurd size.
pub fn fit_logistic(rows: &[LogisticRow], priors: &[Prior]) -> Result<Vec<f64>, CalibrationError> {
    let total = rows.iter().map(|row| row.weight).sum::<f64>();
    let mut at: Vec<f64> = priors.iter().map(|prior| prior.mean).collect();
    for _ in 0..MAX_STEPS {
        let (gradient, hessian) = derivatives(rows, priors, &at);
        let step = solve(hessian, &gradient, total);
        let decrement: f64 = step.iter().zip(&gradient).map(|(s, g)| s * g).sum();
        if !decrement.is_finite() {
            return Err(CalibrationError::NotConverged);
        }
        let before = loss(rows, priors, &at);
        let moved = |length: f64| at.iter().zip(&step).map(|(a, s)| a - length * s).collect::<Vec<f64>>();
        // Convergence is quadratic: a step that promises this little lands on the optimum.
        if decrement <= 1e-18 * total {
            // Separable labels pull the loss to 0 and the parameters to infinity.
            let separable = total > 0.0 && before < 1e-6 * total;
            return if separable { Err(CalibrationError::NotConverged) } else { Ok(moved(1.0)) };
        }
        let lengths = std::iter::successors(Some(1.0), |l| Some(l * 0.5)).take(60);
        match lengths.map(&moved).find(|next| loss(rows, priors, next) < before) {
            Some(next) => at = next,
            // The promised gain is below the rounding of the loss itself.
            None if decrement <= 1e-12 * (before.abs() + total) => return Ok(moved(1.0)),
            None => break,
        }
    }
    Err(CalibrationError::NotConverged)
}

fn logit_of(row: &LogisticRow, at: &[f64]) -> f64 {
    row.offset + row.x.iter().zip(at).map(|(x, a)| x * a).sum::<f64>()
}

fn loss(rows: &[LogisticRow], priors: &[Prior], at: &[f64]) -> f64 {
    let of_row = |row: &LogisticRow| {
        let z = logit_of(row, at);
        row.weight * (softplus(z) - row.label * z)
    };
    let of_prior = |(prior, a): (&Prior, &f64)| 0.5 * prior.precision * (a - prior.mean).powi(2);
    rows.iter().map(of_row).sum::<f64>() + priors.iter().zip(at).map(of_prior).sum::<f64>()
}

fn derivatives(rows: &[LogisticRow], priors: &[Prior], at: &[f64]) -> (Vec<f64>, Vec<Vec<f64>>) {
    let d = at.len();
    let mut gradient: Vec<f64> =
        priors.iter().zip(at).map(|(prior, a)| prior.precision * (a - prior.mean)).collect();
    let mut hessian = vec![vec![0.0; d]; d];
    for (i, prior) in priors.iter().enumerate() {
        hessian[i][i] = prior.precision;
    }
    for row in rows {
        let p = sigmoid(logit_of(row, at));
        let (residual, curvature) = (row.weight * (p - row.label), row.weight * p * (1.0 - p));
        for (i, x) in row.x.iter().enumerate() {
            gradient[i] += residual * x;
            for (entry, other) in hessian[i].iter_mut().zip(&row.x[..=i]) {
                *entry += curvature * x * other;
            }
        }
    }
    (gradient, hessian)
}

/// Solves `H x = g` for a symmetric H given by its lower triangle, by Cholesky's factorisation with a small
/// ridge: columns that are all zero, or nearly the same where scores crowd together, then do no harm.
fn solve(mut h: Vec<Vec<f64>>, g: &[f64], total: f64) -> Vec<f64> {
    let d = g.len();
    for (i, row) in h.iter_mut().enumerate() {
        row[i] += 1e-12 * (total + row[i]);
    }
    for i in 0..d {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|k| h[i][k] * h[j][k]).sum();
            h[i][j] = if i == j {
                (h[i][i] - dot).max(f64::MIN_POSITIVE).sqrt()
            } else {
                (h[i][j] - dot) / h[j][j]
            };
        }
    }
    let mut x = g.to_vec();
    for i in 0..d {
        let dot: f64 = (0..i).map(|k| h[i][k] * x[k]).sum();
        x[i] = (x[i] - dot) / h[i][i];
    }
    for i in (0..d).rev() {
        let dot: f64 = (i + 1..d).map(|k| h[k][i] * x[k]).sum();
        x[i] = (x[i] - dot) / h[i][i];
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::tests::assert_close;
    use proptest::prelude::*;

    fn row(x: &[f64], offset: f64, label: f64) -> LogisticRow {
        LogisticRow { x: x.to_vec(), offset, label, weight: 1.0 }
    }

    #[test]
    fn the_base_rate_is_found_beside_an_offset() {
        // Three of four: the intercept makes up for what the offset says.
        let rows = [1.0, 1.0, 1.0, 0.0].map(|y| row(&[1.0], -2.0, y));
        let found = fit_logistic(&rows, &[Prior::FREE]).unwrap();
        assert_close(found[0], 3f64.ln() + 2.0, 1e-9);
    }

    #[test]
    fn a_prior_decides_where_the_rows_do_not() {
        let separable: Vec<LogisticRow> = (-3..=3)
            .filter(|x| *x != 0)
            .map(|x| row(&[f64::from(x)], 0.0, f64::from(u8::from(x > 0))))
            .collect();
        assert_eq!(fit_logistic(&separable, &[Prior::FREE]), Err(CalibrationError::NotConverged));
        let weak = fit_logistic(&separable, &[Prior { mean: 0.0, precision: 0.1 }]).unwrap()[0];
        let strong = fit_logistic(&separable, &[Prior { mean: 0.0, precision: 100.0 }]).unwrap()[0];
        assert!(weak > strong && strong > 0.0, "{weak} {strong}");
        let nothing = fit_logistic(&[], &[Prior { mean: 0.7, precision: 1.0 }]).unwrap();
        assert_eq!(nothing, [0.7]);
    }

    proptest! {
        #[test]
        fn no_step_away_is_better(
            rows in prop::collection::vec((-2.0..2.0f64, -2.0..2.0f64, 0.0..=1.0f64, -1.0..1.0f64), 1..30),
            mean in -1.0..1.0f64, precision in 0.05..5.0f64, (dx, dy) in (-0.5..0.5f64, -0.5..0.5f64),
        ) {
            let rows: Vec<LogisticRow> = rows.iter().map(|(a, b, y, o)| row(&[*a, *b], *o, *y)).collect();
            let priors = [Prior { mean, precision }; 2];
            let found = fit_logistic(&rows, &priors).unwrap();
            let moved = [found[0] + dx, found[1] + dy];
            prop_assert!(loss(&rows, &priors, &found) <= loss(&rows, &priors, &moved) + 1e-12);
        }
    }
}
