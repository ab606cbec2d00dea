//! A calibrator that is moved by what came of its answers, without its rows: a line through the calibrated logit, fitted to
//! the last outcomes and pulled towards no change (methods section 9.1).

use crate::band::at;
use crate::numeric::{logit, sigmoid, softplus};
use crate::{Band, CalibrationError, LogisticRow, Prior, fit_logistic};
use types::{Threshold, WinProbability};

/// The map `p -> sigmoid(slope * logit(p) + intercept)`, rising.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adjustment {
    slope: f64,
    intercept: f64,
}

/// An outcome of a decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observed {
    /// What was said.
    pub win_probability: WinProbability,
    /// Strong's answer was strictly better.
    pub strong_better: bool,
    /// At least 0; 1 over the probability of being observed, where that depended on what was said.
    pub weight: f64,
}

/// How an adjustment is fitted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Outcomes after which one counts half, above 0.
    pub half_life: f64,
    /// Inverse variance of the prior of slope and intercept around no change, above 0.
    pub precision: f64,
}

impl Default for Window {
    fn default() -> Self {
        Self { half_life: 500.0, precision: 20.0 }
    }
}

impl Adjustment {
    /// No change.
    pub const NONE: Self = Self { slope: 1.0, intercept: 0.0 };

    /// A known map.
    ///
    /// # Errors
    /// When a number is not finite, or the slope is not above 0: a higher score must not mean a lower probability.
    pub fn new(slope: f64, intercept: f64) -> Result<Self, CalibrationError> {
        for (parameter, value) in [("slope", slope), ("intercept", intercept)] {
            if !value.is_finite() {
                return Err(CalibrationError::NotFinite { parameter, value });
            }
        }
        if slope > 0.0 { Ok(Self { slope, intercept }) } else { Err(CalibrationError::NegativeSlope(slope)) }
    }

    /// Fits slope and intercept to outcomes, the newest last.
    ///
    /// # Errors
    /// When the best line falls, or numbers are of absurd size; the prior keeps every fit finite.
    pub fn fit(outcomes: &[Observed], window: &Window) -> Result<Self, CalibrationError> {
        let age = |i: usize| (outcomes.len() - 1 - i) as f64;
        let row = |(i, outcome): (usize, &Observed)| LogisticRow {
            x: vec![at(outcome.win_probability), 1.0],
            offset: 0.0,
            label: f64::from(u8::from(outcome.strong_better)),
            weight: outcome.weight * 0.5_f64.powf(age(i) / window.half_life),
        };
        let rows: Vec<LogisticRow> = outcomes.iter().enumerate().map(row).collect();
        let prior = |mean| Prior { mean, precision: window.precision };
        let found = fit_logistic(&rows, &[prior(1.0), prior(0.0)])?;
        Self::new(found[0], found[1])
    }

    /// How much a unit of logit counts.
    pub fn slope(self) -> f64 {
        self.slope
    }

    /// How far logits are moved.
    pub fn intercept(self) -> f64 {
        self.intercept
    }

    /// This one after another.
    ///
    /// # Errors
    /// When slopes multiply to 0 or infinity.
    pub fn after(self, first: Self) -> Result<Self, CalibrationError> {
        Self::new(self.slope * first.slope, self.slope * first.intercept + self.intercept)
    }

    /// What a probability becomes.
    pub fn of(self, p: WinProbability) -> WinProbability {
        WinProbability::saturating(self.moved(p.get()))
    }

    /// The same of a bare number in [0, 1].
    pub(crate) fn moved(self, p: f64) -> f64 {
        if self == Self::NONE { p } else { sigmoid(self.slope * logit(p) + self.intercept) }
    }

    /// The threshold that decides about adjusted probabilities as this one did about those before: all of them rise
    /// together. The one that is never reached stays that.
    pub fn threshold(self, threshold: Threshold) -> Threshold {
        if threshold.get() > 1.0 { threshold } else { Threshold::saturating(self.moved(threshold.get())) }
    }

    /// The band around adjusted probabilities that holds what this one held.
    pub fn band(self, band: Band) -> Band {
        let (lower, upper) = band.offsets();
        Band::new(self.slope * lower, self.slope * upper).unwrap_or(band)
    }
}

/// What fitting on all outcomes before each of the last ones would have given there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prequential {
    /// Outcomes judged.
    pub judged: usize,
    /// Mean log loss of the probabilities as they were said.
    pub as_said: f64,
    /// Of those adjusted by what was known before.
    pub adjusted: f64,
}

