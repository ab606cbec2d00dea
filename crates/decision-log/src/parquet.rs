//! The log as Parquet files, `decisions/day=2026-11-25/part-0.parquet` and `outcomes/…`: columns for DuckDB, Spark or
//! ClickHouse, and beside them the record itself, which is what this crate reads back.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::record::{RecordWriter, RowAccessor};
use parquet::schema::types::Type;
use parquet_derive::ParquetRecordWriter;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::record::{DecisionRecord, OutcomeRecord};
use crate::store::iso_day;

/// Rows that are written together.
const ROW_GROUP: usize = 20_000;

/// Why files could not be written or read.
#[derive(Debug, Error)]
pub enum ParquetFileError {
    /// The disk refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No Parquet, or not of this log.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was expected.
        reason: String,
    },
}

#[derive(ParquetRecordWriter)]
struct DecisionRow<'a> {
    decision_id: String,
    time_us: i64,
    replica: &'a str,
    request_id: &'a str,
    rollout: &'a str,
    artifact: &'a str,
    artifact_version: &'a str,
    calibrator_version: &'a str,
    threshold_source: &'a str,
    fingerprint: &'a str,
    tokens: u32,
    bytes: u32,
    turns: u32,
    script: &'a str,
    truncated: bool,
    action: &'a str,
    policy_action: &'a str,
    propensity: f64,
    tier: &'a str,
    reason: &'a str,
    win_probability: f64,
    interval_lower: f64,
    interval_upper: f64,
    threshold: f64,
    scored_by: &'a str,
    scored_by_reason: &'a str,
    high_stakes: bool,
    decision_time_us: f64,
    prompt: Option<&'a str>,
    strategy: Option<&'a str>,
    intent: Option<&'a str>,
    record: String,
}

#[derive(ParquetRecordWriter)]
struct OutcomeRow<'a> {
    decision_id: String,
    source: &'a str,
    time_us: i64,
    kind: &'a str,
    record: String,
}

/// A record that has a table.
trait Table: Serialize + DeserializeOwned {
    const FOLDER: &'static str;
    fn day(&self) -> i32;
    fn schema() -> Result<Arc<Type>, ParquetError>;
    fn write(rows: &[Self], to: &mut SerializedFileWriter<File>) -> Result<(), ParquetError>;
}

fn json<T: Serialize>(record: &T) -> String {
    // Records hold strings, numbers and maps of strings: there is nothing that JSON lacks.
    serde_json::to_string(record).unwrap_or_default()
}

impl Table for DecisionRecord {
    const FOLDER: &'static str = "decisions";

    fn day(&self) -> i32 {
        crate::store::day_of(self.time_us)
    }

    fn schema() -> Result<Arc<Type>, ParquetError> {
        let none: [DecisionRow<'_>; 0] = [];
        none.as_slice().schema()
    }

    fn write(rows: &[Self], to: &mut SerializedFileWriter<File>) -> Result<(), ParquetError> {
        let row = |d: &Self| json(&Self { prompt: None, ..d.clone() });
        let records: Vec<String> = rows.iter().map(row).collect();
        let rows = rows.iter().zip(records).map(|(d, record)| DecisionRow {
            decision_id: d.decision_id.to_string(),
            time_us: d.time_us,
            replica: &d.replica,
            request_id: &d.request_id,
            rollout: d.rollout.as_str(),
            artifact: &d.artifact,
            artifact_version: &d.artifact_version,
            calibrator_version: &d.calibrator_version,
            threshold_source: &d.threshold_source,
            fingerprint: &d.fingerprint,
            tokens: d.features.tokens,
            bytes: d.features.bytes,
            turns: d.features.turns,
            script: &d.features.script,
            truncated: d.features.truncated,
            action: &d.action,
            policy_action: &d.policy_action,
            propensity: d.propensity,
            tier: &d.tier,
            reason: &d.reason,
            win_probability: d.win_probability,
            interval_lower: d.interval_lower,
            interval_upper: d.interval_upper,
            threshold: d.threshold,
            scored_by: &d.scored_by,
            scored_by_reason: &d.scored_by_reason,
            high_stakes: d.high_stakes,
            decision_time_us: d.decision_time_us,
            prompt: d.prompt.as_deref(),
            strategy: d.policy.as_ref().and_then(|policy| policy.strategy.as_deref()),
            intent: d.policy.as_ref().and_then(|policy| policy.intent.as_deref()),
            record,
        });
        let mut group = to.next_row_group()?;
        rows.collect::<Vec<_>>().as_slice().write_to_row_group(&mut group)?;
        group.close().map(|_| ())
    }
}

impl Table for OutcomeRecord {
    const FOLDER: &'static str = "outcomes";

