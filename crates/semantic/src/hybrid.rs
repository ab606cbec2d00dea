//! Two rankings of the same things into one (methods section 7). What is ranked is not known here.

/// Share of the dense score where a catalogue does not say otherwise.
pub const DEFAULT_ALPHA: f64 = 0.7;

/// The constant of reciprocal rank fusion (Cormack et al. 2009).
const RANK_OFFSET: f64 = 60.0;

/// `alpha` of the dense scores, which are cosines and stay as they are, and the rest of the sparse ones, which have
/// no scale and are given one: the least becomes 0, the greatest 1; where all are equal, 0. Lists of one length;
/// `alpha` in [0, 1].
pub fn convex(dense: &[f64], sparse: &[f64], alpha: f64) -> Vec<f64> {
    dense.iter().zip(scaled(sparse)).map(|(dense, sparse)| alpha * dense + (1.0 - alpha) * sparse).collect()
}

fn scaled(values: &[f64]) -> impl Iterator<Item = f64> {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let range = values.iter().copied().fold(f64::NEG_INFINITY, f64::max) - least;
    values.iter().map(move |value| if range > 0.0 { (value - least) / range } else { 0.0 })
}

/// The sum of `1 / (60 + rank)` over both lists; the greatest value has rank 1, equal values share the better rank.
pub fn reciprocal_rank(first: &[f64], second: &[f64]) -> Vec<f64> {
    let (first, second) = (reciprocals(first), reciprocals(second));
    first.iter().zip(&second).map(|(a, b)| a + b).collect()
}

fn reciprocals(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    let above = |value: &f64| sorted.partition_point(|other| other > value);
    values.iter().map(|value| 1.0 / (RANK_OFFSET + 1.0 + above(value) as f64)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
    }

    #[test]
    fn fusions_agree_with_the_reference() {
        // methods/golden/07_semantic.json, "hybrid".
        let (dense, bm25) = ([0.82, 0.8, 0.4], [1.2, 6.3, 5.9]);
        assert_close(&convex(&dense, &bm25, 0.7), &[0.574, 0.86, 0.556470588235294]);
        let expected = [0.032266458495966696, 0.03252247488101534, 0.03200204813108039];
        assert_close(&reciprocal_rank(&dense, &bm25), &expected);
    }

    #[test]
    fn equal_values_stay_equal() {
        assert_close(&convex(&[0.3, 0.3], &[1.0, 2.0], 0.5), &[0.15, 0.65]);
        assert_close(&convex(&[0.3, 0.1], &[2.0, 2.0], 0.5), &[0.15, 0.05]);
        let fused = reciprocal_rank(&[1.0, 1.0, 0.0], &[2.0, 2.0, 3.0]);
        assert_eq!(fused[0], fused[1]);
        assert!(convex(&[], &[], 0.5).is_empty() && reciprocal_rank(&[], &[]).is_empty());
    }
}
