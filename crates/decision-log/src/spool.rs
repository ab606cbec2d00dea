//! Where records wait on disk while the store is away: segments of JSON lines, synced before a record counts as kept,
//! read again oldest first, removed once the store has them. Appending to a store is idempotent, so a segment that was
//! read twice does no harm.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::record::{DecisionRecord, OutcomeRecord};
use crate::store::Batch;

/// A segment is closed when it has this many bytes.
const SEGMENT_BYTES: u64 = 4 << 20;

const LOCK: &str = "lock";
const REJECTED: &str = "rejected.jsonl";

/// Why records could not be spooled.
#[derive(Debug, Error)]
pub enum SpoolError {
    /// The disk refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process has it.
    #[error("{}: another process spools here; give every server a folder of its own", .0.display())]
    InUse(PathBuf),
    /// It holds as much as it may.
    #[error("{}: {held} bytes wait, {most} may", folder.display())]
    Full {
        /// The folder.
        folder: PathBuf,
        /// Bytes that wait.
        held: u64,
        /// Bytes that may.
        most: u64,
    },
    /// A record that is no JSON.
    #[error("a record: {0}")]
    Record(#[from] serde_json::Error),
}

/// A line of a segment.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line<D, O> {
    Decision(D),
    Outcome(O),
}

/// A folder of segments.
#[derive(Debug)]
pub(crate) struct Spool {
    folder: PathBuf,
    most_bytes: u64,
    /// Closed segments, oldest first, with their bytes.
    closed: std::collections::VecDeque<(PathBuf, u64)>,
    open: Option<(PathBuf, File, u64)>,
    next: u64,
    /// Held for as long as this lives.
    _lock: File,
}

/// What a segment held.
#[derive(Debug, Default)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) batch: Batch,
    /// Lines that are no records, such as one that was being written when the machine stopped.
    pub(crate) unreadable: u64,
}

impl Spool {
    /// Opens a folder, making it where there is none; segments of an earlier run are found.
    pub(crate) fn open(folder: &Path, most_bytes: u64) -> Result<Self, SpoolError> {
        let io = |source| SpoolError::Io { path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(io)?;
        let lock = File::create(folder.join(LOCK)).map_err(io)?;
        if lock.try_lock().is_err() {
            return Err(SpoolError::InUse(folder.to_owned()));
        }
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            let number = path.file_name().and_then(|n| n.to_str()?.strip_suffix(".segment")?.parse().ok());
            if let Some(number) = number {
                let bytes = fs::metadata(&path).map_err(io)?.len();
                found.push((number, path, bytes));
            }
        }
        found.sort();
        let next = found.last().map_or(0, |(number, ..): &(u64, PathBuf, u64)| number + 1);
        let closed = found.into_iter().map(|(_, path, bytes)| (path, bytes)).collect();
        Ok(Self { folder: folder.to_owned(), most_bytes, closed, open: None, next, _lock: lock })
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> u64 {
        self.closed.iter().map(|(_, bytes)| bytes).chain(self.open.iter().map(|(.., bytes)| bytes)).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.closed.is_empty() && self.open.is_none()
    }

    /// Appends a batch and syncs it: whole lines are kept even where a later one fails.
    pub(crate) fn append(&mut self, batch: &Batch) -> Result<(), SpoolError> {
        let text = lines(batch)?;
        let held = self.bytes();
        if held + text.len() as u64 > self.most_bytes {
            return Err(SpoolError::Full { folder: self.folder.clone(), held, most: self.most_bytes });
        }
        let (path, file, bytes) = match &mut self.open {
            Some(open) => open,
            None => {
                let path = self.folder.join(format!("{:012}.segment", self.next));
                let io = |source| SpoolError::Io { path: path.clone(), source };
                let file = OpenOptions::new().append(true).create_new(true).open(&path).map_err(io)?;
                File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(io)?;
                self.next += 1;
                self.open.insert((path, file, 0))
            }
        };
        let written = file.write_all(&text).and_then(|()| file.sync_data());
        if let Err(source) = written {
            // What was written of it goes: the batch will come again.
            let _ = file.set_len(*bytes);
            return Err(SpoolError::Io { path: path.clone(), source });
        }
        *bytes += text.len() as u64;
        if *bytes >= SEGMENT_BYTES {
            self.close();
        }
        Ok(())
    }

    fn close(&mut self) {
        if let Some((path, _, bytes)) = self.open.take() {
            self.closed.push_back((path, bytes));
        }
    }

    /// The oldest segment, which stays until [`Spool::remove`].
    pub(crate) fn oldest(&mut self) -> Result<Option<Segment>, SpoolError> {
        if self.closed.is_empty() {
            self.close();
        }
        let Some((path, _)) = self.closed.front() else { return Ok(None) };
        let io = |source| SpoolError::Io { path: path.clone(), source };
        let lines = BufReader::new(File::open(path).map_err(io)?);
        let (batch, unreadable) = read_lines(lines).map_err(io)?;
        Ok(Some(Segment { path: path.clone(), batch, unreadable }))
    }

    /// Removes the segment that was read last. One with lines that were no records is put aside instead.
    pub(crate) fn remove(&mut self, segment: &Segment) -> Result<(), SpoolError> {
        let path = &segment.path;
        let io = |source| SpoolError::Io { path: path.clone(), source };
        if segment.unreadable > 0 {
            fs::rename(path, path.with_extension("unreadable")).map_err(io)?;
        } else {
            fs::remove_file(path).map_err(io)?;
        }
        self.closed.pop_front();
        Ok(())
    }

    /// Puts records aside that the store will never take, for a person to look at.
    pub(crate) fn reject(&self, batch: &Batch) -> Result<(), SpoolError> {
        let path = self.folder.join(REJECTED);
        let io = |source| SpoolError::Io { path: path.clone(), source };
        let mut file = OpenOptions::new().append(true).create(true).open(&path).map_err(io)?;
        for decision in &batch.decisions {
            serde_json::to_writer(&file, decision)?;
            file.write_all(b"\n").map_err(io)?;
        }
        for outcome in &batch.outcomes {
            serde_json::to_writer(&file, outcome)?;
            file.write_all(b"\n").map_err(io)?;
        }
        file.sync_data().map_err(io)
    }
}

/// The lines of a segment that hold a batch.
pub(crate) fn lines(batch: &Batch) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = Vec::new();
    for decision in &batch.decisions {
        serde_json::to_writer(&mut text, &Line::<_, &OutcomeRecord>::Decision(decision))?;
        text.push(b'\n');
    }
    for outcome in &batch.outcomes {
        serde_json::to_writer(&mut text, &Line::<&DecisionRecord, _>::Outcome(outcome))?;
        text.push(b'\n');
    }
    Ok(text)
}

/// The records of a segment's lines, and how many lines hold none.
pub(crate) fn read_lines(segment: impl BufRead) -> std::io::Result<(Batch, u64)> {
    let (mut batch, mut unreadable) = (Batch::default(), 0);
    for line in segment.split(b'\n') {
        match serde_json::from_slice(&line?) {
            Ok(Line::Decision(decision)) => batch.decisions.push(decision),
            Ok(Line::Outcome(outcome)) => batch.outcomes.push(outcome),
            Err(_) => unreadable += 1,
        }
    }
    Ok((batch, unreadable))
}
