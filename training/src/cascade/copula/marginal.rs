//! How the confidences of one stage are spread: atoms at the least and the greatest, two beta laws between them. How
//! stages depend on each other belongs to `gumbel`.

use calibration::numeric::{sigmoid, softplus};
use statrs::function::beta::{beta_reg, ln_beta};
use statrs::function::gamma::digamma;

use super::{CopulaError, out_of_range};

/// Fewer confidences than this tell nothing of a distribution.
pub const LEAST_ROWS: usize = 10;

/// With fewer confidences between the atoms than this, one beta law is fitted to them and not two.
const TWO_COMPONENTS_FROM: usize = 20;

/// Every beta law is fitted as if it had seen so many rows of a uniform law besides its own. Without them the
/// likelihood of a law on a handful of equal confidences has no maximum.
const UNIFORM_ROWS: f64 = 1.0;

/// The fit ends when a step adds less than this to the log-likelihood of all rows.
const LEAST_GAIN: f64 = 1e-5;

/// Steps of the fit at most: it stops where it is, as every step is at least as good as the one before.
const MOST_STEPS: usize = 1_000;

/// A beta law on the stretch between the atoms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BetaComponent {
    /// Its share of what lies between the atoms, in [0, 1].
    pub weight: f64,
    /// First shape, above 0.
    pub alpha: f64,
    /// Second shape, above 0.
    pub beta: f64,
}

/// The law of a stage's confidence, its calibrated success probability (methods section 5.1).
#[derive(Debug, Clone, PartialEq)]
pub struct Marginal {
    low: f64,
    high: f64,
    at_low: f64,
    at_high: f64,
    between: Vec<BetaComponent>,
}

impl Marginal {
    /// A law of known parameters: `low <= high` in [0, 1] with the probabilities of being exactly there, and the laws
    /// between them, whose weights sum to 1.
    ///
    /// # Errors
    /// When a number is out of its range, or probability is left over with no law between the ends to carry it.
    pub fn new(ends: [f64; 2], at_ends: [f64; 2], between: Vec<BetaComponent>) -> Result<Self, CopulaError> {
        let ([low, high], [at_low, at_high]) = (ends, at_ends);
        for (field, value) in
            [("least confidence", low), ("greatest confidence", high), ("atom", at_low), ("atom", at_high)]
        {
            if !(0.0..=1.0).contains(&value) {
                return out_of_range(field, value, "a probability in [0, 1]");
            }
        }
        if low > high {
            return out_of_range("least confidence", low, "at most the greatest one");
        }
        let atoms = at_low + at_high;
        if atoms > 1.0 + 1e-9 {
            return out_of_range("sum of the atoms", atoms, "at most 1");
        }
        if (low == high || between.is_empty()) && atoms < 1.0 - 1e-9 {
            return out_of_range("sum of the atoms", atoms, "1, as nothing lies between them");
        }
        let shape = |value: f64| value > 0.0 && value.is_finite();
        for BetaComponent { weight, alpha, beta } in &between {
            if !(0.0..=1.0).contains(weight) {
                return out_of_range("weight", *weight, "a share in [0, 1]");
            }
            if let Some(value) = [*alpha, *beta].into_iter().find(|value| !shape(*value)) {
                return out_of_range("shape", value, "a finite number above 0");
            }
        }
        let weights: f64 = between.iter().map(|c| c.weight).sum();
        if !between.is_empty() && (weights - 1.0).abs() > 1e-9 {
            return out_of_range("sum of the weights", weights, "1");
        }
        Ok(Self { low, high, at_low, at_high, between })
    }

    /// Fits the law: atoms are the shares of the rows exactly at the least and the greatest confidence, and what lies
    /// between is fitted by expectation maximisation from two starts, the better of which is kept. Where all rows are
    /// equal the law is that one value; where few lie between the ends, a single beta law.
    ///
    /// # Errors
    /// When there are fewer than [`LEAST_ROWS`], or one is no probability.
    pub fn fit(confidences: &[f64]) -> Result<Self, CopulaError> {
        if confidences.len() < LEAST_ROWS {
            return Err(CopulaError::TooFewRows { rows: confidences.len(), needed: LEAST_ROWS });
        }
        if let Some(row) = confidences.iter().position(|p| !(0.0..=1.0).contains(p)) {
            return Err(CopulaError::NotAProbability { row, value: confidences[row] });
        }
        let low = confidences.iter().copied().fold(1.0, f64::min);
        let high = confidences.iter().copied().fold(0.0, f64::max);
        let share =
            |end: f64| confidences.iter().filter(|p| **p == end).count() as f64 / confidences.len() as f64;
        if low == high {
            return Self::new([low, high], [0.0, 1.0], Vec::new());
        }
        let inner = confidences.iter().filter(|p| low < **p && **p < high);
        // Rounding must not put one onto the end it is strictly below.
        let mut between: Vec<f64> =
            inner.map(|p| ((p - low) / (high - low)).min(1.0 - f64::EPSILON)).collect();
        between.sort_unstable_by(f64::total_cmp);
        Self::new([low, high], [share(low), share(high)], fit_components(&between))
    }

