//! Examples as JSONL, the form every reader's rows can be brought into.

use std::io::{self, Write};

use crate::Example;
use crate::record::Record;

/// Writes one line per example; reading it back gives the same examples.
///
/// # Errors
/// When the writer fails.
pub fn write_jsonl(examples: &[Example], writer: &mut impl Write) -> io::Result<()> {
    for example in examples {
        serde_json::to_writer(&mut *writer, &Record::from(example))?;
        writer.write_all(b"\n")?;
    }
    Ok(())
}
