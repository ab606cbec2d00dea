//! Quantiles of a stream in little memory: DDSketch (Masson, Rim and Lee 2019), whose answers are off by 1 % of the
//! value at most, and whose sketches add up across replicas.

use serde::{Deserialize, Serialize};
use sketches_ddsketch::{Config, DDSketch};

/// How far off an answer may be, relative to the value.
const ERROR: f64 = 0.01;

/// Bins at most: with this error, 18 powers of ten.
const BINS: u32 = 2_048;

/// Below this a value counts as 0.
const LEAST: f64 = 1e-9;

/// Above this a value counts as this, so that sums stay finite.
const MOST: f64 = 1e15;

/// Quantiles of values of at least 0, from 1e-9 to 1e15: within 1 % as long as the values span 17 powers of ten at most;
/// beyond that the smallest share a bin.
///
/// Without values there is no sketch: an empty one holds infinities as its extremes, which JSON cannot write.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Quantiles(Option<DDSketch>);

impl std::fmt::Debug for Quantiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Quantiles of {} values", self.count())
    }
}

impl Quantiles {
    /// Takes a value; what is not finite or below 0 is left out.
    pub fn update(&mut self, value: f64) {
        if value.is_finite() && value >= 0.0 {
            let empty = || DDSketch::new(Config::new(ERROR, BINS, LEAST));
            self.0.get_or_insert_with(empty).add(value.min(MOST));
        }
    }

    /// Values taken.
    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, |sketch| sketch.count() as u64)
    }

    /// The value of rank `q (n - 1)`, `q` in [0, 1]; `None` without values.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        self.0.as_ref()?.quantile(q).ok().flatten()
    }

    /// Takes the values of another sketch.
    pub fn merge(&mut self, other: &Self) {
        match (&mut self.0, &other.0) {
            // Sketches of one configuration always add up.
            (Some(sketch), Some(other)) => drop(sketch.merge(other)),
            (None, Some(_)) => self.clone_from(other),
            (_, None) => (),
        }
    }
}

/// Quantiles of probabilities: of p and of 1 - p, so that both ends are known to 1 % of their distance from the end.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ProbabilityQuantiles {
    of_p: Quantiles,
    of_rest: Quantiles,
}

impl ProbabilityQuantiles {
    /// Takes a probability.
    pub fn update(&mut self, p: f64) {
        self.of_p.update(p);
        self.of_rest.update(1.0 - p);
    }

    /// The probability of rank `q (n - 1)`.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let p = self.of_p.quantile(q)?;
        if p <= 0.5 { Some(p) } else { Some(1.0 - self.of_rest.quantile(1.0 - q)?) }
    }

    /// Takes the values of another sketch.
    pub fn merge(&mut self, other: &Self) {
        self.of_p.merge(&other.of_p);
        self.of_rest.merge(&other.of_rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fixture() -> Vec<f64> {
        let golden_ratio = (5.0_f64.sqrt() - 1.0) / 2.0;
        (1..=60).map(|i| ((f64::from(i) * golden_ratio).fract() * 1e6).round() / 1e6).collect()
    }

    /// Methods, golden 08, made by the reference implementation in Python.
    #[test]
    fn golden_quantiles() {
        let mut quantiles = Quantiles::default();
        fixture().into_iter().for_each(|x| quantiles.update(x));
        for (q, value) in [
            (0.0, 0.013_164_988_698_375_592),
            (0.25, 0.234_547_221_882_870_72),
            (0.5, 0.481_873_167_611_605_1),
            (0.9, 0.895_786_057_717_927_2),
            (0.99, 0.970_396_039_603_960_5),
            (1.0, 0.990_000_000_000_000_1),
        ] {
            let found = quantiles.quantile(q).unwrap();
            // The two implementations take another value of a bin as its own; both are within the error.
            assert!((found / value - 1.0).abs() < 2.0 * ERROR, "{q}: {found} for {value}");
        }
        assert_eq!(Quantiles::default().quantile(0.5), None);
        // What is promised is the distance from the value of that rank.
        for (q, value) in [
            (0.0, 0.013_156),
            (0.25, 0.236_068),
            (0.5, 0.485_292),
            (0.9, 0.888_544),
            (0.99, 0.978_714),
            (1.0, 0.991_869),
        ] {
            let found = quantiles.quantile(q).unwrap();
            assert!((found / value - 1.0).abs() <= ERROR, "{q}: {found} for {value}");
        }
    }

    #[test]
    fn any_state_is_read_back() {
        let read = |kept: &Quantiles| -> Quantiles {
            serde_json::from_str(&serde_json::to_string(kept).unwrap()).unwrap()
        };
        let mut kept = read(&Quantiles::default());
        assert_eq!((kept.count(), kept.quantile(0.5)), (0, None));
        [f64::MAX, f64::MAX, f64::NAN, f64::INFINITY, -1.0, 0.0].into_iter().for_each(|x| kept.update(x));
        let kept = read(&kept);
        assert_eq!((kept.count(), kept.quantile(0.0), kept.quantile(1.0)), (3, Some(0.0), Some(MOST)));
        let (mut empty, mut other) = (Quantiles::default(), kept.clone());
        empty.merge(&kept);
        other.merge(&Quantiles::default());
        assert_eq!((empty.count(), other.count()), (3, 3));
    }

    proptest! {
        #[test]
        fn answers_are_within_the_error_and_parts_add_up(
            values in prop::collection::vec(1e-6..1e6f64, 1..200), cut in 0usize..200, q in 0.0..=1.0f64,
        ) {
            let (mut whole, mut parts) = (Quantiles::default(), [Quantiles::default(), Quantiles::default()]);
            for (i, value) in values.iter().enumerate() {
                whole.update(*value);
                parts[usize::from(i < cut)].update(*value);
            }
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let rank = q * (sorted.len() - 1) as f64;
            let found = whole.quantile(q).unwrap();
            let (low, high) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
            prop_assert!(found >= low * (1.0 - 1.01 * ERROR) && found <= high * (1.0 + 1.01 * ERROR), "{found} {low} {high}");
            let [mut merged, other] = parts;
            merged.merge(&other);
            prop_assert_eq!(merged.quantile(q), Some(found));
            let kept: Quantiles = serde_json::from_str(&serde_json::to_string(&merged).unwrap()).unwrap();
            prop_assert_eq!(kept.quantile(q), Some(found));
        }

        #[test]
        fn both_ends_of_probabilities_are_sharp(values in prop::collection::vec(0.0..=1.0f64, 1..100), q in 0.0..=1.0f64) {
            let mut quantiles = ProbabilityQuantiles::default();
            values.iter().for_each(|p| quantiles.update(*p));
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let rank = q * (sorted.len() - 1) as f64;
            let found = quantiles.quantile(q).unwrap();
            let (low, high) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
            let slack = |p: f64| 0.0101 * p.min(1.0 - p) + 1e-6;
            prop_assert!(found >= low - slack(low) && found <= high + slack(high), "{found} {low} {high}");
        }
    }
}
