//! The client against a server that fails as it is told. That it meets the real one is tested where that is
//! (`crates/server/tests/polyglot.rs`).
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

mod support;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rung_client::{
    Answer, CallError, Cascaded, Client, Config, Decision, Fallback, FallbackDecision, Priority, Question,
    Reason, Retry, v1,
};
use support::{Double, Step, serving};
use tokio::sync::watch;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Long enough for any machine: no test waits for it to pass.
const LONG: Duration = Duration::from_secs(20);

fn config(address: &str) -> Config {
    Config::new(address, Fallback::strong("big-model")).deadline(LONG).report_deadline(LONG)
}

fn client(double: &Double) -> Client {
    Client::new(config(&double.address)).unwrap()
}

fn full(retry_after: Duration) -> Status {
    let details = ErrorDetails::with_retry_info(Some(retry_after));
    Status::with_error_details(Code::ResourceExhausted, "scripted", details)
}

fn never() -> Step {
    Step::Wait(watch::channel(false).1)
}

async fn nobody() -> String {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

fn reason(decision: &Decision) -> &'static str {
    decision.fallback().map_or("routed", |fallback| fallback.reason.name())
}

#[tokio::test]
async fn what_may_pass_is_tried_again_as_often_as_allowed() {
    let steps =
        [(Status::unavailable("scripted"), "unreachable"), (full(Duration::from_millis(1)), "overloaded")];
    for (status, expected) in steps {
        for (failures, attempts) in [(0, 1), (1, 2), (2, 3), (2, 2), (5, 3), (1, 1)] {
            let script = vec![Step::Fail(status.clone()); failures].into_iter().chain([Step::Well]);
            let double = serving(script).await;
            let retry = Retry { attempts: attempts as u32, ..Retry::default() };
            let client = Client::new(config(&double.address).retry(retry)).unwrap();
            let decision = client.route("hello").await.unwrap();
            let asked = double.asked();
            assert_eq!(asked.len(), attempts.min(failures + 1));
            if failures < attempts {
                assert_eq!(decision.routed().unwrap().win_probability, 0.25);
            } else {
                assert_eq!((decision.model(), reason(&decision)), ("big-model", expected));
                assert_eq!(decision.fallback().unwrap().tier, v1::Tier::Strong);
            }
            for (headers, _) in asked {
                let left = headers.get("grpc-timeout").unwrap().to_str().unwrap();
                let micros = left.strip_suffix('u').expect("tonic counts times above 0.1 s in microseconds");
                assert!(Duration::from_micros(micros.parse().unwrap()) <= LONG, "{left}");
            }
        }
    }
}

#[tokio::test]
async fn a_refusal_is_no_fallback_and_is_asked_once() {
    let spent = ErrorDetails::with_error_info("BUDGET_SPENT", "rung", HashMap::new());
    let spent = Status::with_error_details(Code::ResourceExhausted, "spent", spent);
    for status in [Status::invalid_argument("x"), Status::unauthenticated("x"), spent] {
        let double = serving([Step::Fail(status.clone())]).await;
        let refused = client(&double).route("hello").await.unwrap_err();
        assert_eq!(refused.0.code(), status.code());
        assert_eq!(double.asked().len(), 1);
    }
}

#[tokio::test]
async fn a_broken_server_and_one_that_wants_to_be_left_alone_are_asked_once() {
    for (status, expected) in
        [(Status::internal("x"), "broken"), (full(Duration::from_secs(3_600)), "overloaded")]
    {
        let double = serving([Step::Fail(status)]).await;
        assert_eq!(reason(&client(&double).route("hello").await.unwrap()), expected);
        assert_eq!(double.asked().len(), 1);
    }
}

#[tokio::test]
async fn who_is_too_late_or_away_is_replaced() {
    let double = serving([never()]).await;
    let late = Config::new(&double.address, Fallback::weak("tiny")).deadline(Duration::from_secs(1));
    let decision = Client::new(late).unwrap().route("hello").await.unwrap();
    let expected = FallbackDecision { model: "tiny".into(), tier: v1::Tier::Weak, reason: Reason::TooLate };
    assert_eq!(decision, Decision::Fallback(expected));
    assert_eq!(double.asked().len(), 1);
    let away = Client::new(config(&nobody().await)).unwrap();
    assert_eq!(reason(&away.route("hello").await.unwrap()), "unreachable");
    let error = away.info().await.unwrap_err();
    assert!(matches!(error, CallError::NotAnswered(Reason::Unreachable(_))), "{error}");
}

