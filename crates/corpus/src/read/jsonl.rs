//! Our own JSONL, and one line of JSON with the path of the field that is wrong.

use std::path::Path;

use serde::de::DeserializeOwned;

use super::{Sink, file_name, lines};
use crate::CorpusError;
use crate::record::{FieldError, Record, field};

pub(super) fn read(path: &Path, sink: &mut Sink) -> Result<(), CorpusError> {
    let name = file_name(path);
    lines(path, |number, line| {
        let row = parse::<Record>(line).and_then(|record| record.example(format!("{name}:{number}")));
        sink.row(path, number, row);
    })
}

pub(super) fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, FieldError> {
    let text = std::str::from_utf8(line)
        .map_err(|e| field("line", format!("expected UTF-8, found other bytes at {}", e.valid_up_to())))?;
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|e| {
        let path = e.path().to_string();
        // A key may have no name.
        field(if path == "." || path.is_empty() { "line" } else { &path }, e.inner().to_string())
    })?;
    json.end().map_err(|e| field("line", e.to_string()))?;
    Ok(value)
}
