//! Whether a window of numbers comes from where a reference came from (methods section 8): the population stability
//! index with limits of its own distribution instead of folklore, and the two-sample Kolmogorov-Smirnov test.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ChiSquared, ContinuousCDF, DiscreteCDF, Hypergeometric};
use thiserror::Error;

/// A share below this counts as this, so that an empty bin has a logarithm.
const FLOOR: f64 = 1e-4;

/// Why windows cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum MonitoringError {
    /// Fewer numbers than can be compared.
    #[error("{found} numbers, at least {needed} are needed")]
    TooFew {
        /// Numbers given.
        found: usize,
        /// Numbers needed.
        needed: usize,
    },
    /// A number without a place in the order.
    #[error("number {0} is NaN")]
    Nan(usize),
    /// Fewer than two bins.
    #[error("{0} bins, at least 2 are needed")]
    TooFewBins(usize),
}

/// A reference cut into bins of equal mass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// Upper ends of all bins but the last: what equals one lies below it.
    edges: Vec<f64>,
    shares: Vec<f64>,
    rows: usize,
}

/// How far a window lies from its reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Psi {
    /// The population stability index, at least 0.
    pub value: f64,
    /// How probable one as large is where nothing has changed: `nm/(n+m)` times it is χ² with a degree of freedom less
    /// than bins (Yurdakul 2018, "Statistical Properties of Population Stability Index"). Of counts that are too small
    /// for that, an exact test's: see where the index is made.
    pub p_value: f64,
}

impl Reference {
    /// Cuts a reference into `bins` at its quantiles (linear interpolation); bins of the same edge become one.
    ///
    /// # Errors
    /// When there are fewer numbers than bins, fewer than two bins, or a number is NaN.
    pub fn new(reference: &[f64], bins: usize) -> Result<Self, MonitoringError> {
        if bins < 2 {
            return Err(MonitoringError::TooFewBins(bins));
        }
        let sorted = sorted(reference, bins)?;
        let edge = |i: usize| {
            let at = i as f64 / bins as f64 * (sorted.len() - 1) as f64;
            let below = at.floor() as usize;
            let above = sorted[(below + 1).min(sorted.len() - 1)];
            sorted[below] + (at - at.floor()) * (above - sorted[below])
        };
        let mut edges: Vec<f64> = (1..bins).map(edge).collect();
        edges.dedup();
        let shares = shares(&edges, reference);
        Ok(Self { edges, shares, rows: reference.len() })
    }

    /// Compares a window with it.
    ///
    /// Where many numbers are equal, a bin may hold little. Bins of less than half of an equal share leave the χ² and
    /// are tested together, exactly; the p-value is then twice the smaller of both.
    ///
    /// # Errors
    /// When the window is empty or holds NaN.
    pub fn compare(&self, window: &[f64]) -> Result<Psi, MonitoringError> {
        sorted(window, 1)?;
        let (n, m) = (self.rows, window.len());
        let now = shares(&self.edges, window);
        let index = psi((&self.shares, n), (&now, m));
        let least = 0.5 / self.shares.len() as f64;
        let in_small = |of: &[f64], rows: usize| -> u64 {
            let small = self.shares.iter().zip(of).filter(|(share, _)| **share < least);
            small
                .map(|(_, share)| if *share > FLOOR { (share * rows as f64).round() as u64 } else { 0 })
                .sum()
        };
        if self.shares.iter().all(|share| *share >= least) {
            return Ok(index);
        }
        let of_large = |of: &[f64]| -> Vec<f64> {
            let pairs = self.shares.iter().zip(of);
            let kept: Vec<f64> =
                pairs.filter(|(share, _)| **share >= least).map(|(_, share)| *share).collect();
            let all: f64 = kept.iter().sum();
            kept.into_iter().map(|share| share / all).collect()
        };
        let (small, small_now) = (in_small(&self.shares, n), in_small(&now, m));
        let exact = moved_by_chance((small, n as u64), (small_now, m as u64));
        let (left, left_now) = (n - (small as usize).min(n), m - (small_now as usize).min(m));
        let large = psi((&of_large(&self.shares), left), (&of_large(&now), left_now)).p_value;
        Ok(Psi { value: index.value, p_value: (2.0 * large.min(exact)).min(1.0) })
    }
}

