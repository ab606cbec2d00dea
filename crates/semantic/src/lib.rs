//! Routing by intent: a catalogue says by example what belongs to each route, and a query takes the route whose
//! exemplars it is nearest to, or none. Pure: no file is read, no encoder is run, nothing is drawn; texts, vectors
//! and labelled queries arrive as values.
//!
//! `catalogue` parses what routes there are and `check` says whether they make sense. `embed`, `index`, `sparse` and
//! `hybrid` compare texts; `score` ranks routes. `fit`, `threshold` and `floor` learn from labelled queries when a
//! ranking is good enough; `matcher` decides, and `evaluate` measures how well (methods section 7).

#[cfg(feature = "ann")]
mod ann;
mod catalogue;
pub mod check;
mod embed;
mod error;
mod evaluate;
mod fit;
mod floor;
pub mod hybrid;
mod index;
mod matcher;
mod score;
mod sparse;
mod text;
pub mod threshold;

#[cfg(feature = "ann")]
pub use ann::{Approximate, EXACT_UP_TO};
pub use catalogue::{
    Aggregation, Catalogue, Fusion, Labelled, Mode, Route, Settings, Target, labelled_queries,
};
pub use embed::{Embed, STATIC_DIMENSION, StaticEmbedder};
pub use error::SemanticError;
pub use evaluate::{Evaluation, FalseAccepts, RouteFigures, Share, evaluate};
pub use fit::{
    Answered, FitOptions, Fitted, Odds, ThresholdRule, answered, cross_fitted, leave_one_out, off_topic,
};
pub use floor::ConformalFloor;
pub use index::{Hit, Index, SearchScratch, Tops};
pub use matcher::{Candidate, Match, MatchReason, Matcher};
pub use score::{Ask, Ranking, Scored, Scorer, Scratch};
pub use sparse::Bm25;
