//! Whatever bytes come, weights are written as they were read, or refused: the body of the fuzz target of that name.
#![allow(unreachable_pub, reason = "bodies of fuzz targets are public there")]

#[path = "../../../fuzz/src/hostile.rs"]
mod hostile;
#[path = "../../../fuzz/src/weights.rs"]
mod weights;

#[test]
fn any_weights_are_read_or_refused() {
    hostile::hold("weights", 1_500, weights::decode);
}
