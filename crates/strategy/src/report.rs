//! Problems as they are found while a policy is read: offsets become lines and columns here.

use std::sync::Arc;

use crate::{Fault, Place, Problem, Severity};

/// Problems of one severity that are told: whoever made more has one cause to find first.
const MOST_TOLD: usize = 100;

/// Characters are counted from marks this many bytes apart, so that a text of one line takes no longer than another.
const MARK_BYTES: usize = 1 << 10;

/// The problems of one text.
pub(crate) struct Report<'t> {
    pub(crate) file: Arc<str>,
    text: &'t str,
    /// Offset of each line's first byte.
    lines: Vec<usize>,
    /// Characters before each mark.
    marks: Vec<usize>,
    problems: Vec<Problem>,
    errors: usize,
    warnings: usize,
}

impl<'t> Report<'t> {
    pub(crate) fn new(file: &str, text: &'t str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let lines = [0].into_iter().chain(breaks).collect();
        let marks = text.as_bytes().chunks(MARK_BYTES).scan(0, |before, chunk| {
            *before += begun(chunk);
            Some(*before)
        });
        let marks = [0].into_iter().chain(marks).collect();
        Self { file: file.into(), text, lines, marks, problems: Vec::new(), errors: 0, warnings: 0 }
    }

    /// The place of a key whose value begins at a byte of the text.
    pub(crate) fn place(&self, key: String, at: usize) -> Place {
        let at = at.min(self.text.len());
        // The first line begins at 0, so at least one begins at or before any offset.
        let line = self.lines.partition_point(|begin| *begin <= at).max(1);
        let begin = self.lines.get(line - 1).copied().unwrap_or(0);
        let column = 1 + self.before(at) - self.before(begin);
        let counted = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Place { line: counted(line), column: counted(column), key }
    }

    /// Characters that begin before a byte.
    fn before(&self, at: usize) -> usize {
        let mark = at / MARK_BYTES;
        let since = self.text.as_bytes().get(mark * MARK_BYTES..at).unwrap_or_default();
        self.marks.get(mark).copied().unwrap_or(0) + begun(since)
    }

    /// Adds a problem, unless as many of its severity are told already.
    pub(crate) fn add(&mut self, place: Place, fault: Fault) {
        let severity = fault.severity();
        let told = match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *told += 1;
        if *told <= MOST_TOLD {
            let file = Arc::clone(&self.file);
            self.problems.push(Problem { severity, file, place, fault });
        }
    }

    /// Whether another error would be told.
    pub(crate) fn tells_errors(&self) -> bool {
        self.errors < MOST_TOLD
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// In the order of the text.
    pub(crate) fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort_by(|a, b| a.place.cmp(&b.place));
        self.problems
    }
}

/// Characters that begin in some bytes: counted by first bytes, so that an offset inside a character does no harm.
fn begun(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xC0 != 0x80).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_a_line_and_a_column_of_characters() {
        let report = Report::new("p", "ab\nçd\n");
        let at =
            |offset| (report.place(String::new(), offset).line, report.place(String::new(), offset).column);
        assert_eq!((at(0), at(1), at(2)), ((1, 1), (1, 2), (1, 3)));
        assert_eq!((at(3), at(5), at(6)), ((2, 1), (2, 2), (2, 3)), "ç has two bytes");
        assert_eq!((at(7), at(1_000)), ((3, 1), (3, 1)));
        assert_eq!(Report::new("p", "").place(String::new(), 0).line, 1);
    }
}
