//! Whatever bytes come, a checkpoint embeds any text, or is refused: the body of the fuzz target of that name.
#![allow(unreachable_pub, reason = "bodies of fuzz targets are public there")]

#[path = "../../../fuzz/src/encoder.rs"]
mod encoder;
#[path = "../../../fuzz/src/hostile.rs"]
mod hostile;

#[test]
fn any_checkpoint_is_read_or_refused() {
    hostile::hold("encoder", 500, encoder::decode);
}
