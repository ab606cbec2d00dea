//! Verifiers of answers: features of answers with outcomes, the fit, scores of answers whose query took no part in it,
//! calibrators, and what was measured. Chains of models that use one are tuned in `cascade`.

pub mod answers;
mod card;
pub mod fit;
pub mod held_out;
pub mod measure;

pub use answers::{Answers, add_readings};
pub(crate) use card::{card_files, refreshed};
pub use fit::{VerifierConfig, View, fit_verifier};
pub use held_out::HeldOutAnswers;
