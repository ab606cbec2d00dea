//! Cascades: models tried one after another, cheapest first as a rule. Each answer is judged by a verifier that gives
//! a calibrated probability that it is acceptable; it is then accepted, the query is sent on to the next model, or the
//! cascade abstains. Pure: no model is called and nothing is judged here, probabilities, outcomes, costs and
//! latencies arrive as values.
//!
//! `rule` is what serves; `sample` what it is tuned and judged on; `outcome` what a rule gives on a sample; `sweep`
//! (with `problem`, `split`, `joint` and `floor`) how thresholds are found; `baseline` the naive ways to find them;
//! `chains` which models form the chain, in what order; `certificate` what a sample proves about the error among
//! accepted answers; `agreement` what several answers that agree are worth. What a cascade saves against routing is
//! the economics crate's: [`Outcome`] measures what it asks for.
//!
//! Sources: methods sections 4 to 6; Zellinger and Thomson, arXiv 2501.09345 and 2502.09054.

mod agreement;
mod baseline;
mod certificate;
mod chains;
mod floor;
mod joint;
mod outcome;
mod problem;
mod rule;
mod sample;
mod split;
mod sweep;

pub use agreement::{AgreementLevel, all_wrong_together};
pub use baseline::{fixed_thresholds, per_stage_thresholds};
pub use certificate::{AcceptedRisk, CascadeCertificate, CertifiedCascade, ShiftPath, certify_cascade};
pub use chains::{ChainSearch, RankedChain, orders, rank_chains};
pub use outcome::{Outcome, StageOutcome, Stop};
pub use rule::{
    CascadeRule, Forecast, Skip, SkipReason, StageRule, StageThresholds, Step, StepReason, Verdict,
    break_even_acceptance,
};
pub use sample::{CascadeSample, Chain, MOST_STAGES, StageRows};
pub use sweep::{Abstention, Labels, Objective, TuneOptions, Tuned, tune};

#[cfg(test)]
mod tests;
