//! How far a figure might have come out differently on other data: percentile bootstrap by groups.
//! Which rows belong together is the caller's knowledge; randomness comes in as an argument.

use crate::EvaluationError;
use crate::error::check_level;
use crate::quantile::quantile;
use rand::{Rng, RngExt};

/// With more rows than this, resamples hold as many groups as make up about so many rows, and the deviations they
/// show are scaled down by the root of the share: the m-out-of-n bootstrap (Bickel, Götze and van Zwet 1997), right
/// for any figure whose error falls with the root of the sample, at a cost that no longer grows with it.
const MOST_ROWS: usize = 20_000;

/// A resample holds at least so many groups (or all there are), however large they are.
const LEAST_GROUPS: usize = 1_000;

/// Resamples that are drawn before their statistics are computed side by side.
const AT_ONCE: usize = 32;

/// A two-sided interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
    /// Median over the resamples.
    pub median: f64,
    /// Resamples on which the statistic had no value; they are left out of the percentiles.
    pub undefined: usize,
}

impl Interval {
    /// The same interval around `value`: for distances such as an ECE, which are biased upwards. Resamples repeat
    /// rows, which adds noise and so biases them once more; their median tells by how much.
    #[must_use]
    pub fn centred_on(self, value: f64) -> Self {
        let shift = value - self.median;
        Self { lower: self.lower + shift, upper: self.upper + shift, median: value, ..self }
    }
}

/// The percentile bootstrap interval of one statistic.
///
/// `groups[row]` names the group of a row: whole groups (conversations, templates, near-duplicates) are
/// drawn with replacement, as many as there are, because rows of a group are not independent.
/// `statistic` gets the rows of a resample (repeated as often as drawn) and may answer `None` (or a number that is not
/// finite) where it is undefined, for instance on a resample of one class. For the difference of two routers let the closure
/// compute both on the same rows: the pairing is what makes the interval narrow.
///
/// The same `rng` state and the same grouping give the same interval on every machine.
///
/// # Errors
/// With fewer than two groups, no resample, a level outside (0, 1), or a statistic that is undefined on
/// more than half of the resamples.
pub fn percentile_interval<G: Ord, R: Rng + ?Sized>(
    groups: &[G],
    statistic: impl Fn(&[usize]) -> Option<f64> + Sync,
    resamples: usize,
    level: f64,
    rng: &mut R,
) -> Result<Interval, EvaluationError> {
    let [interval] = percentile_intervals(groups, |rows| [statistic(rows)], resamples, level, rng)?;
    Ok(interval)
}

/// [`percentile_interval`] for several statistics of the same resamples.
///
/// # Errors
/// As [`percentile_interval`], for the first statistic concerned.
pub fn percentile_intervals<const K: usize, G: Ord, R: Rng + ?Sized>(
    groups: &[G],
    statistics: impl Fn(&[usize]) -> [Option<f64>; K] + Sync,
    resamples: usize,
    level: f64,
    rng: &mut R,
) -> Result<[Interval; K], EvaluationError> {
    let found = shared_intervals(groups, |rows| statistics(rows).to_vec(), resamples, level, rng)?;
    let found: Vec<Interval> = found.into_iter().collect::<Result<_, _>>()?;
    Ok(std::array::from_fn(|i| found[i]))
}

/// [`percentile_interval`] for as many statistics of the same resamples as `statistics` gives, always in the same
/// order. Statistics are computed on every core; the result does not depend on how many there are.
///
/// # Errors
/// As [`percentile_interval`]; what is wrong with one statistic only is said in its place.
pub fn shared_intervals<G: Ord, R: Rng + ?Sized>(
    groups: &[G],
    statistics: impl Fn(&[usize]) -> Vec<Option<f64>> + Sync,
    resamples: usize,
    level: f64,
    rng: &mut R,
) -> Result<Vec<Result<Interval, EvaluationError>>, EvaluationError> {
    check_level(level)?;
    if resamples == 0 {
        return Err(EvaluationError::Zero("resamples"));
    }
    if groups.is_empty() {
        return Err(EvaluationError::Empty);
    }
    let members = Members::new(groups);
    if members.len() < 2 {
        return Err(EvaluationError::OneGroup);
    }
    let drawn = groups_of_a_resample(members.len(), groups.len());
    let all: Vec<usize> = (0..groups.len()).collect();
    let whole = statistics(&all);
    let mut values: Vec<Vec<f64>> = whole.iter().map(|_| Vec::with_capacity(resamples)).collect();
    let mut draw = || {
        let mut sample = Vec::with_capacity(groups.len().min(2 * MOST_ROWS));
        for _ in 0..drawn {
            sample.extend_from_slice(members.of(rng.random_range(0..members.len())));
        }
        sample
    };
    for first in (0..resamples).step_by(AT_ONCE) {
        let samples: Vec<Vec<usize>> = (first..resamples.min(first + AT_ONCE)).map(|_| draw()).collect();
        for found in on_every_core(&samples, &statistics) {
            for (values, value) in values.iter_mut().zip(found) {
                values.extend(value.filter(|v| v.is_finite()));
            }
        }
    }
    let mut intervals: Vec<_> =
        values.iter_mut().map(|values| interval_of(values, resamples, level)).collect();
    if drawn < members.len() {
        let scale = (drawn as f64 / members.len() as f64).sqrt();
        for (interval, whole) in intervals.iter_mut().zip(whole) {
            let (Some(whole), Ok(interval)) = (whole, interval) else { continue };
            for end in [&mut interval.lower, &mut interval.upper, &mut interval.median] {
                *end = whole + scale * (*end - whole);
            }
        }
    }
    Ok(intervals)
}

