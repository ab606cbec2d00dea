//! PostgreSQL, for a fleet: several servers write to one database, a day is a partition, batches arrive by COPY.

use std::collections::{BTreeSet, HashMap};
use std::str::FromStr;
use std::sync::Mutex as Lock;
use std::sync::PoisonError;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::rows::{self, DecisionRow, OutcomeRow, UNKNOWN, classified, decision_rows, outcome_rows};
use super::{
    Appended, Batch, Cursor, Page, Removed, Retention, Store, StoreError, date_of, first_kept_day, iso_day,
    redacted,
};
use crate::record::{DecisionRecord, Outcome, OutcomeRecord};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// Of advisory locks: making partitions, and the replica that watches.
const PARTITIONS: i64 = 0x72_75_6e_67_01;
const LEADER: i64 = 0x72_75_6e_67_02;

/// Tables that are cut into days.
const TABLES: [&str; 3] = ["decisions", "outcomes", "prompts"];

/// How long a connection is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Postgres {
    pool: PgPool,
    options: PgConnectOptions,
    name: String,
    /// Days known to have partitions.
    days: Lock<BTreeSet<i32>>,
    /// Holds the lock of the leader for as long as it lives.
    leader: Mutex<Option<PgConnection>>,
}

const PLACE: &str = "d.transaction::text::bigint AS transaction, d.row, d.record::text AS record";

impl Postgres {
    pub(super) async fn open(url: &str) -> Result<Self, StoreError> {
        let name = redacted(url);
        let failed = |source| StoreError::Database { store: name.clone(), source };
        let options = PgConnectOptions::from_str(url)
            .map_err(failed)?
            .application_name("rung")
            // That a temporary table is there already is no news.
            .options([("client_min_messages", "warning")])
            .disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(4)
            .acquire_timeout(PATIENCE)
            .connect_with(options.clone())
            .await
            .map_err(failed)?;
        let migrated = MIGRATIONS.run(&pool).await;
        migrated.map_err(|source| StoreError::Migration { store: name.clone(), source })?;
        Ok(Self { pool, options, name, days: Lock::default(), leader: Mutex::default() })
    }

    fn failed(&self, source: sqlx::Error) -> StoreError {
        StoreError::Database { store: self.name.clone(), source }
    }

    fn cursor(row: &PgRow) -> Result<(Cursor, String), sqlx::Error> {
        let at = Cursor { transaction: row.try_get("transaction")?, row: row.try_get("row")? };
        Ok((at, row.try_get("record")?))
    }

    fn decision(&self, row: &PgRow) -> Result<(Cursor, DecisionRecord), StoreError> {
        let (at, record) = Self::cursor(row).map_err(|e| self.failed(e))?;
        let prompt = row.try_get("prompt").map_err(|e| self.failed(e))?;
        Ok((at, rows::decision(&record, prompt, at.row, &self.name)?))
    }

    fn outcome(&self, row: &PgRow) -> Result<(Cursor, OutcomeRecord), StoreError> {
        let (at, record) = Self::cursor(row).map_err(|e| self.failed(e))?;
        Ok((at, rows::outcome(&record, at.row, &self.name)?))
    }

    /// Makes the partitions of days that have none, one replica at a time.
    async fn partitions(&self, days: BTreeSet<i32>) -> Result<(), sqlx::Error> {
        let known = || self.days.lock().unwrap_or_else(PoisonError::into_inner);
        let new: Vec<i32> = days.difference(&known()).copied().collect();
        if new.is_empty() {
            return Ok(());
        }
        let mut transaction = self.pool.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(PARTITIONS).execute(&mut *transaction).await?;
        for day in &new {
            for table in TABLES {
                let sql = format!(
                    "CREATE TABLE IF NOT EXISTS {} PARTITION OF {table} FOR VALUES FROM ('{}') TO ('{}')",
                    partition(table, *day),
                    iso_day(*day),
                    iso_day(day.saturating_add(1))
                );
                sqlx::query(AssertSqlSafe(sql)).execute(&mut *transaction).await?;
            }
        }
        transaction.commit().await?;
        known().extend(new);
        Ok(())
    }

    async fn append_whole(&self, batch: &Batch) -> Result<Appended, StoreError> {
        let failed = |e| self.failed(e);
        let decisions = decision_rows(&batch.decisions, &self.name)?;
        let outcomes = outcome_rows(batch, &self.name)?;
        let days = decisions.iter().map(|row| row.day).chain(outcomes.iter().map(|row| row.day));
        self.partitions(days.collect()).await.map_err(failed)?;
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        let new = Self::append_decisions(&mut transaction, &decisions).await.map_err(failed)?;
        let stands = self.append_outcomes(&mut transaction, &outcomes).await?;
        transaction.commit().await.map_err(failed)?;
        Ok(Appended { decisions: new, outcomes: classified(batch, &stands) })
    }

