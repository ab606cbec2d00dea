//! The floor below which a query is off topic: a conformal test against labelled off-topic queries (Vovk et al. 2005;
//! Bates et al. 2023; methods section 7). It promises that of off-topic queries like those it was given no more than
//! a stated share passes.

use crate::SemanticError;

/// Similarities of off-topic queries to their nearest exemplar, and the share of such queries that may pass.
///
/// The promise holds on average over the draw of the off-topic queries: for one exchangeable with them,
/// P(p <= alpha) <= alpha. The similarities must not have been used to choose what they are computed by.
#[derive(Debug, Clone, PartialEq)]
pub struct ConformalFloor {
    /// Ascending.
    similarities: Vec<f64>,
    alpha: f64,
}

impl ConformalFloor {
    /// Takes the similarities of off-topic queries, in any order.
    ///
    /// # Errors
    /// When alpha is not inside (0, 1), or there are fewer than `1 / alpha - 1` similarities: no query could ever
    /// pass.
    pub fn new(mut similarities: Vec<f64>, alpha: f64) -> Result<Self, SemanticError> {
        if !(alpha > 0.0 && alpha < 1.0) {
            return Err(SemanticError::OutOfRange {
                name: "alpha of the floor",
                value: alpha,
                expected: "a number between 0 and 1",
            });
        }
        // The p-value of the most similar query there can be, compared as it will be.
        let found = similarities.len();
        if p_value(0, found) > alpha {
            let needed = (1.0 / alpha - 1.0).ceil() as usize;
            return Err(SemanticError::TooFewOffTopic { found, alpha, needed });
        }
        similarities.sort_unstable_by(f64::total_cmp);
        Ok(Self { similarities, alpha })
    }

    /// `(1 + off-topic queries at least as similar) / (n + 1)`, in (0, 1]: how little a similarity surprises among
    /// off-topic queries.
    pub fn p_value(&self, similarity: f64) -> f64 {
        let below = self.similarities.partition_point(|other| *other < similarity);
        p_value(self.similarities.len() - below, self.similarities.len())
    }

    /// Whether a query is similar enough to be on topic.
    pub fn passes(&self, similarity: f64) -> bool {
        self.p_value(similarity) <= self.alpha
    }

    /// The share of off-topic queries that may pass.
    pub fn alpha(&self) -> f64 {
        self.alpha
    }

    /// Off-topic queries that it stands on.
    pub fn off_topic_count(&self) -> usize {
        self.similarities.len()
    }

    /// The similarity that a query must exceed: the k-th greatest of the off-topic ones, `k = floor(alpha (n + 1))`.
    pub fn floor(&self) -> f64 {
        let passing = self.similarities.iter().rev().find(|similarity| !self.passes(**similarity));
        passing.copied().unwrap_or(f64::NEG_INFINITY)
    }
}

fn p_value(at_least: usize, of: usize) -> f64 {
    (1 + at_least) as f64 / (of + 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// methods/golden/07_semantic.json, "ood_floor".
    const SIMILARITIES: [f64; 10] = [0.31, 0.35, 0.38, 0.4, 0.42, 0.43, 0.47, 0.5, 0.52, 0.58];

    #[test]
    fn p_values_agree_with_the_reference() {
        let floor = ConformalFloor::new(SIMILARITIES.to_vec(), 0.1).unwrap();
        assert!((floor.p_value(0.55) - 0.18181818181818182).abs() < 1e-15);
        assert!((floor.p_value(0.6) - 0.09090909090909091).abs() < 1e-15);
        assert_eq!(floor.floor(), 0.58);
        assert!(!floor.passes(0.58) && floor.passes(0.58f64.next_up()));
        assert_eq!(floor.p_value(f64::NEG_INFINITY), 1.0);
    }

    #[test]
    fn too_few_off_topic_queries_promise_nothing() {
        let few = ConformalFloor::new(SIMILARITIES[..8].to_vec(), 0.1).unwrap_err();
        assert_eq!(few, SemanticError::TooFewOffTopic { found: 8, alpha: 0.1, needed: 9 });
        assert!(ConformalFloor::new(SIMILARITIES[..9].to_vec(), 0.1).is_ok());
        assert!(ConformalFloor::new(SIMILARITIES.to_vec(), f64::NAN).is_err());
        assert!(ConformalFloor::new(Vec::new(), 0.5).is_err());
    }

    /// Share of draws in which a query exchangeable with the off-topic ones passes.
    fn false_accept_rate(n: usize, alpha: f64, draws: usize, draw: impl Fn(&mut ChaCha8Rng) -> f64) -> f64 {
        let mut rng = ChaCha8Rng::seed_from_u64(20);
        let passed = (0..draws).filter(|_| {
            let similarities = (0..n).map(|_| draw(&mut rng)).collect();
            ConformalFloor::new(similarities, alpha).unwrap().passes(draw(&mut rng))
        });
        passed.count() as f64 / draws as f64
    }

    #[test]
    fn no_more_off_topic_queries_pass_than_promised() {
        const DRAWS: usize = 40_000;
        for (n, alpha) in [(9usize, 0.1f64), (25, 0.1), (60, 0.05), (60, 0.1)] {
            let deviation = (alpha * (1.0 - alpha) / DRAWS as f64).sqrt();
            // Whatever the distribution, and not needlessly strict where there are no ties.
            let skewed = false_accept_rate(n, alpha, DRAWS, |rng| rng.random::<f64>().powi(4));
            assert!(skewed <= alpha + 4.0 * deviation, "{n} {alpha}: {skewed}");
            assert!(skewed >= alpha - 1.0 / (n + 1) as f64 - 4.0 * deviation, "{n} {alpha}: {skewed}");
            let tied = false_accept_rate(n, alpha, DRAWS, |rng| f64::from(rng.random_range(0..4u8)));
            assert!(tied <= alpha + 4.0 * deviation, "{n} {alpha}: {tied}");
        }
    }

    proptest! {
        #[test]
        fn what_passes_exceeds_the_floor(
            similarities in prop::collection::vec(0.0..1.0f64, 4..60), x in 0.0..1.0f64, alpha in 0.2..0.9f64,
        ) {
            let floor = ConformalFloor::new(similarities, alpha).unwrap();
            prop_assert_eq!(floor.passes(x), x > floor.floor());
            prop_assert!(floor.p_value(x) <= 1.0 && floor.p_value(x) > 0.0);
        }
    }
}
