//! Whatever bytes come, prices are amounts, or refused by name: the body of the fuzz target of that name.
#![allow(unreachable_pub, reason = "bodies of fuzz targets are public there")]

#[path = "../../../fuzz/src/hostile.rs"]
mod hostile;
#[path = "../../../fuzz/src/prices.rs"]
mod prices;

#[test]
fn any_prices_are_read_or_refused() {
    hostile::hold("prices", 3_000, prices::decode);
}