/// The index of shares of `n` rows and of `m`, bin by bin.
fn psi((reference, n): (&[f64], usize), (window, m): (&[f64], usize)) -> Psi {
    let value: f64 = reference.iter().zip(window).map(|(a, b)| (a - b) * (a / b).ln()).sum();
    let (n, m) = (n as f64, m as f64);
    let freedom = reference.len().saturating_sub(1).max(1) as f64;
    let p_value = ChiSquared::new(freedom).map_or(1.0, |law| law.sf(value * n * m / (n + m)));
    Psi { value, p_value }
}

/// The index of kinds, such as scripts, that were counted in a reference and in a window; one kind of both: nothing has
/// changed.
///
/// The p-value is exact however rare a kind is, where χ² would call one that stays away a change: Fisher's test of each
/// kind against all others, Bonferroni over the kinds.
pub fn psi_of_counts(reference: &[u64], window: &[u64]) -> Psi {
    let total = |counts: &[u64]| counts.iter().sum::<u64>() as usize;
    let (n, m) = (total(reference), total(window));
    let of = |counts: &[u64], all: usize| {
        counts.iter().map(|c| (*c as f64 / all.max(1) as f64).max(FLOOR)).collect::<Vec<f64>>()
    };
    let value = psi((&of(reference, n), n), (&of(window, m), m)).value;
    Psi { value, p_value: most_moved(reference, window).map_or(1.0, |(_, p_value)| p_value) }
}

/// The kind that has moved most beyond chance, and how probable it is that any moves as far where nothing has changed:
/// Fisher's exact test of each kind against all others, Bonferroni over the kinds. `None` without kinds.
pub(crate) fn most_moved(reference: &[u64], window: &[u64]) -> Option<(usize, f64)> {
    let (n, m) = (reference.iter().sum(), window.iter().sum());
    let kinds = reference.iter().zip(window).filter(|(a, b)| **a + **b > 0).count();
    // Of two kinds, one moves as the other does.
    let tests = if kinds == 2 { 1.0 } else { kinds as f64 };
    let counted = reference.iter().zip(window).enumerate();
    let of = |(kind, (a, b)): (usize, (&u64, &u64))| (kind, moved_by_chance((*a, n), (*b, m)));
    let (kind, p_value) = counted.map(of).min_by(|a, b| a.1.total_cmp(&b.1))?;
    Some((kind, (tests * p_value).min(1.0)))
}

/// How probable counts as far apart are, `a` of `n` before and `b` of `m` now, where shares are the same: twice the
/// smaller tail of the hypergeometric distribution, at most 1 (Fisher's exact test).
fn moved_by_chance((a, n): (u64, u64), (b, m): (u64, u64)) -> f64 {
    let Ok(law) = Hypergeometric::new(n + m, (a + b).min(n + m), m) else { return 1.0 };
    let above = if b == 0 { 1.0 } else { law.sf(b - 1) };
    (2.0 * above.min(law.cdf(b))).min(1.0)
}

fn shares(edges: &[f64], numbers: &[f64]) -> Vec<f64> {
    let mut counts = vec![0usize; edges.len() + 1];
    for number in numbers {
        counts[edges.partition_point(|edge| edge < number)] += 1;
    }
    counts.into_iter().map(|count| (count as f64 / numbers.len() as f64).max(FLOOR)).collect()
}

fn sorted(numbers: &[f64], needed: usize) -> Result<Vec<f64>, MonitoringError> {
    if numbers.len() < needed.max(1) {
        return Err(MonitoringError::TooFew { found: numbers.len(), needed: needed.max(1) });
    }
    if let Some(at) = numbers.iter().position(|number| number.is_nan()) {
        return Err(MonitoringError::Nan(at));
    }
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    Ok(sorted)
}