    fn day(&self) -> i32 {
        crate::store::day_of(crate::time_of(self.decision_id).unwrap_or(0))
    }

    fn schema() -> Result<Arc<Type>, ParquetError> {
        let none: [OutcomeRow<'_>; 0] = [];
        none.as_slice().schema()
    }

    fn write(rows: &[Self], to: &mut SerializedFileWriter<File>) -> Result<(), ParquetError> {
        let rows = rows.iter().map(|o| OutcomeRow {
            decision_id: o.decision_id.to_string(),
            source: &o.source,
            time_us: o.time_us,
            kind: o.outcome.kind(),
            record: json(o),
        });
        let mut group = to.next_row_group()?;
        rows.collect::<Vec<_>>().as_slice().write_to_row_group(&mut group)?;
        group.close().map(|_| ())
    }
}

/// Writes records into files by day. Nothing is there under its name before [`Export::finish`].
#[derive(Debug)]
pub struct Export {
    decisions: Files<DecisionRecord>,
    outcomes: Files<OutcomeRecord>,
}

impl Export {
    /// Into a folder, which is made.
    pub fn to(folder: &Path) -> Self {
        let files = || folder.to_owned();
        Self { decisions: Files::to(files()), outcomes: Files::to(files()) }
    }

    /// Takes a decision.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn decision(&mut self, record: DecisionRecord) -> Result<(), ParquetFileError> {
        self.decisions.push(record)
    }

    /// Takes a report.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn outcome(&mut self, record: OutcomeRecord) -> Result<(), ParquetFileError> {
        self.outcomes.push(record)
    }

    /// Closes every file and gives it its name; those files.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn finish(self) -> Result<Vec<PathBuf>, ParquetFileError> {
        let mut files = self.decisions.finish()?;
        files.extend(self.outcomes.finish()?);
        Ok(files)
    }
}

/// The files of one table, by day.
#[derive(Debug)]
struct Files<T> {
    folder: PathBuf,
    days: BTreeMap<i32, Day<T>>,
}

struct Day<T> {
    part: PathBuf,
    writer: SerializedFileWriter<File>,
    rows: Vec<T>,
}

impl<T> std::fmt::Debug for Day<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.part.display())
    }
}

impl<T: Table> Files<T> {
    fn to(folder: PathBuf) -> Self {
        Self { folder, days: BTreeMap::new() }
    }

    fn push(&mut self, record: T) -> Result<(), ParquetFileError> {
        let number = record.day();
        if !self.days.contains_key(&number) {
            self.days.insert(number, Day::open(&self.folder, number)?);
        }
        let Some(day) = self.days.get_mut(&number) else { return Ok(()) };
        day.rows.push(record);
        if day.rows.len() >= ROW_GROUP { day.flush() } else { Ok(()) }
    }

    fn finish(self) -> Result<Vec<PathBuf>, ParquetFileError> {
        self.days.into_values().map(Day::close).collect()
    }
}

