//! Models and how they are ordered: names, the weak/strong pair, the ladder.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// The name of a model as the caller and the data spell it; never empty, and cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelName(Arc<str>);

/// Why a model name, pair or ladder was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ModelError {
    /// A name without a visible character.
    #[error("model name is empty")]
    EmptyName,
    /// A pair or ladder that names one model twice.
    #[error("model {0} is named twice: the rungs of a ladder are different models")]
    Duplicate(ModelName),
    /// A ladder with fewer than two rungs.
    #[error("a ladder needs at least two models, weakest first; got {0}")]
    TooShort(usize),
}

impl ModelName {
    /// Wraps a name, trimmed of surrounding white space.
    ///
    /// # Errors
    /// When nothing is left.
    pub fn new(name: &str) -> Result<Self, ModelError> {
        let name = name.trim();
        if name.is_empty() {
            return Err(ModelError::EmptyName);
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The quality axis of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// The cheaper rung.
    Weak,
    /// The dearer rung.
    Strong,
}

impl Tier {
    /// `weak` or `strong`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Weak => "weak",
            Self::Strong => "strong",
        }
    }
}

/// Two different models, one weak and one strong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelPair {
    strong: ModelName,
    weak: ModelName,
}

impl ModelPair {
    /// Pairs two models.
    ///
    /// # Errors
    /// When both are the same model.
    pub fn new(strong: ModelName, weak: ModelName) -> Result<Self, ModelError> {
        if strong == weak {
            return Err(ModelError::Duplicate(strong));
        }
        Ok(Self { strong, weak })
    }

    /// The dearer model.
    pub fn strong(&self) -> &ModelName {
        &self.strong
    }

    /// The cheaper model.
    pub fn weak(&self) -> &ModelName {
        &self.weak
    }

    /// Whether a model is one of the two.
    pub fn contains(&self, model: &ModelName) -> bool {
        self.strong == *model || self.weak == *model
    }

    /// The model of a tier.
    pub fn model(&self, tier: Tier) -> &ModelName {
        match tier {
            Tier::Weak => &self.weak,
            Tier::Strong => &self.strong,
        }
    }
}

impl fmt::Display for ModelPair {
    /// `strong/weak`, the order used everywhere a pair is printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.strong, self.weak)
    }
}

/// The models of a deployment in order of price, cheapest first; at least two, all different.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ladder(Vec<ModelName>);

impl Ladder {
    /// Builds a ladder, cheapest model first.
    ///
    /// # Errors
    /// With fewer than two models, or one named twice.
    pub fn new(models: Vec<ModelName>) -> Result<Self, ModelError> {
        if models.len() < 2 {
            return Err(ModelError::TooShort(models.len()));
        }
        // A set: a caller who names a hundred thousand models is not answered by comparing each with each.
        let mut named = HashSet::with_capacity(models.len());
        if let Some(model) = models.iter().find(|model| !named.insert(*model)) {
            return Err(ModelError::Duplicate(model.clone()));
        }
        Ok(Self(models))
    }

    /// The rungs, cheapest first.
    pub fn rungs(&self) -> &[ModelName] {
        &self.0
    }

    /// The dearest rung.
    pub fn top(&self) -> &ModelName {
        &self.0[self.0.len() - 1]
    }

    /// The cheapest rung.
    pub fn cheapest(&self) -> &ModelName {
        &self.0[0]
    }

    /// The rungs between the cheapest and the top, cheapest first.
    pub fn between(&self) -> &[ModelName] {
        &self.0[1..self.0.len() - 1]
    }
}

impl From<ModelPair> for Ladder {
    /// A pair is a ladder of two rungs.
    fn from(pair: ModelPair) -> Self {
        Self(vec![pair.weak, pair.strong])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ModelName {
        ModelName(text.into())
    }

    #[test]
    fn a_ladder_is_two_or_more_different_models() {
        assert_eq!(ModelName::new(" \n"), Err(ModelError::EmptyName));
        assert_eq!(Ladder::new(vec![name("a")]), Err(ModelError::TooShort(1)));
        assert_eq!(Ladder::new(vec![name("a"), name("b"), name("a")]), Err(ModelError::Duplicate(name("a"))));
        assert_eq!(ModelPair::new(name("a"), name("a")), Err(ModelError::Duplicate(name("a"))));
    }
}