    async fn append_decisions(
        connection: &mut PgConnection,
        decisions: &[DecisionRow],
    ) -> Result<u64, sqlx::Error> {
        if decisions.is_empty() {
            return Ok(0);
        }
        let rows = decisions.iter().map(|row| [iso_day(row.day), row.id.to_string(), row.record.clone()]);
        copy(connection, "decisions", "day date, decision_id uuid, record jsonb", rows).await?;
        let prompts = decisions
            .iter()
            .filter_map(|row| Some([iso_day(row.day), row.id.to_string(), row.prompt.clone()?]))
            .collect::<Vec<_>>();
        if !prompts.is_empty() {
            copy(connection, "prompts", "day date, decision_id uuid, prompt text", prompts).await?;
            let moved = "INSERT INTO prompts (day, decision_id, prompt) SELECT day, decision_id, coalesce(prompt, '') \
                         FROM incoming_prompts ON CONFLICT DO NOTHING";
            sqlx::query(moved).execute(&mut *connection).await?;
        }
        let moved = "INSERT INTO decisions (day, decision_id, record) SELECT day, decision_id, record \
                     FROM incoming_decisions ON CONFLICT DO NOTHING";
        Ok(sqlx::query(moved).execute(connection).await?.rows_affected())
    }

    async fn append_outcomes(
        &self,
        connection: &mut PgConnection,
        outcomes: &[OutcomeRow],
    ) -> Result<HashMap<(Uuid, String), (Outcome, bool)>, StoreError> {
        if outcomes.is_empty() {
            return Ok(HashMap::new());
        }
        let failed = |e| self.failed(e);
        let rows = outcomes
            .iter()
            .map(|row| [iso_day(row.day), row.id.to_string(), row.source.clone(), row.record.clone()]);
        let columns = "day date, decision_id uuid, source text, record jsonb";
        copy(connection, "outcomes", columns, rows).await.map_err(failed)?;
        let moved = "INSERT INTO outcomes (day, decision_id, source, record) \
                     SELECT day, decision_id, source, record FROM incoming_outcomes \
                     ON CONFLICT DO NOTHING RETURNING decision_id, source";
        let fresh: BTreeSet<(Uuid, String)> =
            sqlx::query_as(moved).fetch_all(&mut *connection).await.map_err(failed)?.into_iter().collect();
        let kept = sqlx::query(AssertSqlSafe(format!(
            "SELECT {PLACE} FROM outcomes d JOIN incoming_outcomes i USING (day, decision_id, source)"
        )));
        let mut stands = HashMap::new();
        for row in kept.fetch_all(connection).await.map_err(failed)? {
            let record = self.outcome(&row)?.1;
            let key = (record.decision_id, record.source);
            let is_fresh = fresh.contains(&key);
            stands.insert(key, (record.outcome, is_fresh));
        }
        Ok(stands)
    }
}

/// Fills `incoming_TABLE`, which is empty again after the transaction.
async fn copy<const N: usize>(
    connection: &mut PgConnection,
    table: &str,
    columns: &str,
    rows: impl IntoIterator<Item = [String; N]>,
) -> Result<(), sqlx::Error> {
    let made =
        format!("CREATE TEMPORARY TABLE IF NOT EXISTS incoming_{table} ({columns}) ON COMMIT DELETE ROWS");
    sqlx::query(AssertSqlSafe(made)).execute(&mut *connection).await?;
    let mut text = csv::Writer::from_writer(Vec::new());
    for row in rows {
        text.write_record(row).map_err(|e| sqlx::Error::Io(e.into()))?;
    }
    let text = text.into_inner().map_err(|e| sqlx::Error::Io(e.into_error()))?;
    let mut copy = connection.copy_in_raw(&format!("COPY incoming_{table} FROM STDIN (FORMAT csv)")).await?;
    match copy.send(text).await {
        Ok(_) => copy.finish().await.map(|_| ()),
        Err(e) => copy.abort("interrupted").await.and(Err(e)),
    }
}

/// The days that records of these ids lie in: no other partition is looked at.
fn days_of(ids: &[Uuid]) -> Vec<String> {
    let days: BTreeSet<i32> = ids.iter().map(|id| rows::day(*id)).collect();
    days.into_iter().map(iso_day).collect()
}

fn partition(table: &str, day: i32) -> String {
    format!("{table}_{}", date_of(day).strftime("%Y_%m_%d"))
}

