//! Moving an encoder: its top layers tuned end to end through the classifier's head, and small students distilled
//! from it. Both write a plain checkpoint, which `fit` then reads as it reads any other. The loop, its checkpoints
//! and its schedule are those of `fit`.

mod distil;
mod fine_tune;
mod projection;
mod seen;
mod texts;

pub use distil::{DistilConfig, Prompts, distil};
pub use fine_tune::{FineTuneConfig, fine_tune};
pub use seen::{seen_rows, tuned_on};
