//! Training: evidence in, artifact out. Fitting, calibrating, measuring; serving lives elsewhere.

pub mod fit;
