//! How the confidences of two neighbouring stages depend on each other: the Gumbel copula and the rank correlation it
//! is fitted by. What the confidences are on their own belongs to `marginal`.

use super::{CopulaError, out_of_range};

/// A Gumbel copula: the joint law of two ranks that rise together, more tightly in the upper tail than in the lower.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gumbel {
    theta: f64,
}

impl Gumbel {
    /// Ranks that tell nothing of each other.
    pub const INDEPENDENT: Self = Self { theta: 1.0 };

    /// A copula of known parameter: 1 is independence, infinity the same rank twice.
    ///
    /// # Errors
    /// When `theta` is NaN or below 1.
    pub fn new(theta: f64) -> Result<Self, CopulaError> {
        if theta >= 1.0 { Ok(Self { theta }) } else { out_of_range("theta", theta, "a number of at least 1") }
    }

    /// The copula with this rank correlation, `theta = 1 / (1 - tau)` (methods section 5.1). The family has none that
    /// is negative: those, and NaN, become independence.
    pub fn from_tau(tau: f64) -> Self {
        if tau > 0.0 { Self { theta: 1.0 / (1.0 - tau.min(1.0)) } } else { Self::INDEPENDENT }
    }

    /// The parameter, from 1 (independence) to infinity.
    pub fn theta(&self) -> f64 {
        self.theta
    }

    /// `P(U <= u and V <= v)` of two ranks that are uniform on [0, 1], in [0, min(u, v)] but for rounding:
    /// `exp(-((-ln u)^theta + (-ln v)^theta)^(1/theta))`, with the greater logarithm taken out of the powers, so that
    /// none overflows (methods section 5.1).
    pub fn cdf(&self, u: f64, v: f64) -> f64 {
        if u <= 0.0 || v <= 0.0 {
            return 0.0;
        }
        if u >= 1.0 || v >= 1.0 {
            return u.min(v).min(1.0);
        }
        if self.theta == 1.0 {
            return u * v;
        }
        let (far, near) = (-u.min(v).ln(), -u.max(v).ln());
        let excess = (near / far).powf(self.theta).ln_1p() / self.theta;
        (-far * excess.exp()).exp()
    }
}

/// Kendall's rank correlation tau-b of the pairs `(x[i], y[i])`, in [-1, 1], by counting the exchanges of a merge sort
/// (Knight 1966): O(n log n). `None` where a side has fewer than two different values, or no order for holding a NaN.
/// Pairs without a partner are left out.
pub fn kendall_tau(x: &[f64], y: &[f64]) -> Option<f64> {
    let mut pairs: Vec<(f64, f64)> = x.iter().copied().zip(y.iter().copied()).collect();
    if pairs.iter().any(|(x, y)| x.is_nan() || y.is_nan()) {
        return None;
    }
    pairs.sort_unstable_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    let tied_in_x = tied_pairs(pairs.iter().map(|p| p.0));
    let tied_in_both = tied_pairs(pairs.iter().copied());
    let mut ys: Vec<f64> = pairs.iter().map(|p| p.1).collect();
    let discordant = sort_counting_exchanges(&mut ys, &mut vec![0.0; pairs.len()]);
    let tied_in_y = tied_pairs(ys.iter().copied());
    let all = pairs_of(pairs.len());
    if all == tied_in_x || all == tied_in_y {
        return None;
    }
    let excess = (all + tied_in_both) as f64 - (tied_in_x + tied_in_y) as f64 - 2.0 * discordant as f64;
    let scale = ((all - tied_in_x) as f64 * (all - tied_in_y) as f64).sqrt();
    Some((excess / scale).clamp(-1.0, 1.0))
}

/// Number of pairs among `n` things.
fn pairs_of(n: usize) -> usize {
    n * n.saturating_sub(1) / 2
}

/// Number of pairs of equal neighbours in an ordered sequence, each run of equals counted with all its pairs.
fn tied_pairs<T: PartialEq>(ordered: impl Iterator<Item = T>) -> usize {
    let (mut tied, mut run, mut last) = (0, 0, None);
    for item in ordered {
        run = if last.as_ref() == Some(&item) { run + 1 } else { 0 };
        tied += run;
        last = Some(item);
    }
    tied
}

