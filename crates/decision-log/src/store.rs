//! What a store can do, and which one a URL means. SQLite needs no set-up; PostgreSQL serves a fleet.

mod postgres;
mod rows;
mod sqlite;

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use jiff::ToSpan;
use jiff::civil::{Date, date};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::record::{DecisionRecord, OutcomeRecord};

/// Why a store did not do what it was asked to.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A URL that means no store.
    #[error("{url}: expected sqlite:PATH or postgres://HOST/DATABASE")]
    Url {
        /// Without a password.
        url: String,
    },
    /// The database refused or is away.
    #[error("{store}: {source}")]
    Database {
        /// Without a password.
        store: String,
        /// What it said.
        source: sqlx::Error,
    },
    /// Its tables could not be made or are of a newer build.
    #[error("{store}: migrating: {source}")]
    Migration {
        /// Without a password.
        store: String,
        /// What it said.
        source: sqlx::migrate::MigrateError,
    },
    /// It did not answer in time.
    #[error("{store}: no answer for {} s", waited.as_secs())]
    Slow {
        /// Without a password.
        store: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// A row that this build does not understand.
    #[error("{store}: {what}")]
    Malformed {
        /// Without a password.
        store: String,
        /// Table, row and reason.
        what: String,
    },
}

impl StoreError {
    /// Whether the same may succeed later. What is not transient is about the records.
    pub fn is_transient(&self) -> bool {
        let source = match self {
            Self::Database { source, .. } => source,
            Self::Slow { .. } => return true,
            Self::Url { .. } | Self::Migration { .. } | Self::Malformed { .. } => return false,
        };
        match source.as_database_error().map(|e| (e.is_unique_violation(), e.code())) {
            None => true,
            Some((true, _)) => false,
            // SQLSTATE classes of the data itself, but for a partition that is missing (23514); SQLite names too big (18),
            // constraint (19) and mismatch (20).
            Some((false, Some(code))) => {
                let of_data = code.len() == 5 && (code.starts_with("22") || code.starts_with("23"));
                code == "23514" || !of_data && !["18", "19", "20"].contains(&code.as_ref())
            }
            Some((false, None)) => true,
        }
    }
}

impl StoreError {
    /// Whether a server that was asked for over the network is not there, or too busy: nothing that somebody has to
    /// mend in a configuration.
    pub fn is_away(&self) -> bool {
        let Self::Database { source, store } = self else { return matches!(self, Self::Slow { .. }) };
        let code = source.as_database_error().and_then(sqlx::error::DatabaseError::code);
        let busy =
            code.is_some_and(|c| c.len() == 5 && ["08", "53", "57"].iter().any(|class| c.starts_with(class)));
        let silent = matches!(source, sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut);
        store.starts_with("postgres") && (silent || busy)
    }
}

/// What is appended at once.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Batch {
    /// Decisions.
    pub decisions: Vec<DecisionRecord>,
    /// Reports.
    pub outcomes: Vec<OutcomeRecord>,
}

impl Batch {
    /// Records of both kinds.
    pub fn len(&self) -> usize {
        self.decisions.len() + self.outcomes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Appended {
    /// Decisions that are new; the others were there already.
    pub decisions: u64,
    /// What became of each report, in order.
    pub outcomes: Vec<Reported>,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// It is the first of its source.
    Recorded,
    /// The same was there already.
    Duplicate,
    /// Its source has reported something else before, which stands.
    Conflict,
}

/// A place in the order of appending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Cursor {
    /// The transaction, in stores where several write at once.
    pub transaction: i64,
    /// The row.
    pub row: i64,
}

/// Rows after a place, and the place after them.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// Rows with their places, in order.
    pub rows: Vec<(Cursor, T)>,
}

impl<T> Page<T> {
    /// The place after the page; `before` where it is empty.
    pub fn end(&self, before: Cursor) -> Cursor {
        self.rows.last().map_or(before, |(at, _)| *at)
    }
}

/// How long what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Decisions and reports.
    pub records: Option<Duration>,
    /// Texts of queries.
    pub prompts: Option<Duration>,
}

/// What retention removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    /// Days of decisions and reports, whole.
    pub days: u64,
    /// Days of texts.
    pub days_of_prompts: u64,
}

/// A place for records. Appending is idempotent: by id for decisions, by id and source for reports.
#[async_trait]
pub trait Store: Debug + Send + Sync {
    /// Appends a batch, all of it or nothing.
    ///
    /// # Errors
    /// When the database is away or refuses a record.
    async fn append(&self, batch: &Batch) -> Result<Appended, StoreError>;

    /// Decisions appended after a place, at most `limit`; those another writer may still overtake are left for later.
    ///
    /// # Errors
    /// When the database is away or holds what this build does not understand.
    async fn decisions_after(&self, after: Cursor, limit: usize) -> Result<Page<DecisionRecord>, StoreError>;

