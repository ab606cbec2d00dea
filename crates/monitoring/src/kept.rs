//! How limits without end are kept: JSON writes no infinity, so it is written as nothing.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Writes a finite number as it is, any other as nothing.
pub(crate) fn serialize<S: Serializer>(limit: &f64, to: S) -> Result<S::Ok, S::Error> {
    limit.is_finite().then_some(*limit).serialize(to)
}

/// Reads what [`serialize`] wrote; nothing is infinity.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::INFINITY))
}
