//! The reader of a spool by plain values, for fuzz targets and property tests, and nothing else. Built for tests and with
//! the cargo feature `fuzzing`.

use crate::Batch;
use crate::spool;

/// The records of a segment, and how many of its lines hold none.
pub fn read_segment(bytes: &[u8]) -> (Batch, u64) {
    // Bytes in memory can always be read.
    spool::read_lines(bytes).unwrap_or_default()
}

/// A batch as a segment; nothing where a record cannot be written.
pub fn segment(batch: &Batch) -> Option<Vec<u8>> {
    spool::lines(batch).ok()
}

#[cfg(test)]
mod tests;
