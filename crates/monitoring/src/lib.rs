//! Whether the router still does what was measured: pure state machines that take decisions and what came of them, in
//! order, and raise alarms whose false ones come as rarely as stated. They do no I/O and read no clock; where events
//! come from and who hears an alarm is decided elsewhere. Their state may be kept and read back (serde): a machine that was
//! kept goes on as if it had never stopped.

mod buckets;
mod calibration_break;
mod distribution;
mod kept;
mod sequential;
mod sketch;
mod watch;

pub use buckets::{Bucket, Buckets};
pub use calibration_break::{Alarm, Cusum, EProcess, ShiryaevRoberts, cusum_limit};
pub use distribution::{MonitoringError, Psi, Reference, kolmogorov_smirnov, psi_of_counts};
pub use sequential::{Arm, ArmTest, Sprt, Verdict, normal_mixture_radius};
pub use sketch::{ProbabilityQuantiles, Quantiles};
pub use watch::{DecisionSeen, LabelSeen, Monitor, Raised, Stands, Status, Watch, WatchOptions};
