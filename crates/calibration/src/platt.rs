//! Platt scaling: a straight line through the logit, fitted to smoothed labels.
//! Where the rows come from and how well the map does are not decided here.

use crate::CalibrationError;
use crate::numeric::{sigmoid, softplus};
use crate::sample::{self, Sample};
use types::{Score, WinProbability};

/// More Newton steps than a fit of two parameters ever needs; reaching it is an error.
const MAX_STEPS: usize = 100;

/// The map `score -> sigmoid(slope * score + intercept)`, never decreasing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlattScaling {
    slope: f64,
    intercept: f64,
}

/// A fitted map and what is to be known about the fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlattFit {
    /// The map.
    pub map: PlattScaling,
    /// The best line fell: higher scores went with *fewer* wins of strong. The map is then the base
    /// rate for every query, because a falling map would contradict the classifier in silence.
    pub inverted: bool,
}

impl PlattScaling {
    /// A map of known parameters.
    ///
    /// # Errors
    /// When one is not finite, or the slope is negative.
    pub fn new(slope: f64, intercept: f64) -> Result<Self, CalibrationError> {
        for (parameter, value) in [("slope", slope), ("intercept", intercept)] {
            if !value.is_finite() {
                return Err(CalibrationError::NotFinite { parameter, value });
            }
        }
        if slope < 0.0 {
            return Err(CalibrationError::NegativeSlope(slope));
        }
        Ok(Self { slope, intercept })
    }

    /// How much a unit of score moves the calibrated logit; at least 0.
    pub fn slope(&self) -> f64 {
        self.slope
    }

    /// The calibrated logit at score 0.
    pub fn intercept(&self) -> f64 {
        self.intercept
    }

    /// The calibrated probability that strong's answer is strictly better.
    #[expect(
        clippy::expect_used,
        reason = "a sigmoid is in [0, 1] unless its argument is NaN, which needs one"
    )]
    pub fn apply(&self, score: Score) -> WinProbability {
        // Every factor is finite: the product may overflow to an infinity, never to NaN.
        let logit = self.slope * score.logit() + self.intercept;
        WinProbability::new(sigmoid(logit)).expect("sigmoid stays in [0, 1]")
    }

    /// Fits slope and intercept by maximum likelihood to Platt's smoothed targets, which keep the
    /// optimum finite when the classes are separable and guard against overconfidence on few rows
    /// (Platt 1999; the optimum that scikit-learn's `_sigmoid_calibration` approaches). When all scores
    /// are equal the map is the base rate.
    ///
    /// # Errors
    /// When scores or weights are so large that the fit does not converge.
    pub fn fit(sample: &Sample) -> Result<PlattFit, CalibrationError> {
        let targets = Targets::new(sample);
        let base_rate = Line { slope: 0.0, intercept: targets.base_rate_logit };
        let best = if targets.is_constant() { base_rate } else { targets.maximise_likelihood(base_rate)? };
        let inverted = best.slope < 0.0;
        let line = if inverted { base_rate } else { best };
        Ok(PlattFit { map: Self::new(line.slope, line.intercept)?, inverted })
    }
}

/// One row ready for the fit.
struct Row {
    logit: f64,
    target: f64,
    weight: f64,
}

/// The rows with smoothed targets.
struct Targets {
    rows: Vec<Row>,
    total_weight: f64,
    base_rate_logit: f64,
}

/// A candidate of the fit; unlike a map it may fall.
#[derive(Debug, Clone, Copy)]
struct Line {
    slope: f64,
    intercept: f64,
}

/// A Newton step and the squared length of the gradient in the metric of the Hessian, which is
/// twice the gain in log-likelihood that the step promises.
struct Step {
    slope: f64,
    intercept: f64,
    decrement: f64,
}

impl Targets {
    fn new(sample: &Sample) -> Self {
        let (positive, negative) = sample.class_weights();
        let (high, low) = ((positive + 1.0) / (positive + 2.0), 1.0 / (negative + 2.0));
        let row = |row: &sample::Row| Row {
            logit: row.logit,
            target: if row.label { high } else { low },
            weight: row.weight,
        };
        Self {
            rows: sample.rows.iter().map(row).collect(),
            total_weight: positive + negative,
            base_rate_logit: (positive + 1.0).ln() - (negative + 1.0).ln(),
        }
    }

    fn is_constant(&self) -> bool {
        self.rows.windows(2).all(|pair| pair[0].logit == pair[1].logit)
    }

    /// Minus the log-likelihood, from logits: no probability is formed to take its log.
    fn loss(&self, line: Line) -> f64 {
        let loss = |row: &Row| {
            let logit = line.slope * row.logit + line.intercept;
            row.weight * (softplus(logit) - row.target * logit)
        };
        self.rows.iter().map(loss).sum()
    }

    /// The Newton step at `line`. Scores are centred at their curvature-weighted mean, which makes
    /// the Hessian diagonal: no determinant of nearly equal products, however far from 0 scores lie.
    fn newton_step(&self, line: Line) -> Step {
        let (mut curvature, mut moment) = (0.0, 0.0);
        for row in &self.rows {
            let p = sigmoid(line.slope * row.logit + line.intercept);
            let c = row.weight * p * (1.0 - p);
            curvature += c;
            moment += c * row.logit;
        }
        let centre = if curvature > 0.0 { moment / curvature } else { 0.0 };
        let (mut gradient, mut gradient_slope, mut curvature_slope) = (0.0, 0.0, 0.0);
        for row in &self.rows {
            let p = sigmoid(line.slope * row.logit + line.intercept);
            let (x, g) = (row.logit - centre, row.weight * (p - row.target));
            gradient += g;
            gradient_slope += g * x;
            curvature_slope += row.weight * p * (1.0 - p) * x * x;
        }
        // Where the curvature underflows the loss is a straight line: stay, and let the caller judge.
        let solve = |g: f64, c: f64| if c > 0.0 { -g / c } else { 0.0 };
        let (level, slope) = (solve(gradient, curvature), solve(gradient_slope, curvature_slope));
        Step {
            slope,
            intercept: level - slope * centre,
            decrement: -(level * gradient + slope * gradient_slope),
        }
    }

    /// Newton's method with step halving while the loss rises. The loss is convex and the smoothed
    /// targets keep its minimum finite.
    fn maximise_likelihood(&self, start: Line) -> Result<Line, CalibrationError> {
        // Convergence is quadratic: a step that promises this little lands on the optimum.
        let negligible = 1e-18 * self.total_weight;
        let mut line = start;
        for _ in 0..MAX_STEPS {
            let step = self.newton_step(line);
            let moved = |length: f64| Line {
                slope: line.slope + length * step.slope,
                intercept: line.intercept + length * step.intercept,
            };
            // A NaN is a failure too, hence no `>`.
            if !step.decrement.is_finite() || !step.intercept.is_finite() {
                return Err(CalibrationError::NotConverged);
            }
            if step.decrement <= negligible {
                return Ok(moved(1.0));
            }
            let before = self.loss(line);
            let lengths = std::iter::successors(Some(1.0), |l| Some(l * 0.5)).take(60);
            let Some(next) = lengths.map(moved).find(|next| self.loss(*next) < before) else {
                // The promised gain is below the rounding of the loss itself: done, if that is why.
                let rounding = 1e-12 * (before.abs() + self.total_weight);
                return if step.decrement <= rounding {
                    Ok(moved(1.0))
                } else {
                    Err(CalibrationError::NotConverged)
                };
            };
            line = next;
        }
        Err(CalibrationError::NotConverged)
    }
}

#[cfg(test)]
mod tests;
