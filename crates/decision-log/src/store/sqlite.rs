//! SQLite: one file, one writer, no set-up. The write-ahead log is synced at every commit.

use std::collections::HashMap;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, QueryBuilder, Row, Sqlite as Dialect, SqliteConnection,
};
use uuid::Uuid;

use super::rows::{self, UNKNOWN, classified, decision_rows, outcome_rows};
use super::{Appended, Batch, Cursor, Page, Removed, Retention, Store, StoreError, first_kept_day};
use crate::record::{DecisionRecord, Outcome, OutcomeRecord};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// Rows of one statement at most, a power of two.
const ROWS: usize = 64;

/// Rest after a full statement, so that those that decide have the processor in between. Who brings [`HURRY`] rows at
/// once is behind and has none.
const REST: Duration = Duration::from_millis(1);
const HURRY: usize = 1_000;

/// Pages of the write-ahead log that are moved to the file at once, one in four of SQLite's own number: a quarter of the
/// time at a stretch.
const CHECKPOINT: &str = "250";

/// Rows that retention removes at once.
const ROWS_REMOVED: usize = 5_000;

/// Rows that the thread of the database reads ahead of who asked for them: a page of a follower.
const ROWS_AHEAD: usize = 128;

/// How long another process that writes is waited for.
const BUSY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Sqlite {
    pool: SqlitePool,
    name: String,
}

