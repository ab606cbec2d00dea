//! Seeds of the fuzz targets `requests` and `token` that no text editor writes.

use std::path::Path;

use api::v1;
use prost::Message;

use super::super::signed;

#[test]
#[ignore = "writes into fuzz/"]
fn seeds_of_fuzzing_are_written() {
    let labels =
        || [("tenant", "acme"), ("high_stakes", "true")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let message = |role: &str| v1::Message { role: role.into(), content: "Where is my parcel?".into() };
    let chat = || v1::Chat { messages: vec![message("system"), message("user"), message("assistant")] };
    let pair = v1::Pair { strong: "big".into(), weak: "small".into() };
    let plain = v1::RouteRequest {
        request_id: "r1".into(),
        input: Some(v1::route_request::Input::Text("hi".into())),
        models: Some(v1::route_request::Models::Pair(pair)),
        at: Some(v1::route_request::At::Threshold(0.5)),
        labels: labels(),
        ..Default::default()
    };
    let ladder = v1::Ladder { models: vec!["small".into(), "middle".into(), "big".into()] };
    let asked = v1::RouteRequest {
        input: Some(v1::route_request::Input::Chat(chat())),
        system: Some("Be terse.".into()),
        models: Some(v1::route_request::Models::Ladder(ladder)),
        at: Some(v1::route_request::At::OperatingPoint("default".into())),
        tier: v1::TierWish::DeepAlways.into(),
        ..Default::default()
    };
    seed("requests", "route-text", &of(b'r', &plain));
    seed("requests", "route-chat", &of(b'r', &asked));
    seed("requests", "batch", &of(b'b', &v1::RouteBatchRequest { requests: vec![plain, asked] }));
    let plan = v1::PlanCascadeRequest {
        input: Some(v1::plan_cascade_request::Input::Chat(chat())),
        cascade: "default".into(),
        labels: labels(),
        deadline_ms: Some(2_000),
        predicted_success: [("small".to_owned(), 0.5)].into(),
        ..Default::default()
    };
    seed("requests", "plan", &of(b'p', &plan));
    seed("requests", "assess", &of(b'a', &answer(labels())));
    outcomes();
    let payload = payload();
    seed("token", "payload", &payload);
    seed("token", "sealed", signed(&[7; 32], &payload).unwrap().as_bytes());
    seed("token", "of-another-key", signed(&[9; 32], &payload).unwrap().as_bytes());
}

fn answer(labels: std::collections::HashMap<String, String>) -> v1::AssessRequest {
    let signals = v1::AnswerSignals {
        finish_reason: "stop".into(),
        mean_log_probability: Some(-0.5),
        least_log_probability: Some(-3.0),
        first_margin: Some(0.25),
        other_answers: vec!["390".into()],
        predicted_success: Some(0.75),
        similarity: Some(-0.5),
    };
    v1::AssessRequest {
        input: Some(v1::assess_request::Input::Text("What is 17 * 23?".into())),
        answer: "391".into(),
        at: Some(v1::assess_request::At::Stage(1)),
        signals: Some(signals),
        labels,
        remaining_ms: Some(1_500),
        cost_usd: Some(0.001),
        predicted_success: [("big".to_owned(), 0.875)].into(),
        ..Default::default()
    }
}

fn outcomes() {
    use v1::report_outcome_request::Outcome;
    let graded = v1::Graded { scores: [("small".to_owned(), 0.5), ("big".to_owned(), 1.0)].into() };
    let usage = v1::Usage {
        model: "small".into(),
        cost_usd: Some(0.001),
        latency_ms: Some(25.0),
        input_tokens: Some(10),
        cached_tokens: Some(4),
        output_tokens: Some(3),
    };
    let reports = [
        ("graded", Outcome::Graded(graded)),
        ("preference", Outcome::Preference(v1::Preference { strong: 0.5 })),
        ("thumbs", Outcome::Thumbs(v1::Thumbs { up: true })),
        ("judge", Outcome::Judge(v1::JudgeVerdict { judge: "j".into(), strong: 1.0 })),
        ("usage", Outcome::Usage(usage)),
    ];
    for (name, outcome) in reports {
        let report = v1::ReportOutcomeRequest {
            decision_id: "01890a5d-ac96-774b-bcce-b302099a8057".into(),
            source: "users".into(),
            observed_us: Some(1_767_225_600_000_000),
            outcome: Some(outcome),
        };
        seed("requests", &format!("outcome-{name}"), &of(b'o', &report));
    }
}

/// Claims as tokens carry them: version, stage, id, three times, cost, two fingerprints, verifier and cascade.
fn payload() -> Vec<u8> {
    let times = [1_000_u64, u64::MAX - 1, 5_000].map(u64::to_le_bytes).concat();
    let names = [&[12], b"4fd022504f6e".as_slice(), &[7], b"default"].concat();
    [&[1, 1], [9; 16].as_slice(), &times, &0.25_f64.to_le_bytes(), &[3; 32], &names].concat()
}

fn of(letter: u8, message: &impl Message) -> Vec<u8> {
    [&[letter], message.encode_to_vec().as_slice()].concat()
}

fn seed(target: &str, name: &str, bytes: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(name), bytes).unwrap();
}