#[async_trait]
impl Store for Postgres {
    async fn append(&self, batch: &Batch) -> Result<Appended, StoreError> {
        let appended = self.append_whole(batch).await;
        if appended.is_err() {
            // Another replica may have dropped a day that was known here.
            self.days.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        appended
    }

    async fn decisions_after(&self, after: Cursor, limit: usize) -> Result<Page<DecisionRecord>, StoreError> {
        // A row of a transaction that is older than every one still open can no longer be overtaken.
        let found = sqlx::query(AssertSqlSafe(format!(
            "SELECT {PLACE}, p.prompt FROM decisions d LEFT JOIN prompts p USING (day, decision_id) \
             WHERE (d.transaction, d.row) > (($1::bigint)::text::xid8, $2) \
             AND d.transaction < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY d.transaction, d.row LIMIT $3"
        )))
        .bind(after.transaction)
        .bind(after.row)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await
        .map_err(|e| self.failed(e))?;
        Ok(Page { rows: found.iter().map(|row| self.decision(row)).collect::<Result<_, _>>()? })
    }

    async fn outcomes_after(&self, after: Cursor, limit: usize) -> Result<Page<OutcomeRecord>, StoreError> {
        let found = sqlx::query(AssertSqlSafe(format!(
            "SELECT {PLACE} FROM outcomes d WHERE (d.transaction, d.row) > (($1::bigint)::text::xid8, $2) \
             AND d.transaction < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY d.transaction, d.row LIMIT $3"
        )))
        .bind(after.transaction)
        .bind(after.row)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await
        .map_err(|e| self.failed(e))?;
        Ok(Page { rows: found.iter().map(|row| self.outcome(row)).collect::<Result<_, _>>()? })
    }

    async fn end(&self) -> Result<(Cursor, Cursor), StoreError> {
        // Everything below the oldest open transaction is final; rows of it are all before its first.
        let oldest: i64 = sqlx::query_scalar("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
            .fetch_one(&self.pool)
            .await
            .map_err(|e| self.failed(e))?;
        let end = Cursor { transaction: oldest - 1, row: i64::MAX };
        Ok((end, end))
    }

    async fn decisions_of(&self, ids: &[Uuid]) -> Result<Vec<(Cursor, DecisionRecord)>, StoreError> {
        let found = sqlx::query(AssertSqlSafe(format!(
            "SELECT {PLACE}, p.prompt FROM decisions d LEFT JOIN prompts p USING (day, decision_id) \
             WHERE d.decision_id = ANY($1) AND d.day = ANY($2::text[]::date[]) ORDER BY d.transaction, d.row"
        )))
        .bind(ids)
        .bind(days_of(ids))
        .fetch_all(&self.pool)
        .await
        .map_err(|e| self.failed(e))?;
        found.iter().map(|row| self.decision(row)).collect()
    }

    async fn outcomes_of(&self, ids: &[Uuid]) -> Result<Vec<(Cursor, OutcomeRecord)>, StoreError> {
        let found = sqlx::query(AssertSqlSafe(format!(
            "SELECT {PLACE} FROM outcomes d WHERE d.decision_id = ANY($1) AND d.day = ANY($2::text[]::date[]) \
             ORDER BY d.transaction, d.row"
        )))
        .bind(ids)
        .bind(days_of(ids))
        .fetch_all(&self.pool)
        .await
        .map_err(|e| self.failed(e))?;
        found.iter().map(|row| self.outcome(row)).collect()
    }

    async fn unknown_outcomes(&self) -> Result<u64, StoreError> {
        let unknown: i64 =
            sqlx::query_scalar(UNKNOWN).fetch_one(&self.pool).await.map_err(|e| self.failed(e))?;
        Ok(u64::try_from(unknown).unwrap_or(0))
    }

    async fn state(&self, key: &str) -> Result<Option<String>, StoreError> {
        let found = sqlx::query_scalar("SELECT value FROM state WHERE key = $1").bind(key);
        found.fetch_optional(&self.pool).await.map_err(|e| self.failed(e))
    }

    async fn keep_state(&self, key: &str, value: &str) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO state (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )
        .bind(key)
        .bind(value)
        .execute(&self.pool)
        .await
        .map_err(|e| self.failed(e))?;
        Ok(())
    }

    async fn leads(&self) -> Result<bool, StoreError> {
        let mut held = self.leader.lock().await;
        if let Some(mut connection) = held.take()
            && connection.ping().await.is_ok()
        {
            *held = Some(connection);
            return Ok(true);
        }
        let mut connection = PgConnection::connect_with(&self.options).await.map_err(|e| self.failed(e))?;
        let leads: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
            .bind(LEADER)
            .fetch_one(&mut connection)
            .await
            .map_err(|e| self.failed(e))?;
        if leads {
            *held = Some(connection);
        }
        Ok(leads)
    }

    async fn retain(&self, retention: &Retention, now_us: i64) -> Result<Removed, StoreError> {
        let mut removed = Removed::default();
        for (table, kept, days) in [
            ("decisions", retention.records, &mut removed.days),
            ("outcomes", retention.records, &mut 0),
            ("prompts", retention.prompts.or(retention.records), &mut removed.days_of_prompts),
        ] {
            let Some(first) = first_kept_day(kept, now_us) else { continue };
            let partitions: Vec<String> = sqlx::query_scalar(
                "SELECT relid::text FROM pg_partition_tree($1::regclass) WHERE isleaf AND level = 1 \
                 AND relid::text < $2 ORDER BY 1",
            )
            .bind(table)
            .bind(partition(table, first))
            .fetch_all(&self.pool)
            .await
            .map_err(|e| self.failed(e))?;
            for old in partitions {
                let dropped = sqlx::query(AssertSqlSafe(format!("DROP TABLE IF EXISTS {old}")));
                dropped.execute(&self.pool).await.map_err(|e| self.failed(e))?;
                *days += 1;
            }
        }
        // A late record of a dropped day makes its partition anew.
        self.days.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(removed)
    }
}
