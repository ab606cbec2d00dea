//! Reading a log back whole, wherever it is kept: every decision with what was reported of it within the horizon.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use thiserror::Error;
use uuid::Uuid;

use crate::join::Joined;
use crate::parquet::{self, ParquetFileError};
use crate::record::{DecisionRecord, OutcomeRecord};
use crate::store::{Cursor, Store, StoreError, open_existing};

/// Decisions of a page.
const PAGE: usize = 2_000;

/// Why a log could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// A database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Parquet files.
    #[error(transparent)]
    Parquet(#[from] ParquetFileError),
    /// Neither.
    #[error("{0}: expected sqlite:PATH, postgres://HOST/DATABASE or a folder that `training export` wrote")]
    Nothing(String),
    /// The runtime did not start.
    #[error("starting a runtime: {0}")]
    Runtime(std::io::Error),
}

/// Reports that did not join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unjoined {
    /// Of decisions that are not in the log.
    pub unknown: u64,
    /// That came after the horizon.
    pub late: u64,
}

/// Reads a log: `sqlite:PATH`, `postgres://…`, or a folder of Parquet files. Blocks; not for servers.
///
/// # Errors
/// When it is not there, or holds what this build does not understand.
pub fn read(source: &str, horizon: Duration, each: &mut dyn FnMut(Joined)) -> Result<Unjoined, ReadError> {
    if Path::new(source).is_dir() {
        return read_files(Path::new(source), horizon, each);
    }
    if !source.contains(':') {
        return Err(ReadError::Nothing(source.to_owned()));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(ReadError::Runtime)?.block_on(async {
        let store = open_existing(source).await?;
        Ok(read_store(store.as_ref(), horizon, each).await?)
    })
}

async fn read_store(
    store: &dyn Store,
    horizon: Duration,
    each: &mut dyn FnMut(Joined),
) -> Result<Unjoined, StoreError> {
    let mut unjoined = Unjoined { unknown: store.unknown_outcomes().await?, late: 0 };
    let mut at = Cursor::default();
    loop {
        let page = store.decisions_after(at, PAGE).await?;
        if page.rows.is_empty() {
            return Ok(unjoined);
        }
        at = page.end(at);
        let ids: Vec<Uuid> = page.rows.iter().map(|(_, d)| d.decision_id).collect();
        let mut outcomes = by_decision(store.outcomes_of(&ids).await?.into_iter().map(|(_, o)| o));
        for (_, decision) in page.rows {
            let of = outcomes.remove(&decision.decision_id).unwrap_or_default();
            each(joined(decision, of, horizon, &mut unjoined));
        }
    }
}

fn read_files(folder: &Path, horizon: Duration, each: &mut dyn FnMut(Joined)) -> Result<Unjoined, ReadError> {
    let mut all = Vec::new();
    parquet::outcomes(folder, &mut |outcome| all.push(outcome))?;
    let (mut outcomes, mut unjoined) = (by_decision(all), Unjoined::default());
    parquet::decisions(folder, &mut |decision| {
        let of = outcomes.remove(&decision.decision_id).unwrap_or_default();
        each(joined(decision, of, horizon, &mut unjoined));
    })?;
    unjoined.unknown = outcomes.values().map(|of| of.len() as u64).sum();
    Ok(unjoined)
}

fn by_decision(outcomes: impl IntoIterator<Item = OutcomeRecord>) -> HashMap<Uuid, Vec<OutcomeRecord>> {
    let mut by = HashMap::<Uuid, Vec<OutcomeRecord>>::new();
    for outcome in outcomes {
        by.entry(outcome.decision_id).or_default().push(outcome);
    }
    by
}

/// A decision with those reports that came within the horizon, in the order they were observed.
fn joined(
    decision: DecisionRecord,
    mut outcomes: Vec<OutcomeRecord>,
    horizon: Duration,
    unjoined: &mut Unjoined,
) -> Joined {
    let before = outcomes.len();
    outcomes.retain(|outcome| within(decision.time_us, outcome.time_us, horizon));
    unjoined.late += (before - outcomes.len()) as u64;
    outcomes.sort_by_key(|outcome| outcome.time_us);
    Joined { decision, outcomes }
}

/// Whether a report comes within the horizon of its decision. Clocks differ: one from before it joins too.
pub fn within(decided_us: i64, observed_us: i64, horizon: Duration) -> bool {
    observed_us.saturating_sub(decided_us) <= i64::try_from(horizon.as_micros()).unwrap_or(i64::MAX)
}
