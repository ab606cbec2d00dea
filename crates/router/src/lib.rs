//! The pipeline of a decision: features → classifier → calibration → policy, the encoder where these are in doubt,
//! and who may run it when. Wires, clocks of requests and logs belong to `server`.

mod admission;
mod counters;
mod deep;
mod given;
mod info;
mod route;
mod tiers;

pub use admission::{Admission, AdmissionError, Permit};
pub use artifact::EncoderPrecision;
pub use classifier::{Adapter, Backend};
pub use counters::TierCounts;
pub use deep::DeepOptions;
pub use features::Script;
pub use given::Given;
pub use info::{ArtifactInfo, PointInfo};
pub use policy::Exploration;
pub use route::{Ask, At, RouteError, Routed, Router, RouterError, RouterOptions};
pub use tiers::{Begun, Waiting};
