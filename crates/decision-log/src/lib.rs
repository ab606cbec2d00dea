//! The memory of a router: a record per decision and per outcome, the stores they go to, the writer that keeps them off
//! the hot path, and what of both belongs together. Nothing here decides, scores or watches.

#[cfg(test)]
extern crate self as decision_log;

mod fingerprint;
mod follow;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod join;
pub mod parquet;
mod reader;
mod record;
mod spool;
mod store;
mod watching;
mod writer;

pub use fingerprint::{FingerprintKey, KeyError, read_key};
pub use follow::{Event, Follower};
pub use join::{Joined, Label, Maturity, MaturityBand, labels};
pub use reader::{ReadError, Unjoined, read, within};
pub use record::{
    DecisionRecord, Evidence, FeatureSummary, Outcome, OutcomeError, OutcomeRecord, POLICY_RECORD_VERSION,
    PolicyRecord, RECORD_VERSION, Rollout, clean, time_of,
};
pub use spool::SpoolError;
pub use store::{
    Appended, Batch, Cursor, Page, Removed, Reported, Retention, Store, StoreError, open, open_existing,
    redacted,
};
pub use watching::see;
pub use writer::{Counts, DecisionLog, Filed, LogOptions, Overflow, Redact, Refusal};