    /// The least and the greatest confidence.
    pub fn ends(&self) -> [f64; 2] {
        [self.low, self.high]
    }

    /// The probabilities of the least and of the greatest confidence. Of a law of one value, the second is 1.
    pub fn at_ends(&self) -> [f64; 2] {
        [self.at_low, self.at_high]
    }

    /// The laws between the ends.
    pub fn between(&self) -> &[BetaComponent] {
        &self.between
    }

    /// `P(confidence <= x)`, in [0, 1]; jumps at both ends.
    pub fn cdf(&self, x: f64) -> f64 {
        if x < self.low {
            return 0.0;
        }
        if x >= self.high {
            return 1.0;
        }
        let z = ((x - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        let below: f64 = self.between.iter().map(|c| c.weight * beta_reg(c.alpha, c.beta, z)).sum();
        (self.at_low + (1.0 - self.at_low - self.at_high) * below).clamp(0.0, 1.0)
    }

    /// The least confidence with `cdf` at least `q`, between the ends; `q` outside [0, 1] gives an end.
    pub fn quantile(&self, q: f64) -> f64 {
        let (mut below, mut enough) = (self.low, self.high);
        if q <= self.cdf(below) {
            return below;
        }
        loop {
            let middle = 0.5 * (below + enough);
            if middle <= below || middle >= enough {
                return enough;
            }
            *(if self.cdf(middle) >= q { &mut enough } else { &mut below }) = middle;
        }
    }

    /// The mean confidence: the success probability of the stage where every query reaches it.
    pub fn mean(&self) -> f64 {
        let of = |c: &BetaComponent| c.weight * c.alpha / (c.alpha + c.beta);
        let z: f64 = self.between.iter().map(of).sum();
        let between = (1.0 - self.at_low - self.at_high) * (self.low + (self.high - self.low) * z);
        self.at_low * self.low + self.at_high * self.high + between
    }
}

/// A number strictly between 0 and 1, as its log and that of its complement.
type Logs = [f64; 2];

/// The laws of ordered numbers between 0 and 1, the one with the lower mean first.
fn fit_components(ordered: &[f64]) -> Vec<BetaComponent> {
    let rows: Vec<Logs> = ordered.iter().map(|z| [z.ln(), (-z).ln_1p()]).collect();
    let n = rows.len();
    if n == 0 {
        return Vec::new();
    }
    if n < TWO_COMPONENTS_FROM {
        return vec![Shapes::UNIFORM.refit(&rows, |_| 1.0).weighing(1.0)];
    }
    let mostly = |first: bool| if first { 0.9 } else { 0.1 };
    let halves = (0..n).map(|i| mostly(2 * i < n)).collect();
    let middle_and_tails = (0..n).map(|i| mostly(4 * i >= n && 4 * i < 3 * n)).collect();
    let (one, other) = (Mixture::fit(&rows, halves), Mixture::fit(&rows, middle_and_tails));
    let best = if one.1 >= other.1 { one.0 } else { other.0 };
    let mut laws = [best.laws[0].weighing(best.first), best.laws[1].weighing(1.0 - best.first)];
    laws.sort_by(|a, b| (a.alpha * b.beta).total_cmp(&(b.alpha * a.beta)));
    laws.to_vec()
}

/// A beta law by its shapes.
#[derive(Debug, Clone, Copy)]
struct Shapes {
    alpha: f64,
    beta: f64,
}

impl Shapes {
    const UNIFORM: Self = Self { alpha: 1.0, beta: 1.0 };

    fn weighing(self, weight: f64) -> BetaComponent {
        BetaComponent { weight, alpha: self.alpha, beta: self.beta }
    }

    /// Log-density where the logs are these; of means of logs, the mean log-density.
    fn ln_density(self, logs: Logs) -> f64 {
        self.ln_powers(logs) - self.ln_beta()
    }

    fn ln_powers(self, [ln_z, ln_rest]: Logs) -> f64 {
        (self.alpha - 1.0) * ln_z + (self.beta - 1.0) * ln_rest
    }

    fn ln_beta(self) -> f64 {
        ln_beta(self.alpha, self.beta)
    }

    /// What the rows of a uniform law add to the log-likelihood: there, the mean of either log is -1.
    fn prior(self) -> f64 {
        UNIFORM_ROWS * self.ln_density([-1.0; 2])
    }

    /// Weighted maximum likelihood, searched from this law: Newton's method on a concave function, each step halved
    /// until it is uphill.
    fn refit(self, rows: &[Logs], weight: impl Fn(usize) -> f64) -> Self {
        let (mut sums, mut total) = ([-UNIFORM_ROWS; 2], UNIFORM_ROWS);
        for (i, logs) in rows.iter().enumerate() {
            let weight = weight(i);
            total += weight;
            sums = [sums[0] + weight * logs[0], sums[1] + weight * logs[1]];
        }
        let means = sums.map(|sum| sum / total);
        let mut law = self;
        for _ in 0..100 {
            let [da, db] = law.newton_step(means);
            let stepped = |scale: f64| Self { alpha: law.alpha + scale * da, beta: law.beta + scale * db };
            let uphill = |next: &Self| {
                next.alpha > 0.0 && next.beta > 0.0 && next.ln_density(means) >= law.ln_density(means)
            };
            let scales = std::iter::successors(Some(1.0), |scale| Some(0.5 * scale)).take(40);
            let Some(next) = scales.map(stepped).find(uphill) else { break };
            law = next;
            if da.abs() <= 1e-6 * law.alpha && db.abs() <= 1e-6 * law.beta {
                break;
            }
        }
        law
    }

    /// The step to the maximum of the parabola that touches the mean log-density here.
    fn newton_step(self, means: Logs) -> [f64; 2] {
        let (both, bend) = (digamma(self.alpha + self.beta), trigamma(self.alpha + self.beta));
        let slope = [means[0] + both - digamma(self.alpha), means[1] + both - digamma(self.beta)];
        let (bend_a, bend_b) = (trigamma(self.alpha), trigamma(self.beta));
        let determinant = bend_a * bend_b - bend * (bend_a + bend_b);
        [
            ((bend_b - bend) * slope[0] + bend * slope[1]) / determinant,
            (bend * slope[0] + (bend_a - bend) * slope[1]) / determinant,
        ]
    }
}

/// Two beta laws and the share of the first.
#[derive(Debug, Clone, Copy)]
struct Mixture {
    first: f64,
    laws: [Shapes; 2],
}

impl Mixture {
    /// Expectation maximisation from the share of every row that is thought to be of the first law. Also gives what it
    /// maximises: the log-likelihood with the uniform rows of either law.
    fn fit(rows: &[Logs], mut of_first: Vec<f64>) -> (Self, f64) {
        let mut mixture = Self { first: 0.5, laws: [Shapes::UNIFORM; 2] };
        let mut reached = f64::NEG_INFINITY;
        for _ in 0..MOST_STEPS {
            mixture = mixture.refit(rows, &of_first);
            let last = std::mem::replace(&mut reached, mixture.share_out(rows, &mut of_first));
            if reached - last < LEAST_GAIN {
                break;
            }
        }
        (mixture, reached)
    }

    /// The laws that fit the rows best when each belongs to the first to this share.
    fn refit(&self, rows: &[Logs], of_first: &[f64]) -> Self {
        let [one, other] = self.laws;
        let first = of_first.iter().sum::<f64>() / rows.len() as f64;
        // A share of exactly 0 or 1 has no odds.
        let first = first.clamp(1e-12, 1.0 - 1e-12);
        let laws = [one.refit(rows, |i| of_first[i]), other.refit(rows, |i| 1.0 - of_first[i])];
        Self { first, laws }
    }

    /// Shares the rows out between the laws, and gives the log-likelihood.
    fn share_out(&self, rows: &[Logs], of_first: &mut [f64]) -> f64 {
        let [one, other] = self.laws;
        let (ln_one, ln_other) = (self.first.ln(), (-self.first).ln_1p());
        let (ln_one, ln_other) = (ln_one - one.ln_beta(), ln_other - other.ln_beta());
        let mut likelihood = one.prior() + other.prior();
        for (of_first, logs) in of_first.iter_mut().zip(rows) {
            let ln_other = ln_other + other.ln_powers(*logs);
            let odds = ln_one + one.ln_powers(*logs) - ln_other;
            *of_first = sigmoid(odds);
            likelihood += ln_other + softplus(odds);
        }
        likelihood
    }
}

/// The derivative of digamma above 0: the recurrence up to where the asymptotic series holds (Abramowitz and Stegun
/// 6.4.6 and 6.4.12).
fn trigamma(mut x: f64) -> f64 {
    let mut sum = 0.0;
    while x < 10.0 {
        sum += 1.0 / (x * x);
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    let series = square * (1.0 / 6.0 - square * (1.0 / 30.0 - square * (1.0 / 42.0 - square / 30.0)));
    sum + (1.0 + 0.5 / x + series) / x
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn beta(weight: f64, alpha: f64, beta: f64) -> BetaComponent {
        BetaComponent { weight, alpha, beta }
    }

    fn bimodal() -> Marginal {
        Marginal::new([0.2, 0.98], [0.05, 0.1], vec![beta(0.4, 2.0, 6.0), beta(0.6, 8.0, 2.0)]).unwrap()
    }

    fn drawn(from: &Marginal, rows: usize, seed: u64) -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..rows).map(|_| from.quantile(rng.random())).collect()
    }

    #[test]
    fn a_known_mixture_is_found_again() {
        let truth = bimodal();
        let found = Marginal::fit(&drawn(&truth, 10_000, 1)).unwrap();
        assert_eq!(found.ends(), truth.ends());
        for (found, expected) in found.at_ends().into_iter().zip(truth.at_ends()) {
            assert!((found - expected).abs() < 0.01, "{found}, not {expected}");
        }
        for (found, expected) in found.between().iter().zip(truth.between()) {
            assert!((found.weight - expected.weight).abs() < 0.03, "{found:?}, not {expected:?}");
            assert!((found.alpha / expected.alpha - 1.0).abs() < 0.15, "{found:?}, not {expected:?}");
            assert!((found.beta / expected.beta - 1.0).abs() < 0.15, "{found:?}, not {expected:?}");
        }
        for i in 0..100 {
            let x = f64::from(i) / 100.0;
            assert!((found.cdf(x) - truth.cdf(x)).abs() < 0.015, "at {x}");
        }
    }

    #[test]
    fn a_peak_on_a_plain_is_found_too() {
        // The halves of it look alike: the start from the middle tells the laws apart.
        let peak = vec![beta(0.5, 1.0, 1.0), beta(0.5, 60.0, 60.0)];
        let truth = Marginal::new([0.0, 1.0], [0.0, 0.0], peak).unwrap();
        let found = Marginal::fit(&drawn(&truth, 2_000, 2)).unwrap();
        let close = |x: f64| (found.cdf(x) - truth.cdf(x)).abs() < 0.03;
        assert!((0..=100).map(|i| f64::from(i) / 100.0).all(close), "{found:?}");
        assert!(found.between().iter().any(|law| law.alpha > 30.0 && law.beta > 30.0), "{found:?}");
    }

    #[test]
    fn the_shapes_are_where_the_likelihood_is_flat() {
        let rows: Vec<Logs> = drawn(&bimodal(), 500, 3).iter().map(|p| [p.ln(), (-p).ln_1p()]).collect();
        let found = Shapes::UNIFORM.refit(&rows, |_| 1.0);
        let total = rows.len() as f64 + UNIFORM_ROWS;
        for (side, shape) in [(0, found.alpha), (1, found.beta)] {
            let mean = (rows.iter().map(|logs| logs[side]).sum::<f64>() - UNIFORM_ROWS) / total;
            let slope = mean - digamma(shape) + digamma(found.alpha + found.beta);
            assert!(slope.abs() < 1e-7, "{slope}");
        }
    }

    #[test]
    fn trigamma_is_the_slope_of_digamma() {
        assert!((trigamma(1.0) - std::f64::consts::PI.powi(2) / 6.0).abs() < 1e-9);
        assert!((trigamma(0.5) - std::f64::consts::PI.powi(2) / 2.0).abs() < 1e-9);
        for x in [0.05, 3.0, 9.99, 10.0, 500.0] {
            let step = 1e-4 * x;
            let slope = (digamma(x + step) - digamma(x - step)) / (2.0 * step);
            assert!((trigamma(x) / slope - 1.0).abs() < 1e-6, "at {x}");
        }
    }

    #[test]
    fn equal_confidences_are_one_atom() {
        let one = Marginal::fit(&[0.7; 12]).unwrap();
        assert_eq!((one.ends(), one.at_ends(), one.between().len()), ([0.7, 0.7], [0.0, 1.0], 0));
        assert_eq!((one.cdf(0.69), one.cdf(0.7), one.mean(), one.quantile(0.3)), (0.0, 1.0, 0.7, 0.7));
        let two = Marginal::fit(&[[0.2; 6], [0.8; 6]].concat()).unwrap();
        assert_eq!((two.at_ends(), two.between().len()), ([0.5, 0.5], 0));
        assert_eq!((two.cdf(0.2), two.cdf(0.79), two.cdf(0.8)), (0.5, 0.5, 1.0));
        assert_eq!((two.quantile(0.5), two.quantile(0.51)), (0.2, 0.8));
    }

    #[test]
    fn few_rows_and_few_levels_have_laws() {
        let few = Marginal::fit(&(0..12).map(|i| f64::from(i) / 11.0).collect::<Vec<_>>()).unwrap();
        assert_eq!(few.between().len(), 1);
        // A map with steps makes few levels, on which a law of its own would be infinitely steep.
        let level = |i: u32| [0.1, 0.4, 0.40001, 0.9][(i % 4) as usize];
        let levels = Marginal::fit(&(0..400).map(level).collect::<Vec<_>>()).unwrap();
        assert!(levels.between().iter().all(|law| law.alpha + law.beta < 1e4), "{levels:?}");
        assert!(levels.cdf(0.35) < 0.3 && levels.cdf(0.45) > 0.7, "{levels:?}");
    }

    #[test]
    fn what_is_no_law_is_refused() {
        assert_eq!(Marginal::fit(&[0.5; 9]), Err(CopulaError::TooFewRows { rows: 9, needed: LEAST_ROWS }));
        for value in [-0.1, 1.1, f64::INFINITY] {
            let rows = [vec![0.5; 10], vec![value]].concat();
            assert_eq!(Marginal::fit(&rows), Err(CopulaError::NotAProbability { row: 10, value }));
        }
        assert!(Marginal::fit(&[f64::NAN; 10]).is_err());
        let law = || vec![beta(1.0, 2.0, 2.0)];
        let refused = |ends, at_ends, between| Marginal::new(ends, at_ends, between).is_err();
        assert!(!refused([0.1, 0.9], [0.2, 0.3], law()));
        assert!(refused([0.9, 0.1], [0.2, 0.3], law()) && refused([0.1, 1.1], [0.2, 0.3], law()));
        assert!(refused([0.1, 0.9], [0.6, 0.6], law()) && refused([0.1, 0.9], [f64::NAN, 0.3], law()));
        assert!(refused([0.1, 0.9], [0.2, 0.3], Vec::new()) && refused([0.5, 0.5], [0.2, 0.3], law()));
        assert!(refused([0.1, 0.9], [0.2, 0.3], vec![beta(0.9, 2.0, 2.0)]));
        assert!(refused([0.1, 0.9], [0.2, 0.3], vec![beta(1.0, 0.0, 2.0)]));
        assert!(refused([0.1, 0.9], [0.2, 0.3], vec![beta(1.0, 2.0, f64::INFINITY)]));
        assert!(refused([0.1, 0.9], [0.2, 0.3], vec![beta(-0.5, 2.0, 2.0), beta(1.5, 2.0, 2.0)]));
    }

    proptest! {
        #[test]
        fn the_quantile_is_the_least_with_enough_below(q in 0.0..=1.0f64) {
            let law = bimodal();
            let x = law.quantile(q);
            prop_assert!(law.cdf(x) >= q);
            prop_assert!(x == law.ends()[0] || law.cdf(x.next_down()) < q + 1e-12);
        }

        #[test]
        fn a_step_of_the_fit_is_never_downhill(rows in prop::collection::vec(1e-6..0.999_999f64, 20..80)) {
            let logs: Vec<Logs> = rows.iter().map(|z| [z.ln(), (-z).ln_1p()]).collect();
            let mut of_first: Vec<f64> = rows.iter().map(|z| 0.2 + 0.5 * z).collect();
            let mut mixture = Mixture { first: 0.5, laws: [Shapes::UNIFORM; 2] };
            let mut reached = f64::NEG_INFINITY;
            for _ in 0..20 {
                mixture = mixture.refit(&logs, &of_first);
                let next = mixture.share_out(&logs, &mut of_first);
                prop_assert!(next >= reached - 1e-9, "{} after {}", next, reached);
                reached = next;
            }
        }

        #[test]
        fn any_rows_have_a_law_with_about_their_mean(rows in prop::collection::vec(0.0..=1.0f64, 10..60)) {
            let law = Marginal::fit(&rows).unwrap();
            let mean = rows.iter().sum::<f64>() / rows.len() as f64;
            prop_assert!((law.mean() - mean).abs() < 0.2, "{:?} {}", law, mean);
        }
    }
}
