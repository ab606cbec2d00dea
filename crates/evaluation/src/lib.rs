//! How good probabilities and routes are, each measure written down once: Brier, log loss, AUROC,
//! ECE, reliability, APGR and call shares, off-policy estimates, bootstrap intervals. Everything is
//! a pure function over slices, one entry per row; no I/O, no clock, and randomness is an argument.
//! What a row is, and what is done about a bad figure, is decided elsewhere.

mod binomial;
pub mod bootstrap;
mod decomposition;
mod error;
mod off_policy;
mod poisson_binomial;
mod probability;
mod quantile;
mod reliability;
pub mod routing;
mod smooth;
mod summary;
mod sweep;

pub use binomial::{binomial_cdf, clopper_pearson, upper_bound, wilson_95};
pub use bootstrap::Interval;
pub use decomposition::{Decomposition, corp_brier, corp_log_loss};
pub use error::EvaluationError;
pub use off_policy::{LEAST_EFFECTIVE_ROWS, Logged, OffPolicy, off_policy};
pub use poisson_binomial::{calibration_mid_p, holm};
pub use probability::{LOG_LOSS_CLAMP, auroc, brier, log_loss, mean_absolute_error};
pub use reliability::{
    ReliabilityBin, debiased_squared_ece, ece_equal_mass, ece_equal_width, reliability_equal_mass,
};
pub use smooth::{sm_ece, sm_ece_at};
pub use summary::{Estimate, Summary, SummaryConfig};
pub use sweep::{Outcomes, RoutingPoint, aiq, pareto_hull, sweep};
