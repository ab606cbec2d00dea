//! What can be wrong with data; every variant says where and what was expected.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use thiserror::Error;
use types::ModelPair;

/// One invalid row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// Name of the file.
    pub file: PathBuf,
    /// 1-based line, or row for Parquet.
    pub line: usize,
    /// The field.
    pub field: String,
    /// What was expected, and what was found.
    pub expected: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: field {}: {}", self.file.display(), self.line, self.field, self.expected)
    }
}

/// Why data was refused.
#[derive(Debug, Error)]
pub enum CorpusError {
    /// A file could not be read or written.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file whose format is not recognised.
    #[error("{}: {reason}", file.display())]
    Format {
        /// The file.
        file: PathBuf,
        /// What was looked for.
        reason: String,
    },
    /// The first invalid row, and how many more there are of each kind.
    #[error("{first}{}\nfix them, or leave them out with --skip-invalid", more(kinds))]
    Rows {
        /// The first.
        first: Box<Invalid>,
        /// Invalid rows by kind, the first included.
        kinds: BTreeMap<String, usize>,
    },
    /// A pair that the data cannot teach.
    #[error("pair {pair}: {reason}")]
    Pair {
        /// The pair.
        pair: ModelPair,
        /// Why not.
        reason: String,
    },
}

/// Nothing when the first invalid row is the only one.
fn more(kinds: &BTreeMap<String, usize>) -> String {
    if kinds.values().sum::<usize>() <= 1 {
        return String::new();
    }
    let line = |(kind, count): (&String, &usize)| {
        format!("\n  {count} row{} in all: {kind}", if *count == 1 { "" } else { "s" })
    };
    kinds.iter().map(line).collect()
}
