//! Reading evidence: the format is found from name and content, rows stream one by one, and a bad
//! row is an error with file, line, field and expectation, or counted when the user asks for that.

mod folder;
mod jsonl;
mod table;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::record::FieldError;
use crate::{CorpusError, Example, Invalid};

/// How to read.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReadOptions {
    /// Count and report invalid rows instead of stopping at the first.
    pub skip_invalid: bool,
    /// Keep what models wrote; most uses need what came of it alone.
    pub answers: bool,
}

/// What reading did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadReport {
    /// Rows seen.
    pub rows_read: usize,
    /// Rows that became examples.
    pub rows_kept: usize,
    /// Invalid rows left out, by kind.
    pub skipped: BTreeMap<String, usize>,
}

/// Examples and where they came from.
#[derive(Debug, Clone, Default)]
pub struct Corpus {
    /// The rows in the order they were read.
    pub examples: Vec<Example>,
    /// Names of what was read, without folders.
    pub sources: Vec<String>,
    /// Counts.
    pub report: ReadReport,
}

/// Reads a file, or a folder of files and folders in sorted order.
///
/// Recognised: JSONL (`.jsonl`, `.jsonl.gz`, `.jsonl.zst`), CSV and Parquet (with our columns, RouteLLM's or
/// Chatbot Arena's), and folders with `prompts.jsonl.gz` and `outcomes.jsonl.gz`.
///
/// # Errors
/// When a file cannot be read, is of no known format, or holds invalid rows that are not to be skipped.
pub fn read(path: &Path, options: &ReadOptions) -> Result<Corpus, CorpusError> {
    let mut sink = Sink { answers: options.answers, ..Sink::default() };
    read_into(path, &mut sink)?;
    sink.finish(options)
}

fn read_into(path: &Path, sink: &mut Sink) -> Result<(), CorpusError> {
    if path.is_dir() {
        return read_folder(path, sink);
    }
    let name = file_name(path);
    sink.sources.push(name.clone());
    let bare = name.trim_end_matches(".gz").trim_end_matches(".zst");
    match bare.rsplit('.').next() {
        Some("jsonl" | "ndjson") => jsonl::read(path, sink),
        Some("csv") => table::read_csv(path, sink),
        Some("parquet") => table::read_parquet(path, sink),
        _ => Err(CorpusError::Format {
            file: path.to_owned(),
            reason: "expected .jsonl, .csv (each also .gz or .zst), .parquet, or a folder of these"
                .to_owned(),
        }),
    }
}

fn read_folder(path: &Path, sink: &mut Sink) -> Result<(), CorpusError> {
    let io = |source| CorpusError::Io { file: path.to_owned(), source };
    if path.join(folder::PROMPTS).exists() {
        sink.sources.push(file_name(path));
        return folder::read(path, sink);
    }
    let entries = std::fs::read_dir(path).map_err(io)?;
    let mut entries: Vec<PathBuf> =
        entries.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>().map_err(io)?;
    entries.sort();
    let known = |p: &Path| {
        let name = file_name(p);
        p.is_dir()
            || [".jsonl", ".jsonl.gz", ".jsonl.zst", ".csv", ".csv.gz", ".csv.zst", ".parquet"]
                .iter()
                .any(|end| name.ends_with(end))
    };
    entries.retain(|p| known(p));
    if entries.is_empty() {
        let reason = "the folder holds no .jsonl, .csv or .parquet file and no prompts.jsonl.gz".to_owned();
        return Err(CorpusError::Format { file: path.to_owned(), reason });
    }
    entries.iter().try_for_each(|entry| read_into(entry, sink))
}

fn file_name(path: &Path) -> String {
    // A folder given as "." has no name of its own.
    path.file_name().map_or_else(|| "data".to_owned(), |n| n.to_string_lossy().into_owned())
}

/// The bytes of a file, decompressed by its name.
fn open(path: &Path) -> Result<Box<dyn BufRead>, CorpusError> {
    let io = |source| CorpusError::Io { file: path.to_owned(), source };
    let file = File::open(path).map_err(io)?;
    let name = file_name(path);
    let bytes: Box<dyn Read> = if name.ends_with(".gz") {
        Box::new(flate2::read::MultiGzDecoder::new(file))
    } else if name.ends_with(".zst") {
        Box::new(zstd::Decoder::new(file).map_err(io)?)
    } else {
        Box::new(file)
    };
    Ok(Box::new(BufReader::with_capacity(1 << 16, bytes)))
}

/// The longest line that is read: what a small compressed file unpacks to has no end of its own.
const MOST_LINE_BYTES: u64 = 64 << 20;

/// Calls `each` with the 1-based number and the bytes of every line that is not blank.
fn lines(path: &Path, mut each: impl FnMut(usize, &[u8])) -> Result<(), CorpusError> {
    let mut reader = open(path)?;
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        let read = reader.by_ref().take(MOST_LINE_BYTES + 1).read_until(b'\n', &mut line);
        if read.map_err(|source| CorpusError::Io { file: path.to_owned(), source })? == 0 {
            return Ok(());
        }
        number += 1;
        if line.len() as u64 > MOST_LINE_BYTES {
            let reason = format!("line {number} is longer than {MOST_LINE_BYTES} bytes");
            return Err(CorpusError::Format { file: path.to_owned(), reason });
        }
        if !line.iter().all(u8::is_ascii_whitespace) {
            each(number, &line);
        }
    }
}

/// Collects rows and what is wrong with others.
#[derive(Debug, Default)]
struct Sink {
    examples: Vec<Example>,
    answers: bool,
    sources: Vec<String>,
    rows: usize,
    first: Option<Invalid>,
    kinds: BTreeMap<String, usize>,
}

impl Sink {
    fn row(&mut self, file: &Path, line: usize, row: Result<Example, FieldError>) {
        self.rows += 1;
        match row {
            Ok(mut example) => {
                if !self.answers {
                    example.evidence.answers.clear();
                }
                self.examples.push(example);
            }
            Err(error) => self.invalid(file, line, error),
        }
    }

    fn invalid(&mut self, file: &Path, line: usize, error: FieldError) {
        let kind = format!("field {}", kind(&error.field));
        *self.kinds.entry(kind).or_default() += 1;
        let FieldError { field, expected } = error;
        self.first.get_or_insert(Invalid { file: file.to_owned(), line, field, expected });
    }

    fn finish(self, options: &ReadOptions) -> Result<Corpus, CorpusError> {
        if let (Some(first), false) = (self.first, options.skip_invalid) {
            return Err(CorpusError::Rows { first: Box::new(first), kinds: self.kinds });
        }
        let report = ReadReport { rows_read: self.rows, rows_kept: self.examples.len(), skipped: self.kinds };
        Ok(Corpus { examples: self.examples, sources: self.sources, report })
    }
}

/// The field without positions and model names, so that errors of one kind count together.
fn kind(field: &str) -> &str {
    let end = field.find(['[', '.', ':']).unwrap_or(field.len());
    &field[..end]
}
