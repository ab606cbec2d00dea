//! Following a log while it grows: every decision once, and every report once, with its decision and what was reported
//! before, whichever of the two came first.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::reader::within;
use crate::record::{DecisionRecord, OutcomeRecord};
use crate::store::{Cursor, Store, StoreError};

/// Rows of a page.
const PAGE: usize = 128;

/// Something new in the log.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<'a> {
    /// A decision.
    Decision(&'a DecisionRecord),
    /// A report that joins its decision.
    Outcome {
        /// The decision.
        decision: &'a DecisionRecord,
        /// What was reported of it before.
        before: &'a [OutcomeRecord],
        /// The report.
        outcome: &'a OutcomeRecord,
    },
}

/// How far a log was followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Follower {
    decisions: Cursor,
    outcomes: Cursor,
}

impl Follower {
    /// At the end of a log as it is now: nothing that is in it will be told.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn at_end(store: &dyn Store) -> Result<Self, StoreError> {
        let (decisions, outcomes) = store.end().await?;
        Ok(Self { decisions, outcomes })
    }

    /// Tells what is new, a page of it; whether there may be more. Reports after the horizon are passed by.
    ///
    /// # Errors
    /// When the database is away or holds what this build does not understand; then nothing was told, and the same page
    /// comes again.
    pub async fn advance(
        &mut self,
        store: &dyn Store,
        horizon: Duration,
        tell: &mut (dyn FnMut(Event<'_>) + Send),
    ) -> Result<bool, StoreError> {
        let decisions = store.decisions_after(self.decisions, PAGE).await?;
        let ids: Vec<Uuid> = decisions.rows.iter().map(|(_, d)| d.decision_id).collect();
        let early = if ids.is_empty() { Vec::new() } else { store.outcomes_of(&ids).await? };
        let known = decisions.end(self.decisions);
        let outcomes = store.outcomes_after(self.outcomes, PAGE).await?;
        let ids: Vec<Uuid> = outcomes.rows.iter().map(|(_, o)| o.decision_id).collect();
        let (decided, reported) = if ids.is_empty() {
            Default::default()
        } else {
            (store.decisions_of(&ids).await?, store.outcomes_of(&ids).await?)
        };
        let mut of = by_decision(early);
        for (_, decision) in &decisions.rows {
            tell(Event::Decision(decision));
            // Reports that came before their decision were passed by then.
            let reports = of.remove(&decision.decision_id).unwrap_or_default();
            for i in 0..reports.partition_point(|(at, _)| *at <= self.outcomes) {
                outcome(decision, &reports, i, horizon, tell);
            }
        }
        let decided: HashMap<Uuid, DecisionRecord> = decided
            .into_iter()
            .filter(|(at, _)| *at <= known)
            .map(|(_, decision)| (decision.decision_id, decision))
            .collect();
        let of = by_decision(reported);
        for (at, report) in &outcomes.rows {
            let Some(decision) = decided.get(&report.decision_id) else { continue };
            let reports = of.get(&report.decision_id).map(Vec::as_slice).unwrap_or_default();
            if let Some(i) = reports.iter().position(|(found, _)| found == at) {
                outcome(decision, reports, i, horizon, tell);
            }
        }
        self.decisions = known;
        self.outcomes = outcomes.end(self.outcomes);
        Ok(decisions.rows.len() == PAGE || outcomes.rows.len() == PAGE)
    }
}

type Reports = Vec<(Cursor, OutcomeRecord)>;

fn by_decision(reports: Reports) -> HashMap<Uuid, Reports> {
    let mut by = HashMap::<Uuid, Reports>::new();
    for (at, report) in reports {
        by.entry(report.decision_id).or_default().push((at, report));
    }
    by
}

fn outcome(
    decision: &DecisionRecord,
    reports: &[(Cursor, OutcomeRecord)],
    i: usize,
    horizon: Duration,
    tell: &mut (dyn FnMut(Event<'_>) + Send),
) {
    let in_time = |report: &OutcomeRecord| within(decision.time_us, report.time_us, horizon);
    let report = &reports[i].1;
    if in_time(report) {
        let before: Vec<OutcomeRecord> =
            reports[..i].iter().map(|(_, report)| report).filter(|r| in_time(r)).cloned().collect();
        tell(Event::Outcome { decision, before: &before, outcome: report });
    }
}
