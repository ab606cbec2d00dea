//! Records as rows: what both stores share of writing and reading them.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::{Batch, Reported, StoreError, day_of};
use crate::record::{DecisionRecord, Outcome, OutcomeRecord, POLICY_RECORD_VERSION, time_of};

/// Counts reports of decisions that are not there.
pub(super) const UNKNOWN: &str = "SELECT count(*) FROM outcomes o WHERE NOT EXISTS \
                                  (SELECT 1 FROM decisions d WHERE d.decision_id = o.decision_id)";

/// A decision as a row; its text goes to a table of its own, which is kept for another time.
pub(super) struct DecisionRow {
    pub(super) id: Uuid,
    pub(super) day: i32,
    pub(super) record: String,
    pub(super) prompt: Option<String>,
}

/// A report as a row. It lies with the day of its decision.
pub(super) struct OutcomeRow {
    pub(super) id: Uuid,
    pub(super) source: String,
    pub(super) day: i32,
    pub(super) record: String,
}

pub(super) fn decision_rows(
    decisions: &[DecisionRecord],
    store: &str,
) -> Result<Vec<DecisionRow>, StoreError> {
    let row = |decision: &DecisionRecord| {
        let without = match decision.prompt {
            None => Cow::Borrowed(decision),
            Some(_) => Cow::Owned(DecisionRecord { prompt: None, ..decision.clone() }),
        };
        Ok(DecisionRow {
            id: decision.decision_id,
            day: day(decision.decision_id),
            record: json(without.as_ref(), store)?,
            prompt: decision.prompt.clone(),
        })
    };
    decisions.iter().map(row).collect()
}

/// One row for each id and source: the first.
pub(super) fn outcome_rows(batch: &Batch, store: &str) -> Result<Vec<OutcomeRow>, StoreError> {
    let firsts = firsts(batch);
    let firsts = batch.outcomes.iter().enumerate().filter(|(i, o)| firsts[&key(o)] == *i);
    let row = |(_, outcome): (usize, &OutcomeRecord)| {
        Ok(OutcomeRow {
            id: outcome.decision_id,
            source: outcome.source.clone(),
            day: day(outcome.decision_id),
            record: json(outcome, store)?,
        })
    };
    firsts.map(row).collect()
}

/// The day of an id.
pub(super) fn day(id: Uuid) -> i32 {
    day_of(time_of(id).unwrap_or(0))
}

fn key(outcome: &OutcomeRecord) -> (Uuid, &str) {
    (outcome.decision_id, &outcome.source)
}

fn firsts(batch: &Batch) -> HashMap<(Uuid, &str), usize> {
    let mut firsts = HashMap::new();
    for (i, outcome) in batch.outcomes.iter().enumerate() {
        firsts.entry(key(outcome)).or_insert(i);
    }
    firsts
}

/// What became of the reports of a batch, given those that stand now: `stands` holds for each id and source what it says
/// and whether this batch brought it.
pub(super) fn classified(batch: &Batch, stands: &HashMap<(Uuid, String), (Outcome, bool)>) -> Vec<Reported> {
    let firsts = firsts(batch);
    let of = |(i, outcome): (usize, &OutcomeRecord)| match stands
        .get(&(outcome.decision_id, outcome.source.clone()))
    {
        Some((_, true)) if firsts[&key(outcome)] == i => Reported::Recorded,
        Some((said, _)) if *said != outcome.outcome => Reported::Conflict,
        _ => Reported::Duplicate,
    };
    batch.outcomes.iter().enumerate().map(of).collect()
}

fn json<T: Serialize>(record: &T, store: &str) -> Result<String, StoreError> {
    serde_json::to_string(record)
        .map_err(|e| StoreError::Malformed { store: store.to_owned(), what: format!("a record: {e}") })
}

pub(super) fn decision(
    text: &str,
    prompt: Option<String>,
    place: i64,
    store: &str,
) -> Result<DecisionRecord, StoreError> {
    let record: DecisionRecord = parsed(text, "decisions", place, store)?;
    Ok(DecisionRecord { prompt, ..record })
}

pub(super) fn outcome(text: &str, place: i64, store: &str) -> Result<OutcomeRecord, StoreError> {
    parsed(text, "outcomes", place, store)
}

fn parsed<T: DeserializeOwned>(text: &str, table: &str, place: i64, store: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::Malformed {
        store: store.to_owned(),
        what: format!(
            "{table}, row {place}: no record of version {POLICY_RECORD_VERSION} or older, which this build reads: {e}"
        ),
    })
}
