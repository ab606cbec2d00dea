//! The pipeline of a decision: features → classifier → calibration → policy, the encoder where these are in doubt,
//! and who may run it when. Wires, clocks of requests and logs belong to `server`.

mod admission;
mod cascade;
mod counters;
mod deep;
mod given;
mod info;
mod route;
mod tiers;

pub use admission::{
    Admission, AdmissionError, Counts as AdmissionCounts, Permit, Priority, QUEUE_TIME_BOUNDS_US, QueueRoom,
    QueueTimes, Refusal, Standing, Work,
};
pub use artifact::EncoderPrecision;
pub use cascade::{
    AnswerAt, Assessed, Cascade, CascadeError, CascadeStage, Cascades, CascadesError, Plan, PlannedStage,
    Predicted,
};
pub use classifier::{Adapter, Backend};
pub use counters::TierCounts;
pub use deep::{DeepOptions, encoder_threads_begin_here};
pub use features::Script;
pub use features::answer::{FinishReason, Signals};
pub use given::Given;
pub use info::{ArtifactInfo, PointInfo};
pub use policy::Exploration;
pub use policy::cascade::{Skip, Step, Verdict};
pub use route::{Ask, At, RouteError, Routed, Router, RouterError, RouterOptions};
pub use tiers::{Begun, Waiting};
