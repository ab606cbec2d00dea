//! The words of Rung as types that cannot be wrong: queries, scores, probabilities,
//! thresholds, models, decisions. No I/O, no clock, no wire or storage format lives here;
//! records that travel have their own types beside the reader or service that needs them.

mod backend;
mod decision;
mod model;
mod probability;
mod query;
mod tier;

pub use backend::BackendIdentity;
pub use decision::{Decision, Reason, RungEvidence};
pub use model::{Ladder, ModelError, ModelName, ModelPair, Tier};
pub use probability::{
    ProbabilityError, ProbabilityInterval, Score, SuccessProbability, Threshold, WinProbability,
};
pub use query::{Body, Message, Query, QueryError, Role};
pub use tier::{ScoringTier, TierReason, TierWish};
