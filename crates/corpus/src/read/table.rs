//! Tables: CSV and Parquet. The header tells whose columns they are: ours (`query`, `score:MODEL`,
//! or `model_a`, `model_b`, `winner`), RouteLLM's (`prompt` and a column per model) or Chatbot Arena's
//! (`winner_model_a`, ...).

use std::fs::File;
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};

use super::{Sink, file_name, open};
use crate::record::{FieldError, MessageRecord, PreferenceRecord, Record, Timestamp, field};
use crate::{CorpusError, Example};

pub(super) fn read_csv(path: &Path, sink: &mut Sink) -> Result<(), CorpusError> {
    let bad = |e: csv::Error| CorpusError::Format { file: path.to_owned(), reason: e.to_string() };
    let mut reader = csv::Reader::from_reader(open(path)?);
    let header: Vec<String> = reader.headers().map_err(bad)?.iter().map(|h| h.trim().to_owned()).collect();
    let columns = Columns::new(path, &header)?;
    for (i, record) in reader.records().enumerate() {
        let line = |r: &csv::StringRecord| r.position().map_or(i + 2, |p| p.line() as usize);
        match record {
            Ok(record) => {
                let cells: Vec<&str> = record.iter().collect();
                sink.row(path, line(&record), columns.example(&cells, path, i + 1));
            }
            Err(error) => {
                let at = error.position().map_or(i + 2, |p| p.line() as usize);
                sink.row(path, at, Err(field("line", error.to_string())));
            }
        }
    }
    Ok(())
}

pub(super) fn read_parquet(path: &Path, sink: &mut Sink) -> Result<(), CorpusError> {
    let bad = |reason: String| CorpusError::Format { file: path.to_owned(), reason };
    let file = File::open(path).map_err(|source| CorpusError::Io { file: path.to_owned(), source })?;
    let reader = SerializedFileReader::new(file).map_err(|e| bad(e.to_string()))?;
    let schema = reader.metadata().file_metadata().schema();
    let header: Vec<String> = schema.get_fields().iter().map(|f| f.name().to_owned()).collect();
    let columns = Columns::new(path, &header)?;
    for (i, row) in reader.get_row_iter(None).map_err(|e| bad(e.to_string()))?.enumerate() {
        let example = row.map_err(|e| field("row", e.to_string())).and_then(|row| {
            let cells: Vec<String> = row.get_column_iter().map(|(_, value)| cell(value)).collect();
            let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
            columns.example(&cells, path, i + 1)
        });
        sink.row(path, i + 1, example);
    }
    Ok(())
}

/// A Parquet value as the text a CSV would hold.
fn cell(value: &parquet::record::Field) -> String {
    use parquet::record::Field;
    match value {
        Field::Null => String::new(),
        Field::Str(text) => text.clone(),
        Field::Bytes(bytes) => String::from_utf8_lossy(bytes.data()).into_owned(),
        other => other.to_string(),
    }
}

const TEXT: [&str; 2] = ["query", "prompt"];
/// Columns that are no model's.
const OWN: [&str; 18] = [
    "id",
    "query",
    "prompt",
    "system",
    "weight",
    "slices",
    "group",
    "timestamp",
    "fold",
    "true_win_probability",
    "model_a",
    "model_b",
    "winner",
    "response_a",
    "response_b",
    "winner_model_a",
    "winner_model_b",
    "winner_tie",
];

/// Which column holds what.
struct Columns {
    header: Vec<String>,
    text: usize,
    /// Column and model of each score.
    scores: Vec<(usize, String)>,
    arena: bool,
}

impl Columns {
    fn new(path: &Path, header: &[String]) -> Result<Self, CorpusError> {
        let refuse = |reason: String| CorpusError::Format { file: path.to_owned(), reason };
        let at = |name: &str| header.iter().position(|h| h == name);
        let text = TEXT.iter().find_map(|name| at(name)).ok_or_else(|| {
            refuse(format!("expected a column query or prompt, found {}", header.join(", ")))
        })?;
        let arena = at("winner_model_a").is_some();
        let ours = header.iter().any(|h| h.starts_with("score:"));
        let score = |(i, name): (usize, &String)| match name.strip_prefix("score:") {
            Some(model) => Some((i, model.to_owned())),
            None if ours || OWN.contains(&name.as_str()) => None,
            None => Some((i, name.clone())),
        };
        let battle = at("model_a").is_some() && at("model_b").is_some();
        let scores: Vec<_> =
            if battle { Vec::new() } else { header.iter().enumerate().filter_map(score).collect() };
        if scores.is_empty() && !(battle && (arena || at("winner").is_some())) {
            let reason = "expected a score column per model, or model_a, model_b and winner".to_owned();
            return Err(refuse(reason));
        }
        Ok(Self { header: header.to_vec(), text, scores, arena })
    }

