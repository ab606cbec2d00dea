//! Do things said to happen in 30 % of cases happen in 30 % of cases? Bins of probabilities, their
//! gap to the observed rate, and how sure one can be of that rate.

use crate::EvaluationError;
use crate::binomial::clopper_pearson;
use crate::error::{check_lengths, check_unit};
use crate::poisson_binomial::PoissonBinomial;

/// Confidence level of the interval in a [`ReliabilityBin`].
const BIN_LEVEL: f64 = 0.95;

/// One bin of a reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReliabilityBin {
    /// Lower edge, exclusive but for the first bin: half-way to the bin below, 0 for the first.
    pub lower: f64,
    /// Upper edge, inclusive: half-way to the bin above, 1 for the last.
    pub upper: f64,
    /// Mean probability of the rows.
    pub mean_probability: f64,
    /// Share of rows with a true outcome.
    pub observed_rate: f64,
    /// Number of rows, at least 1.
    pub n: usize,
    /// Lower end of the 95 % Clopper-Pearson interval of the observed rate.
    pub interval_lower: f64,
    /// Upper end of the 95 % Clopper-Pearson interval of the observed rate.
    pub interval_upper: f64,
    /// Lower end of the 95 % consistency band: where the observed rate lies if every forecast is right.
    pub consistent_lower: f64,
    /// Upper end of the consistency band.
    pub consistent_upper: f64,
}

/// Expected calibration error over bins of (nearly) equal numbers of rows: the mean over rows of
/// `|mean probability - observed rate|` of the row's bin, in [0, 1].
///
/// Bins are cut as in [`reliability_equal_mass`]. It is biased upwards, the more so the fewer rows a
/// bin has: show the number of rows beside it.
///
/// # Errors
/// Without rows or bins, at different lengths, or with a probability outside [0, 1].
pub fn ece_equal_mass(p: &[f64], y: &[bool], bins: usize) -> Result<f64, EvaluationError> {
    Ok(expected_gap(&bins_equal_mass(p, y, bins)?))
}

/// Expected calibration error over `bins` bins of equal width `(lo, hi]`, the first one closed; empty
/// bins count for nothing. In [0, 1].
///
/// # Errors
/// Without rows or bins, at different lengths, or with a probability outside [0, 1].
pub fn ece_equal_width(p: &[f64], y: &[bool], bins: usize) -> Result<f64, EvaluationError> {
    check(p, y, bins)?;
    let mut counts = vec![Count::default(); bins];
    for (p, y) in p.iter().zip(y) {
        counts[bin_of_width(*p, bins)].add(*p, *y);
    }
    counts.retain(|count| count.n > 0);
    Ok(expected_gap(&counts))
}

/// The squared calibration error over bins of equal mass without its bias:
/// `sum n_b/n [ (p_b - y_b)^2 - y_b (1 - y_b) / (n_b - 1) ]`, signed, so that a mean over samples of a
/// calibrated forecast is 0 (Bröcker 2012). Bins of one row are left out.
///
/// # Errors
/// Without rows or bins, at different lengths, or with a probability outside [0, 1].
pub fn debiased_squared_ece(p: &[f64], y: &[bool], bins: usize) -> Result<f64, EvaluationError> {
    let all = bins_equal_mass(p, y, bins)?;
    let term = |bin: &Count| {
        let (rate, n) = (bin.rate(), bin.n as f64);
        n * ((bin.mean() - rate).powi(2) - rate * (1.0 - rate) / (n - 1.0))
    };
    let used: Vec<&Count> = all.iter().filter(|bin| bin.n > 1).collect();
    let rows: usize = used.iter().map(|bin| bin.n).sum();
    Ok(if rows == 0 { 0.0 } else { used.into_iter().map(term).sum::<f64>() / rows as f64 })
}

