//! Data in: examples, the readers that make them, how they are grouped and split, and the
//! embedded starter corpus. No model lives here, so checking data never builds one.

mod example;

pub use example::{Evidence, Example, Preference, Winner};