    /// Reports appended after a place.
    ///
    /// # Errors
    /// As [`Store::decisions_after`].
    async fn outcomes_after(&self, after: Cursor, limit: usize) -> Result<Page<OutcomeRecord>, StoreError>;

    /// The last places of decisions and of reports that can no longer be overtaken.
    ///
    /// # Errors
    /// When the database is away.
    async fn end(&self) -> Result<(Cursor, Cursor), StoreError>;

    /// Decisions of these ids with their places, those there are.
    ///
    /// # Errors
    /// As [`Store::decisions_after`].
    async fn decisions_of(&self, ids: &[Uuid]) -> Result<Vec<(Cursor, DecisionRecord)>, StoreError>;

    /// Reports about these decisions with their places, oldest first.
    ///
    /// # Errors
    /// As [`Store::decisions_after`].
    async fn outcomes_of(&self, ids: &[Uuid]) -> Result<Vec<(Cursor, OutcomeRecord)>, StoreError>;

    /// How many reports speak of decisions that are not there.
    ///
    /// # Errors
    /// When the database is away.
    async fn unknown_outcomes(&self) -> Result<u64, StoreError>;

    /// A kept value.
    ///
    /// # Errors
    /// When the database is away.
    async fn state(&self, key: &str) -> Result<Option<String>, StoreError>;

    /// Keeps a value.
    ///
    /// # Errors
    /// When the database is away.
    async fn keep_state(&self, key: &str, value: &str) -> Result<(), StoreError>;

    /// Whether this holder may do what only one replica does, such as watching; asked again each time.
    ///
    /// # Errors
    /// When the database is away.
    async fn leads(&self) -> Result<bool, StoreError>;

    /// Removes whole days that are older than is kept.
    ///
    /// # Errors
    /// When the database is away.
    async fn retain(&self, retention: &Retention, now_us: i64) -> Result<Removed, StoreError>;
}

/// Opens the store of a URL, making its tables where there are none: `sqlite:PATH` (or `sqlite::memory:`) or
/// `postgres://USER:PASSWORD@HOST/DATABASE`.
///
/// # Errors
/// When the URL means no store, or the database is away or of a newer build.
pub async fn open(url: &str) -> Result<Box<dyn Store>, StoreError> {
    open_as(url, true).await
}

/// Opens a store that is there: a file of SQLite is not made.
///
/// # Errors
/// As [`open`], and when there is no such file.
pub async fn open_existing(url: &str) -> Result<Box<dyn Store>, StoreError> {
    open_as(url, false).await
}

async fn open_as(url: &str, make: bool) -> Result<Box<dyn Store>, StoreError> {
    if url.starts_with("sqlite:") {
        Ok(Box::new(sqlite::Sqlite::open(url, make).await?))
    } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        Ok(Box::new(postgres::Postgres::open(url).await?))
    } else {
        Err(StoreError::Url { url: redacted(url) })
    }
}

/// A URL without its password, for messages.
pub fn redacted(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    // What follows a question mark may hold a password too.
    let rest = rest.split('?').next().unwrap_or(rest);
    match rest.rsplit_once('@') {
        Some((user, host)) => {
            let user = user.split(':').next().unwrap_or(user);
            format!("{scheme}://{user}@{host}")
        }
        None => format!("{scheme}://{rest}"),
    }
}

const DAY_US: i64 = 86_400_000_000;

/// Days since 1970 of a time.
pub(crate) fn day_of(time_us: i64) -> i32 {
    i32::try_from(time_us.div_euclid(DAY_US)).unwrap_or(i32::MAX)
}

/// That day as `2026-11-25`.
pub(crate) fn iso_day(day: i32) -> String {
    date_of(day).to_string()
}

fn date_of(day: i32) -> Date {
    date(1970, 1, 1).saturating_add(day.days())
}

/// The first day that is kept.
fn first_kept_day(kept: Option<Duration>, now_us: i64) -> Option<i32> {
    let kept = i64::try_from(kept?.as_micros()).unwrap_or(i64::MAX);
    Some(day_of(now_us.saturating_sub(kept)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_told() {
        for url in [
            "postgres://rung:secret@db/log",
            "postgres://rung:secret@db/log?password=secret",
            "mysql://a:secret@b",
        ] {
            let told = redacted(url);
            assert!(!told.contains("secret"), "{told}");
        }
        assert_eq!(redacted("postgres://rung:s:e@cret@db/log"), "postgres://rung@db/log");
        assert_eq!(redacted("sqlite:a/b.db"), "sqlite:a/b.db");
    }

    #[tokio::test]
    async fn a_url_that_means_no_store_is_refused() {
        let error = open("mysql://a:secret@b/c").await.unwrap_err().to_string();
        assert_eq!(error, "mysql://a@b/c: expected sqlite:PATH or postgres://HOST/DATABASE");
    }
}