/// Bins of (nearly) equal numbers of rows, lowest probabilities first, with intervals.
///
/// Rows are sorted and cut into `bins` parts, the first ones one row longer when the division leaves
/// a rest. Equal probabilities are never parted: a cut inside a tied mass moves to its upper end, so
/// the result does not depend on the order of rows, and there may be fewer bins than asked for.
///
/// # Errors
/// Without rows or bins, at different lengths, or with a probability outside [0, 1].
pub fn reliability_equal_mass(
    p: &[f64],
    y: &[bool],
    bins: usize,
) -> Result<Vec<ReliabilityBin>, EvaluationError> {
    let counts = bins_equal_mass(p, y, bins)?;
    let mut lower = 0.0;
    let mut out = Vec::with_capacity(counts.len());
    for (i, count) in counts.iter().enumerate() {
        let upper = counts.get(i + 1).map_or(1.0, |next| 0.5 * (count.max + next.min));
        let (interval_lower, interval_upper) = clopper_pearson(count.positives, count.n, BIN_LEVEL)?;
        let forecast = PoissonBinomial::new(&count.probabilities);
        let tail = (1.0 - BIN_LEVEL) / 2.0;
        let [consistent_lower, consistent_upper] =
            [tail, 1.0 - tail].map(|q| forecast.quantile(q) as f64 / count.n as f64);
        out.push(ReliabilityBin {
            lower,
            upper,
            mean_probability: count.mean(),
            observed_rate: count.rate(),
            n: count.n,
            interval_lower,
            interval_upper,
            consistent_lower,
            consistent_upper,
        });
        lower = upper;
    }
    Ok(out)
}

/// What is added up for a bin.
#[derive(Debug, Clone, Default)]
struct Count {
    probabilities: Vec<f64>,
    n: usize,
    positives: usize,
    sum: f64,
    min: f64,
    max: f64,
}

impl Count {
    fn add(&mut self, p: f64, y: bool) {
        (self.min, self.max) = if self.n == 0 { (p, p) } else { (self.min.min(p), self.max.max(p)) };
        self.probabilities.push(p);
        self.n += 1;
        self.positives += usize::from(y);
        self.sum += p;
    }

    fn mean(&self) -> f64 {
        // Rounding must not carry the mean of equal values away from them.
        (self.sum / self.n as f64).clamp(self.min, self.max)
    }

    fn rate(&self) -> f64 {
        self.positives as f64 / self.n as f64
    }
}

fn check(p: &[f64], y: &[bool], bins: usize) -> Result<(), EvaluationError> {
    check_lengths(p.len(), &[("outcomes", y.len())])?;
    check_unit("probability", p)?;
    if bins == 0 { Err(EvaluationError::Zero("bins")) } else { Ok(()) }
}

fn expected_gap(bins: &[Count]) -> f64 {
    let rows: usize = bins.iter().map(|bin| bin.n).sum();
    bins.iter().map(|bin| bin.n as f64 * (bin.mean() - bin.rate()).abs()).sum::<f64>() / rows as f64
}

/// The bin `(i / bins, (i + 1) / bins]` that holds `p`; 0 belongs to the first.
fn bin_of_width(p: f64, bins: usize) -> usize {
    let guess = ((p * bins as f64).ceil() as usize).clamp(1, bins) - 1;
    // The product may round across an edge on either side; the edge itself is what the bin says.
    let edge = |i: usize| i as f64 / bins as f64;
    match guess {
        i if i > 0 && p <= edge(i) => i - 1,
        i if i + 1 < bins && p > edge(i + 1) => i + 1,
        i => i,
    }
}