    fn example(&self, cells: &[&str], path: &Path, row: usize) -> Result<Example, FieldError> {
        let get = |name: &str| {
            let at = self.header.iter().position(|h| h == name)?;
            cells.get(at).copied().filter(|c| !c.is_empty())
        };
        let mut record = Record {
            id: get("id").map(str::to_owned),
            system: get("system").map(str::to_owned),
            weight: get("weight").map(|w| number(w, "weight")).transpose()?,
            slices: get("slices").map(|s| s.split('|').map(str::to_owned).collect()).unwrap_or_default(),
            group: get("group").map(str::to_owned),
            timestamp: get("timestamp").map(timestamp),
            fold: get("fold").map(|f| whole(f, "fold")).transpose()?,
            true_win_probability: get("true_win_probability")
                .map(|p| number(p, "true_win_probability"))
                .transpose()?,
            ..Record::default()
        };
        let text = cells.get(self.text).copied().unwrap_or_default();
        if self.arena {
            record.messages = Some(arena_turns(text)?);
            record.preferences = vec![arena_preference(&get)?];
        } else {
            record.query = Some(text.to_owned());
            if let (Some(a), Some(b), Some(winner)) = (get("model_a"), get("model_b"), get("winner")) {
                let (model_a, model_b, winner) = (a.to_owned(), b.to_owned(), winner.to_owned());
                record.preferences = vec![PreferenceRecord { model_a, model_b, winner }];
            }
        }
        for (column, model) in &self.scores {
            if let Some(cell) = cells.get(*column).filter(|c| !c.is_empty()) {
                record.outcomes.insert(model.clone(), truth_or_number(cell, model)?);
            }
        }
        record.example(format!("{}:{row}", file_name(path)))
    }
}

fn number(cell: &str, at: &str) -> Result<f64, FieldError> {
    cell.trim().parse().map_err(|_| field(at, format!("expected a number, found {cell:?}")))
}

fn whole(cell: &str, at: &str) -> Result<u32, FieldError> {
    cell.trim().parse().map_err(|_| field(at, format!("expected a whole number, found {cell:?}")))
}

fn truth_or_number(cell: &str, model: &str) -> Result<f64, FieldError> {
    match cell.trim() {
        "True" | "true" | "TRUE" => Ok(1.0),
        "False" | "false" | "FALSE" => Ok(0.0),
        other => number(other, &format!("score:{model}")),
    }
}

fn timestamp(cell: &str) -> Timestamp {
    cell.trim().parse().map_or_else(|_| Timestamp::Text(cell.trim().to_owned()), Timestamp::Seconds)
}

/// The user turns of an arena row: a JSON list of strings, some of them null.
fn arena_turns(text: &str) -> Result<Vec<MessageRecord>, FieldError> {
    let turns: Vec<Option<String>> = serde_json::from_str(text)
        .map_err(|e| field("prompt", format!("expected a JSON list of the user's turns: {e}")))?;
    let turn = |content: String| MessageRecord { role: "user".to_owned(), content };
    Ok(turns.into_iter().map(Option::unwrap_or_default).map(turn).collect())
}

fn arena_preference<'a>(get: &impl Fn(&str) -> Option<&'a str>) -> Result<PreferenceRecord, FieldError> {
    let name = |at: &str| get(at).map(str::to_owned).ok_or_else(|| field(at, "expected a model name"));
    let flag = |at: &str| match get(at).map(str::trim) {
        Some("1" | "1.0" | "true" | "True") => Ok(true),
        Some("0" | "0.0" | "false" | "False") => Ok(false),
        other => Err(field(at, format!("expected 0 or 1, found {:?}", other.unwrap_or_default()))),
    };
    let winner = match (flag("winner_model_a")?, flag("winner_model_b")?, flag("winner_tie")?) {
        (true, false, false) => "a",
        (false, true, false) => "b",
        (false, false, true) => "tie",
        _ => return Err(field("winner_tie", "expected exactly one of the three winner columns to be 1")),
    };
    Ok(PreferenceRecord { model_a: name("model_a")?, model_b: name("model_b")?, winner: winner.to_owned() })
}
