//! What a sample proves about a cascade: "with confidence 1 - delta the error among accepted answers is at most
//! alpha". Valid for rows that took no part in training, calibrating, tuning or choosing the chain, that are
//! exchangeable with the traffic, and that are looked at once. The tests themselves are `crate::certificate`'s.

use evaluation::EvaluationError;

use crate::cascade::outcome::measure;
use crate::cascade::{Chain, Outcome, StageThresholds};
use crate::{Certificate, Risk, SelectError, least_labels_for_certificate};

/// The least threshold that a shift moves, `1 / (1 + e^12)`: one of 0 has no odds to shift, and counts as this one.
const LEAST_THRESHOLD: f64 = 6.144_174_602_214_718e-6;

/// The loss of an accepted answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptedRisk {
    /// 1 when it is wrong, quality being 0 or 1: the exact binomial test.
    Wrong,
    /// The quality it lacks, in [0, 1]: the Hoeffding-Bentkus test.
    QualityLost,
}

/// What is to be proved of the answers that a cascade accepts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CascadeCertificate {
    /// Which loss.
    pub risk: AcceptedRisk,
    /// The bound of its mean among accepted answers, in (0, 1).
    pub alpha: f64,
    /// The chance that the promise does not hold, in (0, 1).
    pub delta: f64,
}

/// The rules that are tested, in order: all thresholds shifted on the logit scale by the same number, from
/// `strictest` downwards to `loosest` in equal steps. At 0 the rule is the tuned one; above, less is accepted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShiftPath {
    strictest: f64,
    loosest: f64,
    steps: u32,
}

/// What was proved.
#[derive(Debug, Clone, PartialEq)]
pub struct CertifiedCascade {
    /// The loosest rule that passes.
    pub thresholds: Vec<StageThresholds>,
    /// By how much it is shifted, in logits.
    pub shift: f64,
    /// P-value of "the risk is above alpha", at most delta.
    pub p_value: f64,
    /// Upper confidence bound of the risk, at most alpha.
    pub upper_bound: f64,
    /// What the rule gives on the rows of the certificate: `accepted` is what the test counts, `quality_lost` their
    /// losses.
    pub outcome: Outcome,
}

impl ShiftPath {
    /// From a shift at which next to nothing is accepted down to the tuned rule, and no further: a looser one would
    /// be further from what the rule was tuned for.
    pub const DOWN_TO_TUNED: Self = Self { strictest: 24.0, loosest: 0.0, steps: 480 };

    /// As [`Self::DOWN_TO_TUNED`], and on to rules that accept more than the tuned one.
    pub const BEYOND_TUNED: Self = Self { strictest: 24.0, loosest: -24.0, steps: 960 };

    /// A path of its own; shifts in logits.
    ///
    /// # Errors
    /// When a shift is not finite or beyond 500, `strictest` is below `loosest`, or there is no step.
    pub fn new(strictest: f64, loosest: f64, steps: u32) -> Result<Self, SelectError> {
        for (field, value) in [("strictest", strictest), ("loosest", loosest)] {
            // Also refuses NaN. Odds multiplied by e^500 are still finite.
            if !(-500.0..=500.0).contains(&value) {
                return Err(SelectError::OutOfRange { field, value, expected: "a shift in [-500, 500]" });
            }
        }
        if strictest < loosest {
            let (field, value) = ("strictest", strictest);
            return Err(SelectError::OutOfRange { field, value, expected: "no number below loosest" });
        }
        if steps == 0 {
            return Err(SelectError::OutOfRange { field: "steps", value: 0.0, expected: "at least 1" });
        }
        Ok(Self { strictest, loosest, steps })
    }

    fn shift(&self, step: u32) -> f64 {
        let share = f64::from(step) / f64::from(self.steps);
        self.strictest + share * (self.loosest - self.strictest)
    }
}

impl StageThresholds {
    /// Both thresholds shifted on the logit scale. At shift 0 they are what they were; 1 and the number above
    /// it stay.
    pub fn shifted(self, by: f64) -> Self {
        let odds_ratio = by.exp();
        let shifted = |threshold: f64| {
            if by == 0.0 || threshold >= 1.0 || (by < 0.0 && threshold == 0.0) {
                return threshold;
            }
            let t = threshold.max(LEAST_THRESHOLD);
            odds_ratio * t / (1.0 - t + odds_ratio * t)
        };
        Self::saturating(shifted(self.abstain_below()), shifted(self.accept_above()))
    }
}

/// Tests the rules of a path from the strictest on and stops at the first failure: a fixed sequence, so no correction
/// for many tests (methods section 3c). Rules that accept fewer rows than any test could pass with are passed over.
///
/// The path is fixed beforehand, by `tuned` and the shifts, so both must come from other rows. Starting at a shift
/// where those rows accept enough, at few enough errors, proves more than starting at one where a single mistake ends
/// the sequence. Which rules are passed over depends on probabilities alone, never on what was right.
///
/// `None`: every rule accepts too little, or the first one that could pass fails. A last stage that accepts everything
/// takes part: shifted, it abstains.
///
/// # Errors
/// When there are not as many pairs as stages, alpha or delta is outside (0, 1), or a quality is neither 0 nor 1 where
/// the risk counts wrong answers.
pub fn certify_cascade(
    wanted: &CascadeCertificate,
    tuned: &[StageThresholds],
    path: &ShiftPath,
    chain: &Chain<'_>,
) -> Result<Option<CertifiedCascade>, SelectError> {
    let test = wanted.test();
    test.check()?;
    wanted.check_quality(chain)?;
    // Checks that there are as many thresholds as stages.
    Outcome::measure(chain, tuned)?;
    let least = least_labels_for_certificate(wanted.alpha, wanted.delta);
    let mut passed = None;
    for step in 0..=path.steps {
        let shift = path.shift(step);
        let thresholds: Vec<StageThresholds> = tuned.iter().map(|pair| pair.shifted(shift)).collect();
        let outcome = measure(chain, &thresholds);
        if outcome.accepted < least {
            continue;
        }
        let p_value = test.p_value(outcome.quality_lost, outcome.accepted)?;
        if p_value > wanted.delta {
            break;
        }
        passed = Some((thresholds, shift, outcome, p_value));
    }
    let Some((thresholds, shift, outcome, p_value)) = passed else { return Ok(None) };
    let upper_bound = test.upper_bound(outcome.quality_lost, outcome.accepted)?;
    Ok(Some(CertifiedCascade { thresholds, shift, p_value, upper_bound, outcome }))
}

impl CascadeCertificate {
    fn test(&self) -> Certificate {
        let risk = match self.risk {
            AcceptedRisk::Wrong => Risk::WrongGivenCheap,
            AcceptedRisk::QualityLost => Risk::GradedLoss,
        };
        Certificate { risk, alpha: self.alpha, delta: self.delta }
    }

    fn check_quality(&self, chain: &Chain<'_>) -> Result<(), EvaluationError> {
        if self.risk == AcceptedRisk::QualityLost {
            return Ok(());
        }
        for column in &chain.stages {
            let graded = |quality: &f64| *quality != 0.0 && *quality != 1.0;
            if let Some(row) = column.rows.quality.iter().position(graded) {
                let value = column.rows.quality[row];
                return Err(EvaluationError::OutOfRange { what: "label", row, value });
            }
        }
        Ok(())
    }
}
