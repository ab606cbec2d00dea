//! Labelled queries as JSONL: `{"query", "route"}`, where the route may be `null`.

use serde::Deserialize;

use super::jsonl::objects;
use crate::SemanticError;

/// A query and the route it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labelled {
    /// The query.
    pub query: String,
    /// The name of its route; `None`: it belongs to none.
    pub route: Option<String>,
}

/// Reads labelled queries, one object a line.
///
/// # Errors
/// With file, line and key where a line is no such object.
pub fn labelled_queries(text: &str, file: &str) -> Result<Vec<Labelled>, SemanticError> {
    objects(text).map(|object| object.map(|at| at.value).map_err(|problem| problem.of_file(file))).collect()
}