#[tokio::test]
async fn a_hedge_is_one_more_and_off_by_default() {
    let soon = Duration::from_millis(10);
    let (says, said) = watch::channel(false);
    let double = serving([Step::Wait(said), Step::Say(Arc::new(says)), never()]).await;
    let hedging = Client::new(config(&double.address).hedge_after(soon)).unwrap();
    assert!(hedging.route("hello").await.unwrap().routed().is_some(), "the second let the first answer");
    assert_eq!(double.asked().len(), 2);

    let double = serving([never()]).await;
    let hedging = config(&double.address).hedge_after(soon).deadline(Duration::from_secs(2));
    let decision = Client::new(hedging).unwrap().route("hello").await.unwrap();
    assert_eq!((reason(&decision), double.asked().len()), ("too_late", 2));

    // The hedge fails, the first answers later: its answer counts.
    let (says, said) = watch::channel(false);
    let double = serving([Step::Wait(said), Step::Fail(Status::unavailable("x")), never()]).await;
    let hedging = Client::new(config(&double.address).hedge_after(soon)).unwrap();
    let asking = tokio::spawn(async move { hedging.route("hello").await });
    while double.asked().len() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    says.send_replace(true);
    assert!(asking.await.unwrap().unwrap().routed().is_some());
    assert_eq!(double.asked().len(), 2);

    let double = serving([Step::Well]).await;
    let hedging = Client::new(config(&double.address).hedge_after(LONG)).unwrap();
    assert!(hedging.route("hello").await.unwrap().routed().is_some());
    assert_eq!(double.asked().len(), 1);
}

#[tokio::test]
async fn a_batch_has_a_decision_or_a_refusal_for_each() {
    let double = serving([Step::Well]).await;
    let questions = || ["a", "b", "c", "d"].map(Question::from);
    let decided = client(&double).route_batch(questions()).await.unwrap();
    assert!(decided[0].as_ref().unwrap().routed().is_some());
    assert_eq!(decided[1].as_ref().unwrap_err().0.code(), Code::InvalidArgument);
    assert_eq!(reason(decided[2].as_ref().unwrap()), "overloaded");
    assert_eq!(decided[3].as_ref().unwrap_err().0.code(), Code::ResourceExhausted);
    let away = Client::new(config(&nobody().await)).unwrap();
    let decided = away.route_batch(questions()).await.unwrap();
    assert_eq!(decided.iter().map(|d| reason(d.as_ref().unwrap())).collect::<Vec<_>>(), ["unreachable"; 4]);
}

/// How a cascade ends, and the models that were called.
async fn cascade(address: &str, fallback: &str) -> (Cascaded, Vec<String>) {
    let config = Config::new(address, Fallback::strong(fallback)).deadline(LONG);
    let called = Mutex::new(Vec::new());
    let call = |model: String| {
        called.lock().unwrap().push(model.clone());
        async move { Ok::<_, std::io::Error>(Answer::from(format!("by {model}"))) }
    };
    let ended = Client::new(config).unwrap().cascade(v1::PlanCascadeRequest::default(), call).await.unwrap();
    (ended, called.into_inner().unwrap())
}

#[tokio::test]
async fn a_cascade_without_rung_ends_at_the_fallback_once() {
    let (ended, called) = cascade(&nobody().await, "big-model").await;
    assert!(
        matches!(&ended, Cascaded::Fallback { answer, .. } if answer.text == "by big-model"),
        "{ended:?}"
    );
    assert_eq!(called, ["big-model"]);
    // Rung goes away after the first answer; and: the answer at hand is already the fallback's.
    for (fallback, expected) in
        [("big-model", &["small-model", "big-model"][..]), ("small-model", &["small-model"])]
    {
        let double = serving([Step::Well, Step::Fail(Status::internal("x"))]).await;
        let (ended, called) = cascade(&double.address, fallback).await;
        assert!(matches!(&ended, Cascaded::Fallback { decision, .. } if decision.reason.name() == "broken"));
        assert_eq!(called, expected);
    }
    let double = serving([Step::Well]).await;
    let (ended, called) = cascade(&double.address, "big-model").await;
    assert!(matches!(ended, Cascaded::Fallback { .. }), "a cascade without an end was followed");
    assert_eq!(called, ["small-model", "big-model", "big-model"]);
}

#[tokio::test]
async fn token_tenant_and_priority_travel() {
    let double = serving([Step::Well]).await;
    let named = config(&double.address).token("rung_app_secret").tenant("acme");
    let question = Question::from("hello").priority(Priority::Low);
    Client::new(named).unwrap().route(question).await.unwrap();
    client(&double).route("hello").await.unwrap();
    let asked = double.asked();
    assert_eq!(asked[0].0.get("authorization").unwrap(), "Bearer rung_app_secret");
    assert_eq!(asked[0].0.get("x-rung-tenant").unwrap(), "acme");
    assert!(asked[0].1.contains(r#"{"priority": "low"}"#), "{}", asked[0].1);
    assert!(asked[1].0.get("authorization").is_none());
}
