//! Linear interpolation between the values of a sorted sample, as pandas and numpy do by default.

/// The value at rank `index + fraction` of an ascending sample; `fraction` in [0, 1), values
/// finite. The rank is cut at the last value. `None` when the sample is empty.
pub(crate) fn at_rank(ascending: &[f64], index: usize, fraction: f64) -> Option<f64> {
    let last = ascending.len().checked_sub(1)?;
    let (low, high) = (ascending[index.min(last)], ascending[(index + 1).min(last)]);
    // Equal neighbours must come out untouched: a threshold that is off by one rounding from a tied
    // mass moves the whole mass. Weights instead of a difference, which might overflow.
    if fraction <= 0.0 || low == high {
        return Some(low);
    }
    Some((low * (1.0 - fraction) + high * fraction).max(low).min(high))
}

/// The `q`-quantile (`q` in [0, 1]) of an ascending sample. `None` when the sample is empty.
pub(crate) fn quantile(ascending: &[f64], q: f64) -> Option<f64> {
    let rank = ascending.len().checked_sub(1)? as f64 * q;
    at_rank(ascending, rank.floor() as usize, rank.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_pandas() {
        let scores = [0.11, 0.18, 0.18, 0.22, 0.25, 0.25, 0.25, 0.31, 0.40, 0.55];
        let expected = [
            (1.0, 0.55),
            (0.9, 0.415),
            (0.8, 0.328),
            (0.75, 0.295),
            (0.7, 0.268),
            (0.5, 0.25),
            (0.3, 0.208),
            (0.1, 0.173),
            (0.0, 0.11),
        ];
        for (q, value) in expected {
            let found = quantile(&scores, q).unwrap();
            assert!((found - value).abs() < 1e-12, "{q}: {found} is not {value}");
        }
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[-f64::MAX, f64::MAX], 0.5), Some(0.0));
        // Rounding must not carry the value past its neighbours.
        for fraction in [0.1, 0.3, 0.7, 0.9] {
            let found = at_rank(&[0.1, 0.1f64.next_up()], 0, fraction).unwrap();
            assert!((0.1..=0.1f64.next_up()).contains(&found));
        }
    }
}
