//! Inductive Venn-Abers prediction: two isotonic fits per query, one that counts it as a win of strong
//! and one that does not. Their values bound the probability; how far they lie apart says how much
//! the calibration rows know about scores like this one.

use crate::CalibrationError;
use crate::sample::{Pool, Sample};

/// The two fits at one score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// The isotonic value when the query is counted as a loss, in [0, 1].
    pub lower: f64,
    /// The isotonic value when it is counted as a win, in [`Self::lower`, 1].
    pub upper: f64,
}

impl Bounds {
    /// The one probability that makes the best of both for the log loss: `p1 / (1 - p0 + p1)`
    /// (Vovk, Petej and Fedorova 2015, section 4). In (0, 1) for any finite sample.
    pub fn merged(self) -> f64 {
        self.upper / (1.0 - self.lower + self.upper)
    }
}

/// Where the bounds change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Knot {
    /// A score of a calibration row.
    pub score: f64,
    /// The bounds at exactly this score: the query joins the rows that have it.
    pub at: Bounds,
    /// The bounds above it, up to the next knot.
    pub above: Bounds,
}

/// The bounds for every score: a step function.
#[derive(Debug, Clone, PartialEq)]
pub struct VennAbers {
    below: Bounds,
    knots: Vec<Knot>,
}

impl VennAbers {
    /// A step function of known steps.
    ///
    /// # Errors
    /// Without a knot, or when scores do not rise, bounds fall or leave [0, 1], or lower exceeds upper.
    pub fn new(below: Bounds, knots: Vec<Knot>) -> Result<Self, CalibrationError> {
        let steps: Vec<Bounds> =
            std::iter::once(below).chain(knots.iter().flat_map(|k| [k.at, k.above])).collect();
        let sound = |b: &Bounds| 0.0 <= b.lower && b.lower <= b.upper && b.upper <= 1.0;
        let rising = steps.windows(2).all(|w| w[0].lower <= w[1].lower && w[0].upper <= w[1].upper);
        let scores = knots.windows(2).all(|w| w[0].score < w[1].score);
        let finite = knots.iter().all(|k| k.score.is_finite());
        if knots.is_empty() || !steps.iter().all(sound) || !rising || !scores || !finite {
            return Err(CalibrationError::BadKnots);
        }
        Ok(Self { below, knots })
    }

    /// Fits both functions for every score there can be, in O(n log n); the query weighs 1.
    pub fn fit(sample: &Sample) -> Self {
        let pools = sample.pools();
        let upper = winning_query(&pools);
        // Losing is winning in the mirror: scores and labels turned round.
        let mirrored: Vec<Pool> = pools
            .iter()
            .rev()
            .map(|p| Pool { logit: -p.logit, weight: p.weight, positive: p.weight - p.positive })
            .collect();
        let lower: Vec<f64> = winning_query(&mirrored).into_iter().rev().map(|p| 1.0 - p).collect();
        // Position 2j lies below pool j, 2j + 1 at it. Rounding must neither cross nor turn the bounds.
        let mut bounds: Vec<Bounds> = Vec::with_capacity(lower.len());
        for (lower, upper) in lower.into_iter().zip(upper) {
            let floor = bounds.last().copied().unwrap_or(Bounds { lower: 0.0, upper: 0.0 });
            let upper = upper.clamp(floor.upper, 1.0);
            bounds.push(Bounds { lower: lower.clamp(floor.lower, 1.0).min(upper), upper });
        }
        let mut knots: Vec<Knot> = Vec::new();
        for (j, pool) in pools.iter().enumerate() {
            let (at, above) = (bounds[2 * j + 1], bounds[2 * j + 2]);
            let before = knots.last().map_or(bounds[0], |knot| knot.above);
            if at != before || above != before {
                knots.push(Knot { score: pool.logit, at, above });
            }
        }
        Self { below: bounds[0], knots }
    }

    /// The bounds below the first knot.
    pub fn below(&self) -> Bounds {
        self.below
    }

    /// The knots, scores rising.
    pub fn knots(&self) -> &[Knot] {
        &self.knots
    }

    /// The bounds at a score (a logit), O(log n).
    pub fn bounds(&self, logit: f64) -> Bounds {
        let next = self.knots.partition_point(|knot| knot.score <= logit);
        match next.checked_sub(1).map(|i| self.knots[i]) {
            None => self.below,
            Some(knot) if knot.score == logit => knot.at,
            Some(knot) => knot.above,
        }
    }
}

