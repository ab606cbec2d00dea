//! Numbers with a meaning: raw scores, calibrated probabilities, thresholds.

use thiserror::Error;

/// Why a number was refused.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum ProbabilityError {
    /// A score that is not a finite number.
    #[error("score {0} is not finite")]
    ScoreNotFinite(f64),
    /// A probability that is NaN or outside [0, 1].
    #[error("probability {0} is not in [0, 1]")]
    OutOfRange(f64),
    /// A threshold that is NaN or outside [0, 1].
    #[error("threshold {0} is not in [0, 1]")]
    ThresholdOutOfRange(f64),
}

/// Raw classifier output on the logit scale, uncalibrated. Any finite number.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Score(f64);

impl Score {
    /// Wraps a logit.
    ///
    /// # Errors
    /// When it is NaN or infinite.
    pub fn new(logit: f64) -> Result<Self, ProbabilityError> {
        if logit.is_finite() { Ok(Self(logit)) } else { Err(ProbabilityError::ScoreNotFinite(logit)) }
    }

    /// The logit.
    pub fn logit(self) -> f64 {
        self.0
    }
}

/// Calibrated P(strong's answer is strictly better | query), in [0, 1]; a tie means weak suffices.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct WinProbability(f64);

impl WinProbability {
    /// Wraps a probability.
    ///
    /// # Errors
    /// When it is NaN or outside [0, 1].
    pub fn new(probability: f64) -> Result<Self, ProbabilityError> {
        if (0.0..=1.0).contains(&probability) {
            Ok(Self(probability))
        } else {
            Err(ProbabilityError::OutOfRange(probability))
        }
    }

    /// The nearest probability to a computed value; NaN, which no finite map gives, becomes 1:
    /// in doubt the strong model answers.
    pub fn saturating(value: f64) -> Self {
        Self(if value.is_nan() { 1.0 } else { value.clamp(0.0, 1.0) })
    }

    /// The probability.
    pub fn get(self) -> f64 {
        self.0
    }
}

/// Calibrated P(an answer is acceptable | query and answer), for one model's answer, in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct SuccessProbability(f64);

impl SuccessProbability {
    /// Wraps a probability.
    ///
    /// # Errors
    /// When it is NaN or outside [0, 1].
    pub fn new(probability: f64) -> Result<Self, ProbabilityError> {
        WinProbability::new(probability).map(|p| Self(p.get()))
    }

    /// The nearest probability to a computed value; NaN becomes 0: in doubt an answer is not acceptable.
    pub fn saturating(value: f64) -> Self {
        Self(if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) })
    }

    /// The probability.
    pub fn get(self) -> f64 {
        self.0
    }
}

/// An interval of probabilities around a calibrated one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProbabilityInterval {
    lower: WinProbability,
    upper: WinProbability,
}

impl ProbabilityInterval {
    /// The interval between two probabilities, whichever is the greater.
    pub fn ordered(a: WinProbability, b: WinProbability) -> Self {
        if a <= b { Self { lower: a, upper: b } } else { Self { lower: b, upper: a } }
    }

    /// Lower end.
    pub fn lower(self) -> WinProbability {
        self.lower
    }

    /// Upper end.
    pub fn upper(self) -> WinProbability {
        self.upper
    }
}

/// Route strong when `win_probability >= threshold`. In [0, 1], or [`Threshold::NEVER`].
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Threshold(f64);

impl Threshold {
    /// Every query goes strong.
    pub const ALWAYS: Self = Self(0.0);

    /// No query goes strong: the next number above 1, which no probability reaches.
    pub const NEVER: Self = Self(1.0 + f64::EPSILON);

    /// Wraps a threshold.
    ///
    /// # Errors
    /// When it is NaN or outside [0, 1] and not [`Self::NEVER`].
    pub fn new(threshold: f64) -> Result<Self, ProbabilityError> {
        if (0.0..=Self::NEVER.0).contains(&threshold) {
            Ok(Self(threshold))
        } else {
            Err(ProbabilityError::ThresholdOutOfRange(threshold))
        }
    }

    /// The nearest threshold to a computed value, such as plus infinity on a sweep; NaN becomes
    /// [`Self::ALWAYS`]: in doubt the strong model answers.
    pub fn saturating(value: f64) -> Self {
        Self(if value.is_nan() { 0.0 } else { value.clamp(0.0, Self::NEVER.0) })
    }

    /// The threshold.
    pub fn get(self) -> f64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_probabilities_are_probabilities() {
        for bad in [f64::NAN, -f64::MIN_POSITIVE, 1.0 + f64::EPSILON, f64::INFINITY] {
            assert!(WinProbability::new(bad).is_err(), "{bad}");
            assert!(Threshold::new(bad).is_err() || bad == Threshold::NEVER.get(), "{bad}");
        }
        assert!(Threshold::new(Threshold::NEVER.get().next_up()).is_err());
        assert_eq!(Threshold::saturating(f64::INFINITY), Threshold::NEVER);
        assert_eq!(Threshold::saturating(f64::NAN), Threshold::ALWAYS);
        for good in [0.0, -0.0, 0.5, 1.0] {
            assert!(WinProbability::new(good).is_ok_and(|p| p.get() == good));
        }
        assert_eq!(SuccessProbability::saturating(f64::NAN).get(), 0.0);
        assert!(SuccessProbability::new(1.5).is_err() && SuccessProbability::saturating(1.5).get() == 1.0);
        assert!(Score::new(f64::NEG_INFINITY).is_err());
        assert!(Score::new(-40.0).is_ok_and(|s| s.logit() == -40.0));
    }
}
