//! What the classifier learns from a row: success of each model, and who beats whom.

use std::collections::HashMap;

use classifier::GeneralAxis;
use corpus::{Example, Winner};
use features::{Extractor, FeatureConfig, Features};
use types::{ModelName, ModelPair};

/// One directed comparison: does `strong` strictly beat `weak`?
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WinTarget {
    /// Column of the model asked about.
    pub strong: usize,
    /// Column of the model it is compared with.
    pub weak: usize,
    /// 1 when it is strictly better, `tie_value` on a tie, 0 otherwise.
    pub value: f32,
}

/// Rows ready for the loop: features once, targets by column.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The columns.
    pub models: Vec<ModelName>,
    /// Columns of strong and weak of each served pair.
    pub pairs: Vec<(usize, usize)>,
    /// One entry per example.
    pub features: Vec<Features>,
    /// Success scores by column; `None` where the model did not answer.
    pub success: Vec<Vec<Option<f32>>>,
    /// Comparisons of each row.
    pub wins: Vec<Vec<WinTarget>>,
    /// Sample weights.
    pub weights: Vec<f32>,
    /// The encoder's vector of each example, for the deep tier.
    pub embeddings: Option<Vec<Vec<f32>>>,
    /// Scores of every model that answered, served or not, by a number for its name.
    pub answers: Vec<Vec<(usize, f32)>>,
    /// A number for each row's category: its values of [`CATEGORY_KEYS`].
    pub category: Vec<usize>,
    /// A general axis learned from other data, at which the fit of every pair starts.
    pub prior: Option<GeneralAxis>,
}

/// Slice keys that say what kind of question a row asks.
const CATEGORY_KEYS: [&str; 3] = ["source:", "category:", "task:"];

impl Prepared {
    /// Reads every example once. `pairs` are learned from absolute outcomes; preferences are
    /// learned in both directions between any models in `models`.
    pub fn new(
        examples: &[Example],
        models: &[ModelName],
        pairs: &[ModelPair],
        config: &FeatureConfig,
        tie_value: f64,
    ) -> Self {
        let column = |model: &ModelName| models.iter().position(|m| m == model);
        let pair_columns: Vec<(usize, usize)> =
            pairs.iter().filter_map(|p| Some((column(p.strong())?, column(p.weak())?))).collect();
        let mut extractor = Extractor::new(config.clone());
        let mut prepared = Self {
            models: models.to_vec(),
            pairs: pair_columns.clone(),
            features: Vec::with_capacity(examples.len()),
            success: Vec::with_capacity(examples.len()),
            wins: Vec::with_capacity(examples.len()),
            weights: examples.iter().map(|e| e.weight as f32).collect(),
            embeddings: None,
            answers: Vec::with_capacity(examples.len()),
            category: Vec::with_capacity(examples.len()),
            prior: None,
        };
        let (mut answering, mut categories) = (Numbers::default(), Numbers::default());
        for example in examples {
            let mut features = Features::default();
            extractor.extract(&example.query, &mut features);
            prepared.features.push(features);
            let success: Vec<Option<f32>> =
                models.iter().map(|m| example.evidence.outcomes.get(m).map(|s| *s as f32)).collect();
            let mut wins = gains(&success, &pair_columns, tie_value as f32);
            for preference in &example.evidence.preferences {
                if let (Some(a), Some(b)) = (column(&preference.model_a), column(&preference.model_b)) {
                    wins.extend(battle(a, b, preference.winner, tie_value as f32));
                }
            }
            let answers = example.evidence.outcomes.iter();
            prepared.answers.push(answers.map(|(m, s)| (answering.of(m.as_str()), *s as f32)).collect());
            let kind = example.slices.iter().filter(|s| CATEGORY_KEYS.iter().any(|key| s.starts_with(key)));
            prepared.category.push(categories.of(&kind.map(String::as_str).collect::<Vec<_>>().join(" ")));
            prepared.success.push(success);
            prepared.wins.push(wins);
        }
        prepared
    }
}

/// Numbers for names, in the order they are first met.
#[derive(Default)]
struct Numbers(HashMap<String, usize>);

impl Numbers {
    fn of(&mut self, name: &str) -> usize {
        let next = self.0.len();
        *self.0.entry(name.to_owned()).or_insert(next)
    }
}

fn gains(success: &[Option<f32>], pairs: &[(usize, usize)], tie_value: f32) -> Vec<WinTarget> {
    let mut wins = Vec::new();
    for &(strong, weak) in pairs {
        if let (Some(s), Some(w)) = (success[strong], success[weak]) {
            let value = if s > w {
                1.0
            } else if s == w {
                tie_value
            } else {
                0.0
            };
            wins.push(WinTarget { strong, weak, value });
        }
    }
    wins
}

fn battle(a: usize, b: usize, winner: Winner, tie_value: f32) -> [WinTarget; 2] {
    let (forward, backward) = match winner {
        Winner::A => (1.0, 0.0),
        Winner::B => (0.0, 1.0),
        Winner::Tie | Winner::TieBothBad => (tie_value, tie_value),
    };
    [WinTarget { strong: a, weak: b, value: forward }, WinTarget { strong: b, weak: a, value: backward }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_strictly_better_is_a_gain() {
        let pairs = [(1, 0)];
        let value = |w: f32, s: f32, tie: f32| gains(&[Some(w), Some(s)], &pairs, tie)[0].value;
        assert_eq!(value(0.0, 1.0, 0.0), 1.0);
        assert_eq!(value(1.0, 1.0, 0.0), 0.0);
        assert_eq!(value(0.0, 0.0, 0.5), 0.5);
        assert_eq!(value(0.3, 0.2, 0.5), 0.0);
        assert!(gains(&[None, Some(1.0)], &pairs, 0.0).is_empty());
    }

    #[test]
    fn a_battle_counts_in_both_directions() {
        let values = |winner| battle(0, 1, winner, 0.0).map(|t| (t.strong, t.value));
        assert_eq!(values(Winner::A), [(0, 1.0), (1, 0.0)]);
        assert_eq!(values(Winner::B), [(0, 0.0), (1, 1.0)]);
        assert_eq!(values(Winner::TieBothBad), [(0, 0.0), (1, 0.0)]);
    }
}