/// The isotonic value of an additional row of weight 1 and label true, at each of the 2m + 1 positions
/// below, at, between and above m pools.
///
/// The value v at the row solves `left(v) + own(v) + right(v) = 0`, where `own(v)` is positive weight less
/// v times weight of the row (and of the pool it joins), `left(v)` the greatest such sum over runs of
/// pools that end left of it and `right(v)` the least over runs that begin right of it (the max-min
/// formula of isotonic regression). Those runs end at blocks of the isotonic fits of everything left and
/// everything right, which are kept as stacks while the position moves.
fn winning_query(pools: &[Pool]) -> Vec<f64> {
    let sums = Sums::new(pools);
    let mut right = RightFits::new(&sums);
    // Block edges of the isotonic fit of the first i pools.
    let mut left: Vec<usize> = vec![0];
    let mut values = Vec::with_capacity(2 * pools.len() + 1);
    for i in 0..=pools.len() {
        values.push(value_between(&sums, &left, &right.edges));
        if i < pools.len() {
            right.advance();
            values.push(value_between(&sums, &left, &right.edges));
            push_edge(&sums, &mut left, i + 1);
        }
    }
    values
}

/// Cumulative weight and positive weight before each pool: the points of the cumulative-sum diagram.
struct Sums(Vec<(f64, f64)>);

impl Sums {
    fn new(pools: &[Pool]) -> Self {
        let mut points = vec![(0.0, 0.0)];
        let (mut weight, mut positive) = (0.0, 0.0);
        for pool in pools {
            (weight, positive) = (weight + pool.weight, positive + pool.positive);
            points.push((weight, positive));
        }
        Self(points)
    }

    fn mean(&self, from: usize, to: usize) -> f64 {
        let ((w0, s0), (w1, s1)) = (self.0[from], self.0[to]);
        (s1 - s0) / (w1 - w0)
    }
}

/// Adds the pool that ends at `edge` to the fit of everything before it.
fn push_edge(sums: &Sums, edges: &mut Vec<usize>, edge: usize) {
    while let [.., a, b] = edges[..] {
        if sums.mean(a, b) < sums.mean(b, edge) {
            break;
        }
        edges.pop();
    }
    edges.push(edge);
}

/// Block edges of the isotonic fit of the pools from `next` on, last edge first; grown from the right
/// once, then taken back pool by pool from the record of what each pool had swallowed.
struct RightFits {
    edges: Vec<usize>,
    swallowed: Vec<Vec<usize>>,
}

impl RightFits {
    fn new(sums: &Sums) -> Self {
        let end = sums.0.len() - 1;
        let (mut edges, mut swallowed) = (vec![end], vec![Vec::new(); end]);
        for edge in (0..end).rev() {
            while let [.., b, a] = edges[..] {
                if sums.mean(edge, a) < sums.mean(a, b) {
                    break;
                }
                swallowed[edge].extend(edges.pop());
            }
            edges.push(edge);
        }
        swallowed.reverse();
        Self { edges, swallowed }
    }

    /// Leaves out the leftmost pool.
    fn advance(&mut self) {
        self.edges.pop();
        self.edges.extend(self.swallowed.pop().into_iter().flatten().rev());
    }
}

/// The value of the additional row between the last edge of `left` and the last edge of `right`; pools
/// between the two edges join the row.
fn value_between(sums: &Sums, left: &[usize], right: &[usize]) -> f64 {
    // Which pools share the value v with the row: blocks above v on its left, blocks below v on its right.
    let run = |v: f64| {
        // Means rise along the left edges, and fall along the right ones, whose last edge comes first.
        let from = partition_point(left.len() - 1, |i| sums.mean(left[i], left[i + 1]) <= v);
        let to = partition_point(right.len() - 1, |i| sums.mean(right[i + 1], right[i]) >= v);
        (left[from], right[to])
    };
    let value = |(from, to): (usize, usize)| {
        let ((w0, s0), (w1, s1)) = (sums.0[from], sums.0[to]);
        (s1 - s0 + 1.0) / (w1 - w0 + 1.0)
    };
    // Bisect until the run is known: the value is then known in closed form.
    let (mut low, mut high) = (0.0, 1.0);
    loop {
        let (at_low, at_high) = (run(low), run(high));
        let middle = 0.5 * (low + high);
        if at_low == at_high || middle <= low || middle >= high {
            return value(at_low);
        }
        let (from, to) = run(middle);
        let ((w0, s0), (w1, s1)) = (sums.0[from], sums.0[to]);
        let excess = (s1 - s0 + 1.0) - middle * (w1 - w0 + 1.0);
        if excess > 0.0 { low = middle } else { high = middle }
    }
}

