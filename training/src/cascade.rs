//! Cascades of models behind a verifier: the rows they are tuned on, held-out curves of every way to tune them, the
//! thresholds that are written beside the verifier. The rules and the tuning itself live in `policy`.

pub mod copula;
pub mod curve;
pub mod rows;
pub mod tuned;

mod report;

pub use curve::{Curves, Way};
pub use report::{lines, page};
pub use rows::CascadeRows;
