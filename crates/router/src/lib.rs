//! The pipeline of a decision: features → classifier → calibration → policy, and who may run it
//! when. Wires, clocks of requests and logs belong to `server`.

mod admission;
mod info;
mod route;

pub use admission::{Admission, AdmissionError, Permit};
pub use classifier::Backend;
pub use info::{ArtifactInfo, PointInfo};
pub use route::{Ask, At, RouteError, Routed, Router, RouterError, RouterOptions};