/// The number of leading indices below `len` for which `holds`, which must hold for a prefix.
fn partition_point(len: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monotone::pool_adjacent_violators;
    use crate::numeric::logit;
    use crate::sample::tests::{assert_close, fixture_a, fixture_t, labels, scores};
    use proptest::prelude::*;
    use rand::{Rng, RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Two isotonic fits with the query among the rows: the definition, and the oracle.
    fn by_refitting(sample: &Sample, logit: f64) -> Bounds {
        let fit = |positive: f64| {
            let mut pools = sample.pools();
            match pools.iter_mut().find(|p| p.logit == logit) {
                Some(pool) => (pool.weight, pool.positive) = (pool.weight + 1.0, pool.positive + positive),
                None => {
                    let at = pools.partition_point(|p| p.logit < logit);
                    pools.insert(at, Pool { logit, weight: 1.0, positive });
                }
            }
            let blocks = pool_adjacent_violators(&pools);
            blocks.iter().find(|b| b.low <= logit && logit <= b.high).unwrap().mean()
        };
        Bounds { lower: fit(0.0), upper: fit(1.0) }
    }

    #[test]
    fn agrees_with_the_reference() {
        let a = VennAbers::fit(&fixture_a());
        let expected = [
            (0.05, 0.0, 0.1, 0.09090909090909091),
            (0.25, 0.0, 1.0 / 6.0, 0.14285714285714285),
            (0.5, 0.0, 0.5714285714285714, 0.36363636363636365),
            (0.75, 0.42857142857142855, 1.0, 0.6363636363636364),
            (0.95, 0.8, 1.0, 0.8333333333333334),
        ];
        for (s, lower, upper, merged) in expected {
            let found = a.bounds(logit(s));
            assert_close(found.lower, lower, 1e-12);
            assert_close(found.upper, upper, 1e-12);
            assert_close(found.merged(), merged, 1e-12);
        }
        let t = VennAbers::fit(&fixture_t());
        let expected = [
            (0.05, 0.0, 0.375),
            (0.25, 0.25, 0.42857142857142855),
            (0.5, 0.2857142857142857, 0.75),
            (0.75, 0.5, 1.0),
            (0.95, 0.6666666666666666, 1.0),
            // At the score of calibration rows the query joins them.
            (0.2, 0.25, 0.42857142857142855),
            (0.4, 0.2857142857142857, 0.5),
            (0.7, 0.5, 0.75),
        ];
        for (x, lower, upper) in expected {
            let found = t.bounds(x);
            assert_close(found.lower, lower, 1e-12);
            assert_close(found.upper, upper, 1e-12);
        }
    }

    #[test]
    fn steps_are_checked() {
        let b = |lower, upper| Bounds { lower, upper };
        let knot = |score, at, above| Knot { score, at, above };
        assert!(VennAbers::new(b(0.1, 0.2), vec![knot(0.0, b(0.1, 0.3), b(0.2, 0.3))]).is_ok());
        let bad = [
            VennAbers::new(b(0.1, 0.2), vec![]),
            VennAbers::new(b(0.3, 0.2), vec![knot(0.0, b(0.3, 0.3), b(0.3, 0.3))]),
            VennAbers::new(b(0.1, 0.2), vec![knot(0.0, b(0.0, 0.3), b(0.2, 0.3))]),
            VennAbers::new(b(0.1, 0.2), vec![knot(f64::NAN, b(0.1, 0.3), b(0.2, 0.3))]),
            VennAbers::new(b(0.1, 0.2), vec![knot(0.0, b(0.1, 0.3), b(0.2, 1.3))]),
        ];
        for bad in bad {
            assert_eq!(bad, Err(CalibrationError::BadKnots));
        }
    }

    fn draw(rows: usize, rng: &mut impl Rng) -> Sample {
        let z: Vec<f64> = (0..rows).map(|_| rng.random_range(-3.0..3.0)).collect();
        let y: Vec<bool> = z.iter().map(|z| rng.random::<f64>() < truth(*z)).collect();
        Sample::at_least(2, &scores(z), &y, None).unwrap()
    }

    /// A true probability that no line through the logit fits.
    fn truth(z: f64) -> f64 {
        0.1 + 0.8 * ((z + 3.0) / 6.0).powi(2)
    }

    #[test]
    fn one_of_the_two_bounds_is_calibrated() {
        // The guarantee of Venn predictors: the bound chosen by the true label (upper when it is a win) is a
        // perfectly calibrated probability on average. So wins less that bound have mean 0 over draws.
        let mut rng = ChaCha8Rng::seed_from_u64(17);
        let rounds = 4_000;
        let (mut gap, mut spread) = (0.0, 0.0);
        for _ in 0..rounds {
            let sample = draw(60, &mut rng);
            let z = rng.random_range(-3.0..3.0);
            let won = rng.random::<f64>() < truth(z);
            let bounds = VennAbers::fit(&sample).bounds(z);
            let selected = if won { bounds.upper } else { bounds.lower };
            let difference = f64::from(u8::from(won)) - selected;
            gap += difference;
            spread += difference * difference;
        }
        let error = spread.sqrt() / f64::from(rounds);
        assert!((gap / f64::from(rounds)).abs() < 3.0 * error, "{} {error}", gap / f64::from(rounds));
    }

    #[test]
    fn the_interval_covers_the_mean_truth_and_narrows_with_rows() {
        let mut rng = ChaCha8Rng::seed_from_u64(23);
        let mut width_of = |rows: usize| {
            let (mut width, mut inside, rounds) = (0.0, 0.0, 200);
            for _ in 0..rounds {
                let map = VennAbers::fit(&draw(rows, &mut rng));
                for i in 0..20 {
                    let z = -2.85 + 0.3 * f64::from(i);
                    let Bounds { lower, upper } = map.bounds(z);
                    width += (upper - lower) / 20.0 / f64::from(rounds);
                    inside += f64::from(u8::from(lower - 0.1 <= truth(z) && truth(z) <= upper + 0.1)) / 20.0;
                }
            }
            assert!(inside / f64::from(rounds) > 0.85, "{rows}: {}", inside / f64::from(rounds));
            width
        };
        let (few, many) = (width_of(60), width_of(2_000));
        assert!(many < 0.35 * few, "{few} {many}");
    }

    #[test]
    fn the_steps_are_fewer_than_the_rows() {
        let map = VennAbers::fit(&draw(20_000, &mut ChaCha8Rng::seed_from_u64(3)));
        assert!(map.knots().len() < 4_000, "{}", map.knots().len());
    }

    proptest! {
        #[test]
        fn both_bounds_are_two_isotonic_fits(
            rows in prop::collection::vec((0u8..15, any::<bool>(), 1u8..4), 2..40), queries in prop::collection::vec(-1.0..16.0f64, 5),
        ) {
            let z = scores(rows.iter().map(|r| f64::from(r.0)));
            let y: Vec<bool> = rows.iter().map(|r| r.1).collect();
            let w: Vec<f64> = rows.iter().map(|r| 0.5 * f64::from(r.2)).collect();
            let Ok(sample) = Sample::at_least(2, &z, &y, Some(&w)) else { return Ok(()) };
            let map = VennAbers::fit(&sample);
            for x in queries.into_iter().chain((0..15).map(f64::from)) {
                let (found, expected) = (map.bounds(x), by_refitting(&sample, x));
                prop_assert!((found.lower - expected.lower).abs() < 1e-9, "{x}: {found:?} {expected:?}");
                prop_assert!((found.upper - expected.upper).abs() < 1e-9, "{x}: {found:?} {expected:?}");
                prop_assert!(found.lower <= found.merged() && found.merged() <= found.upper);
            }
            prop_assert!(VennAbers::new(map.below(), map.knots().to_vec()).is_ok());
        }
    }

    #[test]
    fn a_sample_of_both_labels_keeps_the_merged_probability_inside() {
        let sample = Sample::at_least(2, &scores([0.0, 1.0]), &labels(&[0, 1]), None).unwrap();
        let map = VennAbers::fit(&sample);
        for x in [-1.0, 0.0, 0.5, 1.0, 2.0] {
            let p = map.bounds(x).merged();
            assert!(p > 0.0 && p < 1.0, "{x}: {p}");
        }
    }
}
