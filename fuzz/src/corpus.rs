//! Files of evidence. The first byte says what the rest is; what is read is within its bounds, is written as JSONL,
//! and is the same when that is read.

use std::io::Write;
use std::path::Path;

use corpus::{Corpus, CorpusError, Example, ReadOptions, read, write_jsonl};
use flate2::Compression;
use flate2::write::GzEncoder;

/// Between the files of a folder.
const BREAK: &[u8] = b"\n----\n";

/// Reads the bytes after the first as the file that the first names: `j`sonl, `c`sv, `p`arquet, `g`zip as it stands,
/// `z`std as it stands, or a `f`older of prompts, outcomes and answers, which are compressed here. In capitals: bad
/// rows are left out, and answers are kept.
pub fn decode(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let Ok(folder) = tempfile::tempdir() else { return };
    let written = match first.to_ascii_lowercase() {
        b'j' => file(folder.path(), "data.jsonl", rest),
        b'c' => file(folder.path(), "data.csv", rest),
        b'p' => file(folder.path(), "data.parquet", rest),
        b'g' => file(folder.path(), "data.jsonl.gz", rest),
        b'z' => file(folder.path(), "data.csv.zst", rest),
        b'f' => prompts(folder.path(), rest),
        _ => return,
    };
    let loose = first.is_ascii_uppercase();
    let options = ReadOptions { skip_invalid: loose, answers: loose };
    if written.is_none() {
        return;
    }
    match read(folder.path(), &options) {
        Ok(corpus) => holds(&corpus),
        Err(error) => is_told(&error, folder.path()),
    }
}

fn file(folder: &Path, name: &str, bytes: &[u8]) -> Option<()> {
    std::fs::write(folder.join(name), bytes).ok()
}

fn prompts(folder: &Path, bytes: &[u8]) -> Option<()> {
    let names = ["prompts.jsonl.gz", "outcomes.jsonl.gz", "answers.jsonl.gz"];
    let mut rest = bytes;
    for name in names {
        let end = rest.windows(BREAK.len()).position(|window| window == BREAK);
        let (part, after) = end.map_or((rest, &[][..]), |end| (&rest[..end], &rest[end + BREAK.len()..]));
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(part).ok()?;
        file(folder, name, &packed.finish().ok()?)?;
        rest = after;
    }
    Some(())
}

/// An error names the file; one of a row its line and field too.
fn is_told(error: &CorpusError, folder: &Path) {
    let text = error.to_string();
    let place = text.strip_prefix(&folder.display().to_string());
    assert!(place.is_some_and(|place| place.len() > 2), "{text}");
    if let CorpusError::Rows { first, kinds } = error {
        assert!(!first.field.is_empty() && !first.expected.is_empty() && !kinds.is_empty(), "{text}");
        assert!(first.line > 0, "{text}");
    }
}

fn holds(corpus: &Corpus) {
    let report = &corpus.report;
    assert_eq!(report.rows_kept, corpus.examples.len());
    assert_eq!(report.rows_read, report.rows_kept + report.skipped.values().sum::<usize>());
    corpus.examples.iter().for_each(is_within_bounds);
    let mut written = Vec::new();
    let Ok(()) = write_jsonl(&corpus.examples, &mut written) else {
        panic!("what was read cannot be written")
    };
    let Ok(folder) = tempfile::tempdir() else { return };
    if file(folder.path(), "again.jsonl", &written).is_none() {
        return;
    }
    match read(folder.path(), &ReadOptions { skip_invalid: false, answers: true }) {
        Ok(again) => assert_eq!(again.examples, corpus.examples),
        Err(error) => panic!("what was read and written is refused: {error}"),
    }
}

fn is_within_bounds(example: &Example) {
    let share = |number: &f64| (0.0..=1.0).contains(number);
    let evidence = &example.evidence;
    assert!(!evidence.outcomes.is_empty() || !evidence.preferences.is_empty());
    assert!(evidence.outcomes.values().all(share) && example.true_win_probability.iter().all(share));
    assert!(example.weight.is_finite() && example.weight > 0.0);
    assert!(evidence.preferences.iter().all(|preference| preference.model_a != preference.model_b));
    for (model, answer) in &evidence.answers {
        assert!(evidence.outcomes.contains_key(model));
        assert!(
            [answer.cost_usd, answer.latency_s]
                .iter()
                .flatten()
                .all(|known| known.is_finite() && *known >= 0.0)
        );
    }
    assert!(example.slices.is_sorted());
}
