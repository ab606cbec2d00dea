//! Whatever bytes come, rows are within bounds and are written as they were read, or refused by file, line and field:
//! the body of the fuzz target of that name.
#![allow(unreachable_pub, reason = "bodies of fuzz targets are public there")]

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

#[path = "../../../fuzz/src/corpus.rs"]
mod corpus;
#[path = "../../../fuzz/src/hostile.rs"]
mod hostile;

#[test]
fn any_file_is_read_or_refused() {
    hostile::hold("corpus", 1_500, corpus::decode);
}

/// Sixty-four kilobytes that unpack to one line of more than sixty-four megabytes.
#[test]
fn a_line_without_an_end_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.jsonl.gz");
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    for _ in 0..65 {
        packed.write_all(&[b' '; 1 << 20]).unwrap();
    }
    std::fs::write(&file, packed.finish().unwrap()).unwrap();
    let refused = ::corpus::read(&file, &::corpus::ReadOptions::default()).unwrap_err().to_string();
    assert!(refused.ends_with("data.jsonl.gz: line 1 is longer than 67108864 bytes"), "{refused}");
}