impl Sqlite {
    pub(super) async fn open(url: &str, make: bool) -> Result<Self, StoreError> {
        let name = url.to_owned();
        let failed = |source| StoreError::Database { store: name.clone(), source };
        let options = SqliteConnectOptions::from_str(url)
            .map_err(failed)?
            .create_if_missing(make)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            .pragma("wal_autocheckpoint", CHECKPOINT)
            .row_buffer_size(ROWS_AHEAD)
            .disable_statement_logging();
        let folder = options.get_filename().parent().map(Path::to_owned);
        if let Some(folder) = folder.filter(|f| make && !f.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|e| failed(sqlx::Error::Io(e)))?;
        }
        // One connection: whoever writes has it, and a database in memory is one for all.
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.map_err(failed)?;
        let mut migrated = MIGRATIONS.run(&pool).await;
        if matches!(migrated, Err(MigrateError::ExecuteMigration(..) | MigrateError::Execute(_))) {
            // Another process may have made the same tables at the same moment; then they are there now.
            tokio::time::sleep(Duration::from_millis(100)).await;
            migrated = MIGRATIONS.run(&pool).await;
        }
        migrated.map_err(|source| StoreError::Migration { store: name.clone(), source })?;
        Ok(Self { pool, name })
    }

    fn failed(&self, source: sqlx::Error) -> StoreError {
        StoreError::Database { store: self.name.clone(), source }
    }

    fn decision(&self, row: &SqliteRow) -> Result<(Cursor, DecisionRecord), StoreError> {
        let get =
            || Ok::<_, sqlx::Error>((row.try_get("row")?, row.try_get("record")?, row.try_get("prompt")?));
        let (place, record, prompt): (i64, String, Option<String>) = get().map_err(|e| self.failed(e))?;
        Ok((Cursor { transaction: 0, row: place }, rows::decision(&record, prompt, place, &self.name)?))
    }

    fn outcome(&self, row: &SqliteRow) -> Result<(Cursor, OutcomeRecord), StoreError> {
        let get = || Ok::<_, sqlx::Error>((row.try_get("row")?, row.try_get("record")?));
        let (place, record): (i64, String) = get().map_err(|e| self.failed(e))?;
        Ok((Cursor { transaction: 0, row: place }, rows::outcome(&record, place, &self.name)?))
    }

    async fn append_on(
        &self,
        connection: &mut SqliteConnection,
        batch: &Batch,
    ) -> Result<Appended, StoreError> {
        let failed = |e| self.failed(e);
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let mut appended = Appended::default();
        let hurry = batch.decisions.len() >= HURRY;
        for decisions in few_sizes(&batch.decisions) {
            let rows = decision_rows(decisions, &self.name)?;
            let mut insert =
                QueryBuilder::<Dialect>::new("INSERT INTO decisions (decision_id, day, record) ");
            insert.push_values(&rows, |mut values, row| {
                values.push_bind(row.id).push_bind(row.day).push_bind(&row.record);
            });
            insert.push(" ON CONFLICT DO NOTHING");
            let done = insert.build().execute(&mut *transaction).await.map_err(failed)?;
            appended.decisions += done.rows_affected();
            let prompts: Vec<_> = rows.iter().filter_map(|row| Some((row, row.prompt.as_ref()?))).collect();
            for prompts in few_sizes(&prompts) {
                let mut insert =
                    QueryBuilder::<Dialect>::new("INSERT INTO prompts (decision_id, day, prompt) ");
                insert.push_values(prompts, |mut values, (row, prompt)| {
                    values.push_bind(row.id).push_bind(row.day).push_bind(*prompt);
                });
                insert.push(" ON CONFLICT DO NOTHING");
                insert.build().execute(&mut *transaction).await.map_err(failed)?;
            }
            if decisions.len() == ROWS && !hurry {
                tokio::time::sleep(REST).await;
            }
        }
        let stands = self.append_outcomes(&mut transaction, batch).await?;
        transaction.commit().await.map_err(failed)?;
        appended.outcomes = classified(batch, &stands);
        Ok(appended)
    }

    async fn append_outcomes(
        &self,
        connection: &mut SqliteConnection,
        batch: &Batch,
    ) -> Result<HashMap<(Uuid, String), (Outcome, bool)>, StoreError> {
        let mut stands = HashMap::new();
        for row in outcome_rows(batch, &self.name)? {
            let (id, source) = (row.id, row.source.clone());
            let inserted = sqlx::query(
                "INSERT INTO outcomes (decision_id, source, day, record) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            )
            .bind(row.id)
            .bind(row.source)
            .bind(row.day)
            .bind(row.record)
            .execute(&mut *connection)
            .await
            .map_err(|e| self.failed(e))?;
            let kept = sqlx::query("SELECT row, record FROM outcomes WHERE decision_id = ? AND source = ?")
                .bind(id)
                .bind(&source)
                .fetch_one(&mut *connection)
                .await
                .map_err(|e| self.failed(e))?;
            let said = self.outcome(&kept)?.1.outcome;
            stands.insert((id, source), (said, inserted.rows_affected() > 0));
        }
        Ok(stands)
    }
}

/// The rows in groups of [`ROWS`], then of smaller and smaller powers of two: a statement is kept for each length of a
/// group, and parsed once.
fn few_sizes<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let length = 1 << rows.len().min(ROWS).checked_ilog2()?;
        let (group, rest) = rows.split_at(length);
        rows = rest;
        Some(group)
    })
}

/// The ids as a JSON array of hex digits, which SQLite takes apart.
fn hex_ids(ids: &[Uuid]) -> String {
    serde_json::json!(ids.iter().map(|id| id.simple().to_string()).collect::<Vec<_>>()).to_string()
}

#[async_trait]
impl Store for Sqlite {
    async fn append(&self, batch: &Batch) -> Result<Appended, StoreError> {
        let mut connection = self.pool.acquire().await.map_err(|e| self.failed(e))?;
        let appended = self.append_on(&mut connection, batch).await;
        if appended.is_err() {
            // SQLite rolls back by itself where the disk is full, and the connection does not know.
            connection.close_on_drop();
        }
        appended
    }