fn groups_of_a_resample(groups: usize, rows: usize) -> usize {
    if rows <= MOST_ROWS { groups } else { (groups * MOST_ROWS / rows).max(LEAST_GROUPS).min(groups) }
}

/// The statistics of each sample, in the order of the samples.
fn on_every_core<T: Send>(samples: &[Vec<usize>], statistics: &(impl Fn(&[usize]) -> T + Sync)) -> Vec<T> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let size = samples.len().div_ceil(cores).max(1);
    std::thread::scope(|scope| {
        let compute = |part: &[Vec<usize>]| part.iter().map(|rows| statistics(rows)).collect::<Vec<T>>();
        let parts: Vec<_> = samples.chunks(size).map(|part| scope.spawn(move || compute(part))).collect();
        let join = |part: std::thread::ScopedJoinHandle<'_, Vec<T>>| match part.join() {
            Ok(found) => found,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        parts.into_iter().flat_map(join).collect()
    })
}

/// The rows of each group, groups in the order of their first row: all in one column, so that many small groups
/// take no more memory than a few large ones.
struct Members {
    rows: Vec<usize>,
    /// Where each group starts, and the end.
    starts: Vec<usize>,
}

impl Members {
    fn new<G: Ord>(groups: &[G]) -> Self {
        let mut rows: Vec<usize> = (0..groups.len()).collect();
        rows.sort_unstable_by(|a, b| groups[*a].cmp(&groups[*b]).then(a.cmp(b)));
        let mut by_group: Vec<&[usize]> = rows.chunk_by(|a, b| groups[*a] == groups[*b]).collect();
        by_group.sort_unstable_by_key(|group| group[0]);
        let starts = std::iter::once(0).chain(by_group.iter().scan(0, |end, group| {
            *end += group.len();
            Some(*end)
        }));
        Self { starts: starts.collect(), rows: by_group.concat() }
    }

    /// Number of groups.
    fn len(&self) -> usize {
        self.starts.len() - 1
    }

    fn of(&self, group: usize) -> &[usize] {
        &self.rows[self.starts[group]..self.starts[group + 1]]
    }
}