/// The largest distance of two empirical distributions, and how probable one as large is where they are the same, with
/// Stephens' correction for small samples (1970, "Use of the Kolmogorov-Smirnov, Cramér-von Mises and related
/// statistics without extensive tables").
///
/// # Errors
/// When either is empty or holds NaN.
pub fn kolmogorov_smirnov(a: &[f64], b: &[f64]) -> Result<(f64, f64), MonitoringError> {
    let (a, b) = (sorted(a, 1)?, sorted(b, 1)?);
    let (n, m) = (a.len() as f64, b.len() as f64);
    let (mut i, mut j, mut distance) = (0, 0, 0.0_f64);
    while i < a.len() && j < b.len() {
        let at = a[i].min(b[j]);
        i += a[i..].iter().take_while(|x| **x <= at).count();
        j += b[j..].iter().take_while(|x| **x <= at).count();
        distance = distance.max((i as f64 / n - j as f64 / m).abs());
    }
    let root = (n * m / (n + m)).sqrt();
    Ok((distance, kolmogorov((root + 0.12 + 0.11 / root) * distance)))
}

/// P(K > x) of Kolmogorov's distribution: whichever of its two series converges fast.
fn kolmogorov(x: f64) -> f64 {
    use std::f64::consts::PI;
    if x <= 0.0 {
        return 1.0;
    }
    let terms = (1..=20).map(f64::from);
    let probability = if x > 1.18 {
        let term = |j: f64| (-2.0 * j * j * x * x).exp() * if j % 2.0 == 1.0 { 1.0 } else { -1.0 };
        2.0 * terms.map(term).sum::<f64>()
    } else {
        let term = |j: f64| (-(2.0 * j - 1.0).powi(2) * PI * PI / (8.0 * x * x)).exp();
        1.0 - (2.0 * PI).sqrt() / x * terms.map(term).sum::<f64>()
    };
    probability.clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn rounded(x: f64) -> f64 {
        (x * 1e6).round() / 1e6
    }

    /// The fixtures of methods, golden 08.
    fn fixtures() -> (Vec<f64>, Vec<f64>) {
        let golden_ratio = (5.0_f64.sqrt() - 1.0) / 2.0;
        let reference = (1..=60).map(|i| rounded((f64::from(i) * golden_ratio).fract())).collect();
        let current =
            (1..=40).map(|i| rounded((f64::from(i) * (2.0_f64.sqrt() - 1.0)).fract().powf(1.5))).collect();
        (reference, current)
    }

    #[test]
    fn golden_psi() {
        let (reference, current) = fixtures();
        let psi = Reference::new(&reference, 5).unwrap().compare(&current).unwrap();
        assert!((psi.value - 0.136_915_028_821_945_67).abs() < 1e-12, "{psi:?}");
        assert!((psi.p_value - 0.511_159_734_030_433_4).abs() < 1e-9, "{psi:?}");
    }

    #[test]
    fn golden_kolmogorov_smirnov() {
        let (reference, current) = fixtures();
        let (distance, p) = kolmogorov_smirnov(&reference, &current).unwrap();
        assert!((distance - 0.183_333_333_333_333_32).abs() < 1e-12);
        assert!((p - 0.360_113_705_714_199_04).abs() < 1e-9, "{p}");
        let table = [
            (0.5, 0.963_945_243_664_875_1),
            (0.8, 0.544_142_411_574_198_1),
            (1.0, 0.269_999_671_677_354_56),
            (1.36, 0.049_485_876_755_377_88),
            (1.63, 0.009_846_364_888_486_529),
        ];
        for (x, sf) in table {
            assert!((kolmogorov(x) - sf).abs() < 1e-12, "{x}: {}", kolmogorov(x));
        }
    }

    #[test]
    fn false_alarms_come_as_often_as_stated() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut draw = |n: usize| (0..n).map(|_| rng.random::<f64>().powi(2)).collect::<Vec<f64>>();
        let (mut of_psi, mut of_ks) = (0, 0);
        for _ in 0..2_000 {
            let (reference, window) = (draw(500), draw(300));
            of_psi +=
                u32::from(Reference::new(&reference, 10).unwrap().compare(&window).unwrap().p_value < 0.05);
            of_ks += u32::from(kolmogorov_smirnov(&reference, &window).unwrap().1 < 0.05);
        }
        // 100 expected; three deviations are 29.
        assert!((71..=129).contains(&of_psi), "{of_psi} of the PSI");
        assert!((71..=129).contains(&of_ks), "{of_ks} of Kolmogorov and Smirnov");
    }

    /// At the level of a watch, where χ² alone errs 40 times as often as stated: kinds of every hundredth query.
    #[test]
    fn rare_kinds_and_small_bins_are_no_change() {
        const LEVEL: f64 = 1e-3;
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let (mut of_kinds, mut of_bins, mut chi) = (0, 0, 0);
        for _ in 0..10_000 {
            let mut draw = |n: usize| -> Vec<f64> {
                let one = |u: f64| if u < 0.01 { 1.0 } else { 0.0 };
                (0..n).map(|_| one(rng.random())).collect()
            };
            let (reference, window) = (draw(800), draw(200));
            let count = |of: &[f64]| of.iter().sum::<f64>() as u64;
            let (a, b) = (count(&reference), count(&window));
            of_kinds += u32::from(psi_of_counts(&[800 - a, a], &[200 - b, b]).p_value < LEVEL);
            of_bins +=
                u32::from(Reference::new(&reference, 10).unwrap().compare(&window).unwrap().p_value < LEVEL);
            let of = |c: u64, n: f64| [1.0 - c as f64 / n, c as f64 / n].map(|share| share.max(FLOOR));
            chi += u32::from(psi((&of(a, 800.0), 800), (&of(b, 200.0), 200)).p_value < LEVEL);
        }
        // 10 at most, and three deviations.
        assert!(of_kinds <= 19 && of_bins <= 19, "{of_kinds} of kinds, {of_bins} of bins");
        assert!(chi > 40, "{chi}: χ² would do as well");
    }

    #[test]
    fn fisher_agrees_with_the_tail_added_up() {
        // 3 of 10 before, 9 of 10 now: P(X >= 9) = (C(12,9) C(8,1) + C(12,10)) / C(20,10), twice.
        let p = 2.0 * (220.0 * 8.0 + 66.0) / 184_756.0;
        assert!((moved_by_chance((3, 10), (9, 10)) - p).abs() < 1e-12);
        assert!((moved_by_chance((9, 10), (3, 10)) - p).abs() < 1e-12, "the other direction");
        let (kind, of_three) = most_moved(&[3, 4, 3], &[9, 1, 0]).unwrap();
        assert!(kind == 0 && (of_three - 3.0 * p).abs() < 1e-12, "{kind} {of_three}");
        let of_two = psi_of_counts(&[3, 7], &[9, 1]).p_value;
        assert!((of_two - p).abs() < 1e-12, "{of_two}");
        assert_eq!((most_moved(&[], &[]), moved_by_chance((0, 5), (0, 5))), (None, 1.0));
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        assert_eq!(Reference::new(&[0.1; 9], 10), Err(MonitoringError::TooFew { found: 9, needed: 10 }));
        assert_eq!(Reference::new(&[0.1; 9], 1), Err(MonitoringError::TooFewBins(1)));
        let constant = Reference::new(&[0.5; 50], 10).unwrap();
        assert!(constant.compare(&[0.5; 20]).unwrap().p_value > 0.99);
        assert!(constant.compare(&[0.9; 20]).unwrap().p_value < 1e-6);
        assert_eq!(constant.compare(&[0.1, f64::NAN]), Err(MonitoringError::Nan(1)));
        assert!(constant.compare(&[]).is_err() && kolmogorov_smirnov(&[], &[0.5]).is_err());
    }

    proptest! {
        #[test]
        fn order_and_scale_do_not_matter(a in prop::collection::vec(0.0..1.0f64, 20..80), b in prop::collection::vec(0.0..1.0f64, 1..80)) {
            let (distance, p) = kolmogorov_smirnov(&a, &b).unwrap();
            let scaled = |x: &[f64]| x.iter().rev().map(|v| 3.0 * v + 1.0).collect::<Vec<_>>();
            let (again, _) = kolmogorov_smirnov(&scaled(&a), &scaled(&b)).unwrap();
            prop_assert!((0.0..=1.0).contains(&distance) && (0.0..=1.0).contains(&p));
            prop_assert!((distance - again).abs() < 1e-12);
            prop_assert!(Reference::new(&a, 10).unwrap().compare(&b).unwrap().value >= 0.0);
        }
    }
}