/// Judges the adjustment on the last outcomes, each by a fit on those before it (Dawid 1984, "Statistical Theory: The
/// Prequential Approach").
///
/// # Errors
/// When a fit fails, see [`Adjustment::fit`].
pub fn prequential(
    outcomes: &[Observed],
    last: usize,
    window: &Window,
) -> Result<Prequential, CalibrationError> {
    let first = outcomes.len().saturating_sub(last);
    let (mut as_said, mut adjusted, mut total) = (0.0, 0.0, 0.0);
    for (i, outcome) in outcomes.iter().enumerate().skip(first) {
        let loss = |logit: f64| softplus(if outcome.strong_better { -logit } else { logit });
        let z = at(outcome.win_probability);
        let known = Adjustment::fit(&outcomes[..i], window)?;
        as_said += outcome.weight * loss(z);
        adjusted += outcome.weight * loss(known.slope * z + known.intercept);
        total += outcome.weight;
    }
    let mean = |sum: f64| if total > 0.0 { sum / total } else { 0.0 };
    Ok(Prequential { judged: outcomes.len() - first, as_said: mean(as_said), adjusted: mean(adjusted) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn p(value: f64) -> WinProbability {
        WinProbability::new(value).unwrap()
    }

    /// A linear congruential generator: this crate knows no random source.
    fn draws(seed: u64) -> impl Iterator<Item = f64> {
        std::iter::successors(Some(seed), |s| Some(s.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1)))
            .skip(8)
            .map(|s| (s >> 11) as f64 / (1u64 << 53) as f64)
    }

    /// Outcomes whose log odds are shifted from the `from`-th on.
    fn outcomes(n: usize, from: usize, shift: f64, seed: u64) -> Vec<Observed> {
        let mut draw = draws(seed);
        let mut one = |i: usize| {
            let said = 0.05 + 0.9 * draw.next().unwrap();
            let truth = sigmoid(logit(said) + if i >= from { shift } else { 0.0 });
            Observed { win_probability: p(said), strong_better: draw.next().unwrap() < truth, weight: 1.0 }
        };
        (0..n).map(&mut one).collect()
    }

    #[test]
    fn a_shift_is_followed_and_old_outcomes_are_forgotten() {
        let window = Window::default();
        let found = Adjustment::fit(&outcomes(3_000, 0, 0.8, 1), &window).unwrap();
        assert!((found.intercept - 0.8).abs() < 0.2 && (found.slope - 1.0).abs() < 0.2, "{found:?}");
        let lately = Adjustment::fit(&outcomes(4_000, 3_000, 0.8, 2), &window).unwrap();
        assert!((0.4..0.9).contains(&lately.intercept), "{lately:?}");
        let long = Window { half_life: 1e9, ..window };
        assert!(Adjustment::fit(&outcomes(4_000, 3_000, 0.8, 2), &long).unwrap().intercept < 0.35);
        // Without outcomes, or with a few, there is no reason to move.
        assert_eq!(Adjustment::fit(&[], &window).unwrap(), Adjustment::NONE);
        let few = Adjustment::fit(&outcomes(10, 0, 3.0, 3), &window).unwrap();
        assert!(few.intercept.abs() < 0.3, "{few:?}");
    }

    #[test]
    fn the_guard_accepts_what_helps_and_mostly_keeps_what_is_right() {
        let window = Window::default();
        let helps = |n, from, shift, seed| {
            let judged = prequential(&outcomes(n, from, shift, seed), 200, &window).unwrap();
            assert_eq!(judged.judged, 200);
            judged.adjusted < judged.as_said
        };
        let broken = (0..20).filter(|seed| helps(800, 400, 1.0, 100 + seed)).count();
        assert!(broken >= 19, "{broken} of 20");
        let right = (0..20).filter(|seed| helps(800, 800, 0.0, 200 + seed)).count();
        assert!(right <= 12, "{right} of 20");
    }

    #[test]
    fn what_is_no_map_is_refused() {
        assert_eq!(Adjustment::new(0.0, 0.0), Err(CalibrationError::NegativeSlope(0.0)));
        assert!(Adjustment::new(f64::NAN, 0.0).is_err() && Adjustment::new(1.0, f64::INFINITY).is_err());
        let backwards: Vec<Observed> = outcomes(4_000, 0, 0.0, 5)
            .into_iter()
            .map(|o| Observed { strong_better: !o.strong_better, ..o })
            .collect();
        assert!(matches!(
            Adjustment::fit(&backwards, &Window::default()),
            Err(CalibrationError::NegativeSlope(_))
        ));
    }

    proptest! {
        #[test]
        fn thresholds_and_bands_decide_as_before(
            slope in 0.1..5.0f64, intercept in -4.0..4.0f64, t in 0.0..=1.0f64, q in 0.0..=1.0f64,
            lower in -2.0..0.0f64, upper in 0.0..2.0f64,
        ) {
            let adjustment = Adjustment::new(slope, intercept).unwrap();
            let threshold = Threshold::new(t).unwrap();
            let (before, after) = (p(q), adjustment.of(p(q)));
            // Rounding may part what was equal or almost.
            if (t - q).abs() > 1e-9 {
                let moved = adjustment.threshold(threshold);
                prop_assert!((q >= t) == (after.get() >= moved.get()) || after.get() == moved.get());
            }
            prop_assert_eq!(adjustment.threshold(Threshold::NEVER), Threshold::NEVER);
            let twice = adjustment.after(adjustment).unwrap();
            prop_assert!((twice.of(before).get() - adjustment.of(after).get()).abs() < 1e-6);
            // A band takes probabilities nearer to 0 or 1 than this as this, before and after.
            prop_assume!((1e-9..=1.0 - 1e-9).contains(&after.get()));
            let band = Band::new(lower, upper).unwrap();
            let (held, moved) = (band.around(before), adjustment.band(band).around(after));
            prop_assert!((adjustment.of(held.lower()).get() - moved.lower().get()).abs() < 1e-6);
            prop_assert!((adjustment.of(held.upper()).get() - moved.upper().get()).abs() < 1e-6);
        }
    }
}