    async fn decisions_after(&self, after: Cursor, limit: usize) -> Result<Page<DecisionRecord>, StoreError> {
        let found = sqlx::query(
            "SELECT d.row, d.record, p.prompt FROM decisions d LEFT JOIN prompts p USING (decision_id) \
             WHERE d.row > ? ORDER BY d.row LIMIT ?",
        )
        .bind(after.row)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await
        .map_err(|e| self.failed(e))?;
        Ok(Page { rows: found.iter().map(|row| self.decision(row)).collect::<Result<_, _>>()? })
    }

    async fn outcomes_after(&self, after: Cursor, limit: usize) -> Result<Page<OutcomeRecord>, StoreError> {
        let found = sqlx::query("SELECT row, record FROM outcomes WHERE row > ? ORDER BY row LIMIT ?")
            .bind(after.row)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await
            .map_err(|e| self.failed(e))?;
        Ok(Page { rows: found.iter().map(|row| self.outcome(row)).collect::<Result<_, _>>()? })
    }

    async fn end(&self) -> Result<(Cursor, Cursor), StoreError> {
        let rows: (i64, i64) = sqlx::query_as(
            "SELECT (SELECT coalesce(max(row), 0) FROM decisions), (SELECT coalesce(max(row), 0) FROM outcomes)",
        )
        .fetch_one(&self.pool)
        .await
        .map_err(|e| self.failed(e))?;
        let at = |row| Cursor { transaction: 0, row };
        Ok((at(rows.0), at(rows.1)))
    }

    async fn decisions_of(&self, ids: &[Uuid]) -> Result<Vec<(Cursor, DecisionRecord)>, StoreError> {
        let found = sqlx::query(
            "SELECT d.row, d.record, p.prompt FROM decisions d LEFT JOIN prompts p USING (decision_id) \
             WHERE d.decision_id IN (SELECT unhex(value) FROM json_each(?)) ORDER BY d.row",
        )
        .bind(hex_ids(ids))
        .fetch_all(&self.pool)
        .await
        .map_err(|e| self.failed(e))?;
        found.iter().map(|row| self.decision(row)).collect()
    }

    async fn outcomes_of(&self, ids: &[Uuid]) -> Result<Vec<(Cursor, OutcomeRecord)>, StoreError> {
        let found = sqlx::query(
            "SELECT row, record FROM outcomes WHERE decision_id IN (SELECT unhex(value) FROM json_each(?)) \
             ORDER BY row",
        )
        .bind(hex_ids(ids))
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
        let found = sqlx::query_scalar("SELECT value FROM state WHERE key = ?").bind(key);
        found.fetch_optional(&self.pool).await.map_err(|e| self.failed(e))
    }

    async fn keep_state(&self, key: &str, value: &str) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO state (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value")
            .bind(key)
            .bind(value)
            .execute(&self.pool)
            .await
            .map_err(|e| self.failed(e))?;
        Ok(())
    }

    async fn leads(&self) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn retain(&self, retention: &Retention, now_us: i64) -> Result<Removed, StoreError> {
        let mut removed = Removed::default();
        for (table, kept, days) in [
            ("decisions", retention.records, &mut removed.days),
            ("outcomes", retention.records, &mut 0),
            ("prompts", retention.prompts.or(retention.records), &mut removed.days_of_prompts),
        ] {
            let Some(first) = first_kept_day(kept, now_us) else { continue };
            let days_of = format!("SELECT DISTINCT day FROM {table} WHERE day < ?");
            let old: Vec<i32> = sqlx::query_scalar(AssertSqlSafe(days_of))
                .bind(first)
                .fetch_all(&self.pool)
                .await
                .map_err(|e| self.failed(e))?;
            let some = format!(
                "DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE day = ? LIMIT {ROWS_REMOVED})"
            );
            for day in old {
                // A few at a time: between two deletions the writer has its turn.
                while sqlx::query(AssertSqlSafe(some.as_str()))
                    .bind(day)
                    .execute(&self.pool)
                    .await
                    .map_err(|e| self.failed(e))?
                    .rows_affected()
                    > 0
                {}
                *days += 1;
            }
        }
        Ok(removed)
    }
}
