//! Whatever bytes come, a request, a token, a file of tokens and a settings file are understood or refused: the bodies of
//! the fuzz targets of those names.
#![allow(unreachable_pub, reason = "bodies of fuzz targets are public there")]

use api::v1;
use prost::Message;

#[path = "../../../../fuzz/src/access.rs"]
mod access;
#[path = "../../../../fuzz/src/hostile.rs"]
mod hostile;
#[path = "../../../../fuzz/src/requests.rs"]
mod requests;
mod seeds;
#[path = "../../../../fuzz/src/settings.rs"]
mod settings;
#[path = "../../../../fuzz/src/token.rs"]
mod token;

#[test]
fn any_request_is_understood_or_refused() {
    hostile::hold("requests", 4_000, requests::decode);
}

#[test]
fn any_file_of_tokens_is_read_or_refused_without_a_secret() {
    hostile::hold("access", 4_000, access::decode);
}

#[test]
fn any_settings_are_built_or_refused() {
    hostile::hold("settings", 1_500, settings::decode);
}

#[test]
fn only_tokens_of_this_key_open() {
    hostile::hold("token", 4_000, token::decode);
}

/// What a caller may send within the limit of a request: it is answered in few words, and soon.
#[test]
fn long_requests_are_refused_in_few_words() {
    let text = || Some(v1::route_request::Input::Text("hi".into()));
    let models: Vec<String> = (0..200_000).map(|i| format!("m{i}")).collect();
    let twice = models.iter().chain(&models[..1]).cloned().collect();
    let [ladder, doubled] = [models, twice].map(|models| v1::RouteRequest {
        input: text(),
        models: Some(v1::route_request::Models::Ladder(v1::Ladder { models })),
        ..Default::default()
    });
    let turn = v1::Message { role: "r".repeat(1 << 20), content: String::new() };
    let chat = v1::Chat { messages: vec![turn] };
    let chat = v1::RouteRequest { input: Some(v1::route_request::Input::Chat(chat)), ..Default::default() };
    for request in [ladder, doubled, chat] {
        requests::decode(&[b"r", request.encode_to_vec().as_slice()].concat());
    }
    let report = v1::ReportOutcomeRequest { decision_id: "\u{e9}".repeat(1 << 20), ..Default::default() };
    requests::decode(&[b"o", report.encode_to_vec().as_slice()].concat());
}
