//! Whatever bytes come, a catalogue is read the same in both formats, or refused at a line: the body of the fuzz
//! target of that name.
#![allow(unreachable_pub, reason = "bodies of fuzz targets are public there")]

#[path = "../../../fuzz/src/catalogue.rs"]
mod catalogue;
#[path = "../../../fuzz/src/hostile.rs"]
mod hostile;

#[test]
fn any_catalogue_is_read_or_refused() {
    hostile::hold("catalogue", 2_000, catalogue::decode);
}

#[test]
fn a_catalogue_of_many_routes_is_read() {
    let route = |i: u32| format!("[[route]]\nname = \"r{i}\"\nutterances = [\"a\"]\n");
    let text: String = (0..30_000).map(route).collect();
    catalogue::decode(text.as_bytes());
    let twice = format!("{text}{}", route(17));
    let refused = semantic::Catalogue::from_toml(&twice, "intents").unwrap_err().to_string();
    assert_eq!(refused, "intents, line 90002: route[30000].name: \"r17\" is also the route of line 53");
}
