//! Data in: examples, the readers that make them, how they are grouped and split, and the
//! embedded starter corpus. No model lives here, so checking data never builds one.

mod answer;
mod check;
mod duplicates;
mod error;
mod example;
mod read;
mod record;
mod split;
pub mod starter;
mod write;

pub use answer::Answer;
pub use check::{PairCounts, answer_fingerprint, check_pair, fingerprint, select};
pub use duplicates::{Grouping, group_duplicates};
pub use error::{CorpusError, Invalid};
pub use example::{Evidence, Example, Preference, Winner};
pub use read::{Corpus, ReadOptions, ReadReport, read};
pub use split::{Fractions, Split, folds_by_group, given_folds, place, split_by_group};
pub use write::write_jsonl;