impl<T: Table> Day<T> {
    fn open(folder: &Path, day: i32) -> Result<Self, ParquetFileError> {
        let folder = folder.join(T::FOLDER).join(format!("day={}", iso_day(day)));
        fs::create_dir_all(&folder)
            .map_err(|source| ParquetFileError::Io { path: folder.clone(), source })?;
        let part = folder.join("part-0.parquet.unfinished");
        let file =
            File::create(&part).map_err(|source| ParquetFileError::Io { path: part.clone(), source })?;
        let properties =
            WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
        let malformed =
            |e: ParquetError| ParquetFileError::Malformed { path: part.clone(), reason: e.to_string() };
        let schema = T::schema().map_err(malformed)?;
        let writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).map_err(malformed)?;
        Ok(Self { part, writer, rows: Vec::new() })
    }

    fn flush(&mut self) -> Result<(), ParquetFileError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let written = T::write(&self.rows, &mut self.writer);
        self.rows.clear();
        written.map_err(|e| ParquetFileError::Malformed { path: self.part.clone(), reason: e.to_string() })
    }

    fn close(mut self) -> Result<PathBuf, ParquetFileError> {
        self.flush()?;
        let Self { part, writer, .. } = self;
        let finished = part.with_extension("");
        let io = |source| ParquetFileError::Io { path: part.clone(), source };
        let file = writer.into_inner();
        let file =
            file.map_err(|e| ParquetFileError::Malformed { path: part.clone(), reason: e.to_string() })?;
        file.sync_all().and_then(|()| fs::rename(&part, &finished)).map_err(io)?;
        Ok(finished)
    }
}

/// The decisions of a folder, day by day.
///
/// # Errors
/// When a file cannot be read or is none of this log.
pub fn decisions(folder: &Path, each: &mut dyn FnMut(DecisionRecord)) -> Result<(), ParquetFileError> {
    read::<DecisionRecord>(folder, &["record", "prompt"], &mut |record, prompt| {
        each(DecisionRecord { prompt, ..record });
    })
}

/// The reports of a folder.
///
/// # Errors
/// When a file cannot be read or is none of this log.
pub fn outcomes(folder: &Path, each: &mut dyn FnMut(OutcomeRecord)) -> Result<(), ParquetFileError> {
    read::<OutcomeRecord>(folder, &["record"], &mut |record, _| each(record))
}

fn read<T: Table>(
    folder: &Path,
    columns: &[&str],
    each: &mut dyn FnMut(T, Option<String>),
) -> Result<(), ParquetFileError> {
    for path in files(&folder.join(T::FOLDER))? {
        let malformed = |reason: String| ParquetFileError::Malformed { path: path.clone(), reason };
        let file = File::open(&path).map_err(|source| ParquetFileError::Io { path: path.clone(), source })?;
        let reader = SerializedFileReader::new(file).map_err(|e| malformed(e.to_string()))?;
        let schema = reader.metadata().file_metadata().schema();
        let wanted = schema.get_fields().iter().filter(|f| columns.contains(&f.name())).cloned().collect();
        let projection = Type::group_type_builder("rust_schema").with_fields(wanted).build();
        let projection = projection.map_err(|e| malformed(e.to_string()))?;
        let rows = reader.get_row_iter(Some(projection)).map_err(|e| malformed(e.to_string()))?;
        for (i, row) in rows.enumerate() {
            let row = row.map_err(|e| malformed(format!("row {i}: {e}")))?;
            let column = |name: &str| row.get_column_iter().position(|(found, _)| found == name);
            let text = |name| column(name).and_then(|at| row.get_string(at).ok());
            let record = text("record").ok_or_else(|| malformed(format!("row {i}: no column \"record\"")))?;
            let record = serde_json::from_str(record).map_err(|e| malformed(format!("row {i}: {e}")))?;
            each(record, text("prompt").cloned());
        }
    }
    Ok(())
}

/// Every finished Parquet file below a folder, in order; none where it does not exist.
fn files(folder: &Path) -> Result<Vec<PathBuf>, ParquetFileError> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let io = |source| ParquetFileError::Io { path: folder.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path.extension().is_some_and(|e| e == "parquet") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
