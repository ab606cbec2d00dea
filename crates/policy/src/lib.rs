//! Where a query goes, and how the threshold for that was chosen. Pure: nothing is scored, read or
//! drawn here; probabilities, outcomes, prices and random draws arrive as values.
//!
//! `decide` is the rule that serves; `explore` what departs from it on purpose; `randomised` the
//! thresholds that mix two; `certificate` what a sample proves about a threshold; `select` how one is
//! found for an objective; `cascade` is all of it for models that are tried one after another.

pub mod cascade;
mod certificate;
mod decide;
mod error;
mod explore;
mod randomised;
mod select;

pub use certificate::{
    Certificate, Certified, Risk, certify, hoeffding_bentkus_p_value, labels_for_certificate,
    least_labels_for_certificate,
};
pub use decide::{Stakes, decide, goes_strong, straddles};
pub use error::SelectError;
pub use explore::{Exploration, explore};
pub use randomised::{RandomisedThreshold, request_draw};
pub use select::{Expected, Objective, Selection, select};