/// Sorts, and counts the pairs that stood in the wrong order; `room` is as long as `values`.
fn sort_counting_exchanges(values: &mut [f64], room: &mut [f64]) -> usize {
    let middle = values.len() / 2;
    if middle == 0 {
        return 0;
    }
    let (left, right) = values.split_at_mut(middle);
    let (left_room, right_room) = room.split_at_mut(middle);
    let mut exchanges = sort_counting_exchanges(left, left_room) + sort_counting_exchanges(right, right_room);
    let (mut l, mut r) = (0, 0);
    for slot in room.iter_mut() {
        // A right one that is smaller jumps over all that is left on the left.
        if l == left.len() || (r < right.len() && right[r] < left[l]) {
            exchanges += left.len() - l;
            *slot = right[r];
            r += 1;
        } else {
            *slot = left[l];
            l += 1;
        }
    }
    values.copy_from_slice(room);
    exchanges
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// methods/golden/05_cascade.json, `gumbel.rows`: u, v, theta, C.
    const GOLDEN: [[f64; 4]; 9] = [
        [0.2, 0.7, 1.0000001, 0.14000001303409457],
        [0.5, 0.5, 1.0000001, 0.25000002402264865],
        [0.95, 0.05, 1.0000001, 0.04750000123670711],
        [0.2, 0.7, 1.5, 0.179152941229752],
        [0.5, 0.5, 1.5, 0.33277038426286515],
        [0.95, 0.05, 1.5, 0.04977685601303874],
        [0.2, 0.7, 3.0, 0.1988397640739518],
        [0.5, 0.5, 3.0, 0.4175668100329211],
        [0.95, 0.05, 3.0, 0.04999974937596507],
    ];

    /// methods/golden/05_cascade.json, `kendall`.
    const X: [f64; 8] = [0.1, 0.4, 0.35, 0.8, 0.65, 0.9, 0.2, 0.55];
    const Y: [f64; 8] = [0.3, 0.2, 0.6, 0.7, 0.9, 0.95, 0.1, 0.5];

    #[test]
    fn the_copula_agrees_with_the_reference() {
        for [u, v, theta, expected] in GOLDEN {
            let found = Gumbel::new(theta).unwrap().cdf(u, v);
            assert!((found - expected).abs() < 1e-14, "C({u}, {v}; {theta}) is {found}, not {expected}");
        }
    }

    #[test]
    fn the_rank_correlation_agrees_with_the_reference() {
        let tau = kendall_tau(&X, &Y).unwrap();
        assert!((tau - 0.6428571428571428).abs() < 1e-15);
        assert!((Gumbel::from_tau(tau).theta() - 2.8).abs() < 1e-12);
    }

    #[test]
    fn the_ends_of_the_family_are_independence_and_equality() {
        assert_eq!(Gumbel::from_tau(-0.3), Gumbel::INDEPENDENT);
        assert_eq!(Gumbel::from_tau(f64::NAN), Gumbel::INDEPENDENT);
        assert_eq!(Gumbel::INDEPENDENT.cdf(0.3, 0.6), 0.3 * 0.6);
        let same = Gumbel::from_tau(1.0);
        assert_eq!(same.theta(), f64::INFINITY);
        for (u, v) in [(0.2, 0.7), (0.7, 0.2), (1e-300, 0.5), (0.4, 0.4)] {
            assert!((same.cdf(u, v) / u.min(v) - 1.0).abs() < 1e-13, "C({u}, {v})");
        }
        for theta in [0.999, f64::NAN, f64::NEG_INFINITY] {
            assert!(Gumbel::new(theta).is_err());
        }
    }

    #[test]
    fn a_side_without_an_order_has_no_correlation() {
        assert_eq!(kendall_tau(&[], &[]), None);
        assert_eq!(kendall_tau(&[1.0], &[2.0]), None);
        assert_eq!(kendall_tau(&[1.0, 1.0, 1.0], &[1.0, 2.0, 3.0]), None);
        assert_eq!(kendall_tau(&[1.0, 2.0, 3.0], &[1.0, 1.0, 1.0]), None);
        assert_eq!(kendall_tau(&[1.0, f64::NAN, 3.0], &[1.0, 2.0, 1.0]), None);
        assert_eq!(kendall_tau(&[-0.0, 0.0, 1.0], &[1.0, 1.0, 2.0]), Some(1.0));
    }

    fn tau_by_pairs(x: &[f64], y: &[f64]) -> Option<f64> {
        let order = |a: f64, b: f64| f64::from(i8::from(a > b) - i8::from(a < b));
        let (mut both, mut in_x, mut in_y) = (0.0, 0.0, 0.0);
        for i in 0..x.len() {
            for j in 0..i {
                let (a, b) = (order(x[i], x[j]), order(y[i], y[j]));
                (both, in_x, in_y) = (both + a * b, in_x + a * a, in_y + b * b);
            }
        }
        (in_x > 0.0 && in_y > 0.0).then(|| both / (in_x * in_y).sqrt())
    }

    proptest! {
        #[test]
        fn the_fast_count_equals_all_pairs(rows in prop::collection::vec((0u8..12, 0u8..12), 0..60)) {
            let x: Vec<f64> = rows.iter().map(|r| f64::from(r.0)).collect();
            let y: Vec<f64> = rows.iter().map(|r| f64::from(r.1)).collect();
            match (kendall_tau(&x, &y), tau_by_pairs(&x, &y)) {
                (Some(fast), Some(slow)) => prop_assert!((fast - slow).abs() < 1e-12),
                (fast, slow) => prop_assert_eq!(fast, slow),
            }
        }

        #[test]
        fn the_copula_lies_between_independence_and_equality_and_rises(
            u in 0.0..1.0f64, v in 0.0..1.0f64, step in 0.0..0.5f64, theta in 1.0..200.0f64,
        ) {
            let copula = Gumbel::new(theta).unwrap();
            let here = copula.cdf(u, v);
            prop_assert!(here >= u * v - 1e-14 && here <= u.min(v) + 1e-14);
            prop_assert_eq!(here, copula.cdf(v, u));
            prop_assert!(copula.cdf(u, (v + step).min(1.0)) >= here - 1e-14);
        }

        #[test]
        fn ranks_of_one_or_none_decide_alone(u in 0.0..=1.0f64, theta in 1.0..200.0f64) {
            let copula = Gumbel::new(theta).unwrap();
            prop_assert_eq!(copula.cdf(u, 1.0), u);
            prop_assert_eq!(copula.cdf(u, 0.0), 0.0);
        }
    }
}
