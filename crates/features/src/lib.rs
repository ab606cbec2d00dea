//! Text → tokens and numeric features, in one pass and without a heap allocation per token.
//!
//! Three views of a query come out of one scan: token buckets in reading order (for learned
//! vectors), hashed word 1-2-grams with sublinear counts (for the wide part) and a fixed row of
//! surface features (methods section 10). No weights live here: the same text always gives the
//! same numbers. Training and serving share this one implementation.

pub mod answer;
mod extract;
pub mod hash;
mod scan;
mod surface;
pub mod words;

pub use extract::{Extractor, FeatureConfig, Features};
pub use scan::each_token;
pub use surface::{SURFACE_LEN, SURFACE_NAMES, Script};