fn interval_of(values: &mut [f64], resamples: usize, level: f64) -> Result<Interval, EvaluationError> {
    let undefined = resamples - values.len();
    values.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - level) / 2.0;
    match [tail, 1.0 - tail, 0.5].map(|q| quantile(values, q)) {
        [Some(lower), Some(upper), Some(median)] if 2 * undefined <= resamples => {
            Ok(Interval { lower, upper, median, undefined })
        }
        _ => Err(EvaluationError::MostlyUndefined { undefined, resamples }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn mean(values: &[f64], rows: &[usize]) -> Option<f64> {
        Some(rows.iter().map(|row| values[*row]).sum::<f64>() / rows.len() as f64)
    }

    /// Share of 500 simulations in which the 95 % interval of a mean covers the true mean 0.3, when every
    /// draw appears in two rows and `group_of` says which rows belong together.
    fn coverage(group_of: impl Fn(usize) -> usize) -> f64 {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let groups: Vec<usize> = (0..200).map(group_of).collect();
        let mut covered = 0;
        for _ in 0..500 {
            let draws: Vec<f64> = (0..100).map(|_| f64::from(u8::from(rng.random_bool(0.3)))).collect();
            let values: Vec<f64> = (0..200).map(|row| draws[row / 2]).collect();
            let found =
                percentile_interval(&groups, |rows| mean(&values, rows), 400, 0.95, &mut rng).unwrap();
            covered += usize::from(found.lower <= 0.3 && 0.3 <= found.upper);
        }
        covered as f64 / 500.0
    }

    #[test]
    fn intervals_by_group_cover_as_often_as_they_say() {
        // Three binomial standard errors at 500 simulations are 0.029.
        let by_group = coverage(|row| row / 2);
        assert!((by_group - 0.95).abs() < 0.03, "coverage {by_group}");
        // Taking the two copies of a draw for independent rows shrinks the interval by the root of two:
        // it then covers 83 % only. This is what groups are for.
        let by_row = coverage(|row| row);
        assert!((by_row - 0.834).abs() < 0.05, "coverage {by_row}");
    }

    #[test]
    fn every_resample_draws_whole_groups_as_many_as_there_are() {
        let groups = ["b", "a", "b", "c", "b"];
        let whole = |rows: &[usize]| {
            let count = |row: usize| rows.iter().filter(|r| **r == row).count();
            assert!(count(0) == count(2) && count(2) == count(4));
            assert_eq!(count(0) + count(1) + count(3), 3);
            Some(rows.len() as f64)
        };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let found = percentile_interval(&groups, whole, 200, 0.9, &mut rng).unwrap();
        assert!(found.lower >= 3.0 && found.upper <= 9.0);
    }

    #[test]
    fn a_paired_difference_of_a_statistic_with_itself_is_nought() {
        let values: Vec<f64> = (0..30).map(f64::from).collect();
        let groups: Vec<usize> = (0..30).collect();
        let difference = |rows: &[usize]| Some(mean(&values, rows)? - mean(&values, rows)?);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let found = percentile_interval(&groups, difference, 100, 0.95, &mut rng).unwrap();
        assert_eq!(found, Interval { lower: 0.0, upper: 0.0, median: 0.0, undefined: 0 });
    }

    #[test]
    fn a_seed_fixes_the_interval_and_shared_resamples_change_nothing() {
        let values: Vec<f64> = (0..50).map(|i| f64::from(i * i % 17)).collect();
        let groups: Vec<usize> = (0..50).map(|i| i / 3).collect();
        let rng = || ChaCha8Rng::seed_from_u64(3);
        let one = || percentile_interval(&groups, |rows| mean(&values, rows), 300, 0.95, &mut rng()).unwrap();
        let both = |rows: &[usize]| [Some(rows.len() as f64), mean(&values, rows)];
        let [_, second] = percentile_intervals(&groups, both, 300, 0.95, &mut rng()).unwrap();
        assert_eq!(one(), one());
        assert_eq!(one(), second);
        assert!(one().lower < one().upper);
    }

    #[test]
    fn an_interval_is_centred_without_changing_its_width() {
        let interval = Interval { lower: 0.25, upper: 1.0, median: 0.5, undefined: 3 };
        let centred = interval.centred_on(0.25);
        assert_eq!(centred, Interval { lower: 0.0, upper: 0.75, median: 0.25, undefined: 3 });
    }

    #[test]
    fn large_samples_are_resampled_in_part_and_scaled() {
        let mut rng = ChaCha8Rng::seed_from_u64(13);
        let (rows, mut covered) = (4 * MOST_ROWS, 0);
        let groups: Vec<usize> = (0..rows).collect();
        for _ in 0..60 {
            let values: Vec<f64> = (0..rows).map(|_| f64::from(u8::from(rng.random_bool(0.3)))).collect();
            let found =
                percentile_interval(&groups, |rows| mean(&values, rows), 100, 0.95, &mut rng).unwrap();
            // The standard error of all rows, not of those drawn: 1.96 of them each way.
            let width = 2.0 * 1.96 * (0.21 / rows as f64).sqrt();
            assert!(((found.upper - found.lower) / width - 1.0).abs() < 0.35);
            covered += usize::from(found.lower <= 0.3 && 0.3 <= found.upper);
        }
        assert!(covered >= 51, "{covered} of 60");
    }

    #[test]
    fn undefined_resamples_are_counted_and_too_many_refused() {
        let groups: Vec<usize> = (0..10).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        // Row 0 is missing from about (9/10)^10 = 35 % of resamples.
        let with_row_0 = |rows: &[usize]| rows.contains(&0).then_some(1.0);
        let found = percentile_interval(&groups, with_row_0, 1000, 0.95, &mut rng).unwrap();
        assert!((280..420).contains(&found.undefined), "{}", found.undefined);
        let without = |rows: &[usize]| (!rows.contains(&0)).then_some(1.0);
        let refused = percentile_interval(&groups, without, 1000, 0.95, &mut rng);
        assert!(matches!(refused, Err(EvaluationError::MostlyUndefined { .. })));
        let never = percentile_interval(&groups, |_| Some(f64::NAN), 10, 0.95, &mut rng);
        assert_eq!(never, Err(EvaluationError::MostlyUndefined { undefined: 10, resamples: 10 }));
    }

    #[test]
    fn what_cannot_be_resampled_is_refused() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut run = |groups: &[u8], resamples, level| {
            percentile_interval(groups, |_| Some(1.0), resamples, level, &mut rng)
        };
        assert_eq!(run(&[], 10, 0.95), Err(EvaluationError::Empty));
        assert_eq!(run(&[1, 1], 10, 0.95), Err(EvaluationError::OneGroup));
        assert_eq!(run(&[1, 2], 0, 0.95), Err(EvaluationError::Zero("resamples")));
        assert_eq!(run(&[1, 2], 10, 1.0), Err(EvaluationError::BadLevel(1.0)));
        assert!(run(&[1, 2], 10, f64::NAN).is_err());
    }
}