fn bins_equal_mass(p: &[f64], y: &[bool], bins: usize) -> Result<Vec<Count>, EvaluationError> {
    check(p, y, bins)?;
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_unstable_by(|a, b| p[*a].total_cmp(&p[*b]));
    let (size, longer) = (p.len() / bins, p.len() % bins);
    let mut out = Vec::with_capacity(bins.min(p.len()));
    let mut start = 0;
    for bin in 0..bins {
        let mut end = (bin + 1) * size + (bin + 1).min(longer);
        while end > 0 && end < order.len() && p[order[end]] == p[order[end - 1]] {
            end += 1;
        }
        if end <= start {
            continue;
        }
        let mut count = Count::default();
        for row in &order[start..end] {
            count.add(p[*row], y[*row]);
        }
        out.push(count);
        start = end;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probability::tests::{SCORES_A, assert_close, labels_a};
    use proptest::prelude::*;

    #[test]
    fn ece_agrees_with_the_references() {
        let y = labels_a();
        assert_close(ece_equal_width(&SCORES_A, &y, 5).unwrap(), 0.1706652, 1e-12);
        assert_close(ece_equal_mass(&SCORES_A, &y, 5).unwrap(), 0.1908278, 1e-12);
    }

    #[test]
    fn the_debiased_error_agrees_with_the_reference() {
        assert_close(debiased_squared_ece(&SCORES_A, &labels_a(), 5).unwrap(), 0.012219719360333333, 1e-12);
        assert_eq!(debiased_squared_ece(&[0.3], &[true], 5), Ok(0.0));
    }

    #[test]
    fn consistency_bands_agree_with_the_reference() {
        // Bins of equal width there: rows per bin 4, 4, 4, 5, 3; here each is measured by itself.
        let expected = [(4, 0.0, 0.5), (4, 0.0, 0.75), (4, 0.0, 1.0), (5, 0.2, 1.0), (3, 1.0 / 3.0, 1.0)];
        for (i, (n, lower, upper)) in expected.into_iter().enumerate() {
            let inside = |s: &f64| bin_of_width(*s, 5) == i;
            let (p, y): (Vec<f64>, Vec<bool>) =
                SCORES_A.iter().copied().zip(labels_a()).filter(|(s, _)| inside(s)).unzip();
            let bin = reliability_equal_mass(&p, &y, 1).unwrap()[0];
            assert_eq!(bin.n, n);
            assert_close(bin.consistent_lower, lower, 1e-12);
            assert_close(bin.consistent_upper, upper, 1e-12);
        }
    }

    #[test]
    fn an_edge_belongs_to_the_bin_below_it() {
        for bins in [1, 2, 3, 7, 10, 100, 1000] {
            assert_eq!(bin_of_width(0.0, bins), 0);
            for i in 0..bins {
                let edge = (i + 1) as f64 / bins as f64;
                assert_eq!(bin_of_width(edge, bins), i, "{edge} of {bins}");
                assert_eq!(bin_of_width(edge.next_up().min(1.0), bins), (i + 1).min(bins - 1));
            }
        }
    }

    #[test]
    fn what_is_undefined_is_an_error() {
        assert_eq!(ece_equal_width(&[], &[], 5), Err(EvaluationError::Empty));
        assert_eq!(ece_equal_mass(&[0.5], &[true], 0), Err(EvaluationError::Zero("bins")));
        assert!(reliability_equal_mass(&[-0.1], &[true], 1).is_err());
    }

    #[test]
    fn equal_probabilities_share_a_bin() {
        let p = [0.1, 0.4, 0.4, 0.4, 0.4, 0.4, 0.9, 0.9];
        let y = [false, true, false, true, false, false, true, true];
        let bins = reliability_equal_mass(&p, &y, 4).unwrap();
        let sizes: Vec<usize> = bins.iter().map(|b| b.n).collect();
        assert_eq!(sizes, [6, 2]);
        assert_eq!((bins[0].lower, bins[0].upper, bins[1].lower, bins[1].upper), (0.0, 0.65, 0.65, 1.0));
        assert_eq!(bins[1].observed_rate, 1.0);
        assert_eq!((bins[1].mean_probability, bins[1].interval_upper), (0.9, 1.0));
    }

    #[test]
    fn more_bins_than_rows_is_a_bin_a_row() {
        let bins = reliability_equal_mass(&[0.2, 0.1, 0.3], &[true, false, true], 10).unwrap();
        assert_eq!(bins.iter().map(|b| b.n).collect::<Vec<_>>(), [1, 1, 1]);
    }

    proptest! {
        #[test]
        fn bins_partition_rows_and_do_not_depend_on_their_order(
            rows in prop::collection::vec((0u8..=20, any::<bool>()), 1..60), bins in 1usize..12,
        ) {
            let columns = |rows: &[(u8, bool)]| -> (Vec<f64>, Vec<bool>) {
                rows.iter().map(|r| (f64::from(r.0) / 20.0, r.1)).unzip()
            };
            let (p, y) = columns(&rows);
            let found = reliability_equal_mass(&p, &y, bins).unwrap();
            prop_assert_eq!(found.iter().map(|b| b.n).sum::<usize>(), rows.len());
            prop_assert!(found.len() <= bins);
            prop_assert!(found.windows(2).all(|w| w[0].upper == w[1].lower));
            for bin in &found {
                prop_assert!(bin.lower <= bin.mean_probability && bin.mean_probability <= bin.upper);
                prop_assert!(bin.interval_lower <= bin.observed_rate && bin.observed_rate <= bin.interval_upper);
            }
            let (ece, width) = (ece_equal_mass(&p, &y, bins).unwrap(), ece_equal_width(&p, &y, bins).unwrap());
            prop_assert!((0.0..=1.0).contains(&ece) && (0.0..=1.0).contains(&width));

            let reversed: Vec<_> = rows.iter().rev().copied().collect();
            let (p, y) = columns(&reversed);
            prop_assert_eq!(reliability_equal_mass(&p, &y, bins).unwrap(), found);
        }
    }
}
