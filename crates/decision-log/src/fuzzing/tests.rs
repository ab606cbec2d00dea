//! Whatever bytes come, a record is written as it was read, or refused: the body of the fuzz target of that name.
#![allow(unreachable_pub, reason = "bodies of fuzz targets are public there")]

#[path = "../../../../fuzz/src/hostile.rs"]
mod hostile;
#[path = "../../../../fuzz/src/records.rs"]
mod records;

#[test]
fn any_record_is_read_or_refused() {
    hostile::hold("records", 4_000, records::decode);
}
