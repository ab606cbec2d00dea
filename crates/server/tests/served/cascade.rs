//! Cascades as callers see them: the real server on a free port, asked by the real client.

use std::time::Duration;

use crate::support::cascade::{
    Client, at_stage, bytes, client, planning, settings, stage, three, with_token, write,
};
use crate::support::{Running, serve};
use api::v1;
use api::v1::assess_request::{At, Input};
use api::v1::{AssessResponse, CascadeVerdict};
use proptest::prelude::*;
use server::config::Settings;
use tonic::{Code, Request, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
use tonic_types::StatusExt;

/// A server with the test's cascades, and its folder.
async fn served() -> (Running, Client, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(settings(folder.path())).await;
    let client = client(&server).await;
    (server, client, folder)
}

async fn plan(client: &mut Client, request: v1::PlanCascadeRequest) -> v1::PlanCascadeResponse {
    client.plan_cascade(request).await.unwrap().into_inner()
}

async fn assess(client: &mut Client, request: v1::AssessRequest) -> AssessResponse {
    client.assess(request).await.unwrap().into_inner()
}

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
}

/// The field and the reason that a refusal names; empty where it names none.
fn named(status: &Status) -> (String, String) {
    let details = status.get_error_details();
    let field = details.bad_request().and_then(|bad| bad.field_violations.first()).map(|v| v.field.clone());
    let reason = details.error_info().map(|info| info.reason.clone());
    (field.unwrap_or_default(), reason.unwrap_or_default())
}

#[tokio::test]
async fn a_query_goes_through_a_cascade_to_its_end() {
    let (_server, mut client, _folder) = served().await;
    let planned = plan(&mut client, v1::PlanCascadeRequest { request_id: "r-1".into(), ..planning() }).await;
    assert_eq!((planned.request_id.as_str(), planned.cascade.as_str()), ("r-1", "default"));
    assert_eq!((planned.verdict(), planned.reason.as_str()), (CascadeVerdict::Escalate, "no_answer_yet"));
    assert_eq!((planned.next_stage, planned.next_model.as_str()), (Some(0), "small"));
    let reach = planned.stages.iter().map(|stage| stage.reach).collect::<Vec<_>>();
    assert_eq!(reach, [1.0, 0.35, 0.35 * 0.4]);
    close(planned.expected_cost_usd, 0.0002 + 0.35 * (0.001 + 0.4 * 0.006));
    close(planned.expected_latency_s.unwrap(), 0.4 + 0.35 * (20.0 + 0.4 * 2.5));
    close(planned.stages[1].break_even_escalation.unwrap(), 1.0 - 0.001 / 0.006);
    assert_eq!(
        planned.stages.iter().map(|s| s.calibrated_for_model).collect::<Vec<_>>(),
        [true, true, false]
    );
    assert!(planned.warnings.len() == 1 && planned.warnings[0].contains("large"), "{:?}", planned.warnings);

    let first = assess(&mut client, with_token(&planned.token, bytes(100))).await;
    assert_eq!((first.verdict(), first.reason.as_str()), (CascadeVerdict::Escalate, "between"));
    assert_eq!((first.stage, first.model.as_str()), (0, "small"));
    assert_eq!((first.next_stage, first.next_model.as_str()), (Some(1), "medium"));
    close((first.success_probability * 100.0).round(), 50.0);
    assert!(first.interval_lower <= first.success_probability);
    assert!(first.success_probability <= first.interval_upper);
    assert_eq!((first.abstain_below, first.accept_above), (0.05, 0.8));
    assert!(first.calibrated_for_model && first.warnings.is_empty(), "{:?}", first.warnings);
    close(first.expected_further_cost_usd, 0.001 + 0.4 * 0.006);

    let spent = v1::AssessRequest { cost_usd: Some(0.5), ..with_token(&first.token, bytes(60)) };
    let second = assess(&mut client, spent).await;
    assert_eq!((second.verdict(), second.next_model.as_str()), (CascadeVerdict::Escalate, "large"));
    close(second.cost_so_far_usd, 0.0002 + 0.5);
    let third = assess(&mut client, with_token(&second.token, bytes(1_000))).await;
    assert_eq!((third.verdict(), third.reason.as_str()), (CascadeVerdict::Accept, "last_stage"));
    close(third.cost_so_far_usd, 0.0002 + 0.5 + 0.006);
    assert_eq!((third.next_stage, third.token.as_str(), third.expected_further_cost_usd), (None, "", 0.0));
    assert!(!third.calibrated_for_model && third.warnings.len() == 2, "{:?}", third.warnings);
    assert!(third.warnings[0].contains("has seen no answer of large"), "{:?}", third.warnings);
}

#[tokio::test]
async fn answers_are_accepted_escalated_or_given_up_without_a_token() {
    let (_server, mut client, _folder) = served().await;
    let cases = [
        (0, 1_000, CascadeVerdict::Accept, "at_or_above_accept", None),
        (0, 100, CascadeVerdict::Escalate, "between", Some(1)),
        (0, 1, CascadeVerdict::Abstain, "below_abstain", None),
        (1, 300, CascadeVerdict::Accept, "at_or_above_accept", None),
        (2, 100, CascadeVerdict::Accept, "last_stage", None),
        (2, 10, CascadeVerdict::Abstain, "last_stage", None),
    ];
    for (stage, length, verdict, reason, next) in cases {
        let found = assess(&mut client, at_stage(stage, bytes(length))).await;
        assert_eq!((found.verdict(), found.reason.as_str(), found.next_stage), (verdict, reason, next));
        assert_eq!(found.token.is_empty(), next.is_none());
        assert_eq!(found.last_abstain_below, None);
    }
    let by_name = v1::AssessRequest { at: Some(At::Model("medium".into())), ..with_token("", bytes(300)) };
    assert_eq!(assess(&mut client, by_name).await.stage, 1);
    let empty = assess(&mut client, at_stage(0, String::new())).await;
    assert_eq!(empty.verdict(), CascadeVerdict::Abstain);
    // Ten bytes are usual for this task.
    let labels = [("task".to_owned(), "short".to_owned())].into();
    let short = assess(&mut client, v1::AssessRequest { labels, ..at_stage(0, bytes(10)) }).await;
    close((short.success_probability * 100.0).round(), 50.0);
}

#[tokio::test]
async fn a_deadline_skips_what_is_too_slow() {
    let (_server, mut client, _folder) = served().await;
    let planned = plan(&mut client, v1::PlanCascadeRequest { deadline_ms: Some(60_000), ..planning() }).await;
    assert_eq!(planned.next_stage, Some(0));
    // What is left now wins over what the plan said.
    let request = v1::AssessRequest { remaining_ms: Some(5_000), ..with_token(&planned.token, bytes(100)) };
    let skipping = assess(&mut client, request).await;
    assert_eq!((skipping.next_model.as_str(), skipping.reason.as_str()), ("large", "between"));
    let skipped = &skipping.skipped[0];
    assert_eq!((skipped.stage, skipped.model.as_str(), skipped.reason.as_str()), (1, "medium", "too_slow"));
    close(skipping.expected_further_cost_usd, 0.006);
    let short = plan(&mut client, v1::PlanCascadeRequest { deadline_ms: Some(10_000), ..planning() }).await;
    let remembered = assess(&mut client, with_token(&short.token, bytes(100))).await;
    assert_eq!(remembered.next_model, "large", "the token knows when the query has to be answered");
    for (length, verdict) in [(100, CascadeVerdict::Accept), (20, CascadeVerdict::Abstain)] {
        let request = v1::AssessRequest { remaining_ms: Some(100), ..at_stage(0, bytes(length)) };
        let late = assess(&mut client, request).await;
        assert_eq!((late.verdict(), late.reason.as_str()), (verdict, "deadline"));
        assert_eq!((late.last_abstain_below, late.skipped.len()), (Some(0.3), 2));
    }
    let none = plan(&mut client, v1::PlanCascadeRequest { deadline_ms: Some(1), ..planning() }).await;
    assert_eq!((none.verdict(), none.reason.as_str()), (CascadeVerdict::Abstain, "deadline"));
    assert!(none.token.is_empty() && none.next_model.is_empty() && none.skipped.len() == 3);
}

#[tokio::test]
async fn predictions_of_the_caller_pass_over_the_hopeless() {
    let (_server, mut client, _folder) = served().await;
    let predicted_success = [("small".to_owned(), 0.1), ("medium".to_owned(), 0.6)].into();
    let planned = plan(&mut client, v1::PlanCascadeRequest { predicted_success, ..planning() }).await;
    assert_eq!((planned.next_model.as_str(), planned.skipped[0].reason.as_str()), ("medium", "hopeless"));
    assert_eq!((planned.stages[0].reach, planned.stages[1].predicted_success), (0.0, Some(0.6)));
    let predicted_success = [("medium".to_owned(), 0.1)].into();
    let request = v1::AssessRequest { predicted_success, ..at_stage(0, bytes(100)) };
    assert_eq!(assess(&mut client, request).await.next_model, "large");
}

#[tokio::test]
async fn two_cascades_are_served_and_the_dear_one_is_warned_of() {
    let (_server, mut client, _folder) = served().await;
    let dear = plan(&mut client, v1::PlanCascadeRequest { cascade: "dear".into(), ..planning() }).await;
    assert_eq!((dear.stages.len(), dear.next_model.as_str()), (2, "medium"));
    assert!(dear.expected_cost_usd > dear.last_only_cost_usd);
    assert!(dear.warnings.iter().any(|w| w.contains("calling large alone")), "{:?}", dear.warnings);
    let assessed = assess(&mut client, with_token(&dear.token, bytes(1_000))).await;
    assert_eq!((assessed.cascade.as_str(), assessed.next_model.as_str()), ("dear", "large"));
    let loaded = client.get_cascades(v1::GetCascadesRequest {}).await.unwrap().into_inner();
    let names: Vec<&str> = loaded.cascades.iter().map(|cascade| cascade.name.as_str()).collect();
    assert_eq!(names, ["dear", "default"]);
    assert_eq!((loaded.verifier_version, loaded.token_ttl_s), (dear.verifier_version, 600));
    assert_eq!((loaded.signals, loaded.shared_token_key), (vec!["finish_reason".to_owned()], false));
    assert_eq!(loaded.cascades[0].measured["error"].value, 0.125);
    assert_eq!(loaded.cascades[0].warnings, dear.warnings);
}

#[tokio::test]
async fn signals_without_a_lesson_are_warned_of() {
    let (_server, mut client, _folder) = served().await;
    let with = |signals| v1::AssessRequest { signals: Some(signals), ..at_stage(0, bytes(100)) };
    let known = v1::AnswerSignals { finish_reason: "stop".into(), ..Default::default() };
    assert_eq!(assess(&mut client, with(known.clone())).await.warnings, Vec::<String>::new());
    let more = v1::AnswerSignals {
        mean_log_probability: Some(-0.25),
        least_log_probability: Some(-7.0),
        first_margin: Some(0.5),
        other_answers: vec!["391".into()],
        ..known
    };
    let warnings = assess(&mut client, with(more)).await.warnings;
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].ends_with("these signals: log_probability, other_answers"), "{warnings:?}");
}

#[tokio::test]
async fn a_wrong_request_names_its_field() {
    let (_server, mut client, _folder) = served().await;
    let with = |edit: fn(&mut v1::AssessRequest)| {
        let mut request = at_stage(0, bytes(100));
        request.signals = Some(v1::AnswerSignals::default());
        edit(&mut request);
        request
    };
    let cases = [
        ("input", with(|r| r.input = None)),
        ("chat.messages", with(|r| r.input = Some(Input::Chat(v1::Chat { messages: vec![] })))),
        ("cascade", with(|r| r.cascade = "gsm".into())),
        ("at", with(|r| r.at = None)),
        ("stage", with(|r| r.at = Some(At::Stage(3)))),
        ("model", with(|r| r.at = Some(At::Model("gpt-9".into())))),
        ("token", with(|r| r.token = "garbage".into())),
        ("cost_usd", with(|r| r.cost_usd = Some(-1.0))),
        ("cost_usd", with(|r| r.cost_usd = Some(f64::NAN))),
        ("predicted_success", with(|r| r.predicted_success = [("medium".into(), 1.5)].into())),
        ("predicted_success", with(|r| r.predicted_success = [("gpt-9".into(), 0.5)].into())),
        ("signals.finish_reason", with(|r| r.signals.as_mut().unwrap().finish_reason = "tired".into())),
        (
            "signals.mean_log_probability",
            with(|r| r.signals.as_mut().unwrap().mean_log_probability = Some(0.5)),
        ),
        (
            "signals.least_log_probability",
            with(|r| r.signals.as_mut().unwrap().least_log_probability = Some(f64::NAN)),
        ),
        ("signals.first_margin", with(|r| r.signals.as_mut().unwrap().first_margin = Some(2.0))),
        (
            "signals.other_answers",
            with(|r| r.signals.as_mut().unwrap().other_answers = vec![String::new(); 65]),
        ),
    ];
    for (field, request) in cases {
        let status = client.assess(request).await.unwrap_err();
        assert_eq!((status.code(), named(&status).0.as_str()), (Code::InvalidArgument, field), "{status:?}");
    }
    let planning_with = |edit: fn(&mut v1::PlanCascadeRequest)| {
        let mut request = planning();
        edit(&mut request);
        request
    };
    let cases = [
        ("input", planning_with(|r| r.input = None)),
        ("cascade", planning_with(|r| r.cascade = "gsm".into())),
        ("predicted_success", planning_with(|r| r.predicted_success = [("small".into(), -0.5)].into())),
    ];
    for (field, request) in cases {
        let status = client.plan_cascade(request).await.unwrap_err();
        assert_eq!((status.code(), named(&status).0.as_str()), (Code::InvalidArgument, field), "{status:?}");
        assert!(field != "cascade" || status.message().contains("there are dear, default"), "{status:?}");
    }
}

#[tokio::test]
async fn a_token_is_good_for_one_answer_to_its_own_query_and_stage() {
    let (_server, mut client, _folder) = served().await;
    let token = plan(&mut client, planning()).await.token;
    let answer = with_token(&token, bytes(100));
    let refusals = [
        (
            "TOKEN_OF_OTHER_QUERY",
            v1::AssessRequest { input: Some(Input::Text("2 + 2?".into())), ..answer.clone() },
        ),
        ("TOKEN_OF_OTHER_QUERY", v1::AssessRequest { system: Some("Be brief.".into()), ..answer.clone() }),
        ("TOKEN_OF_OTHER_CASCADE", v1::AssessRequest { cascade: "dear".into(), ..answer.clone() }),
        ("TOKEN_OF_OTHER_STAGE", v1::AssessRequest { at: Some(At::Stage(1)), ..answer.clone() }),
        ("TOKEN_OF_OTHER_STAGE", v1::AssessRequest { at: Some(At::Model("large".into())), ..answer.clone() }),
        ("TOKEN_MALFORMED", v1::AssessRequest { token: format!("{token}A"), ..answer.clone() }),
        ("TOKEN_MALFORMED", v1::AssessRequest { token: token.to_lowercase(), ..answer.clone() }),
    ];
    for (reason, request) in refusals {
        let status = client.assess(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert_eq!(named(&status), ("token".to_owned(), reason.to_owned()), "{status:?}");
    }
    let said = v1::AssessRequest { at: Some(At::Model("small".into())), cascade: "default".into(), ..answer };
    let first = assess(&mut client, said.clone()).await;
    let retried = v1::AssessRequest { request_id: "again".into(), remaining_ms: Some(1), ..said.clone() };
    let retry = assess(&mut client, retried).await;
    assert!(retry.repeated && !first.repeated);
    let same = AssessResponse { request_id: first.request_id.clone(), repeated: false, ..retry.clone() };
    assert_eq!(
        (same, retry.request_id.as_str()),
        (first.clone(), "again"),
        "to the last byte of the next token"
    );
    let status = client.assess(v1::AssessRequest { answer: bytes(99), ..said }).await.unwrap_err();
    assert_eq!((status.code(), named(&status).1.as_str()), (Code::AlreadyExists, "TOKEN_REUSED"));
    assert_eq!(assess(&mut client, with_token(&first.token, bytes(300))).await.stage, 1);
}

#[tokio::test]
async fn a_token_expires_and_dies_with_what_it_was_made_with() {
    let folder = tempfile::tempdir().unwrap();
    let (key, other_key) = (folder.path().join("key"), folder.path().join("other-key"));
    std::fs::write(&key, "7".repeat(64)).unwrap();
    std::fs::write(&other_key, "8".repeat(64)).unwrap();
    let keyed = |verifier: &str, key: &std::path::Path, ttl_s: Option<u64>| Settings {
        verifier: Some(folder.path().join(verifier)),
        token_key_file: Some(key.to_owned()),
        token_ttl_s: ttl_s,
        ..Settings::default()
    };
    let mut looser = three();
    looser[0] = stage("small", (0.05, 0.7), 0.0002, 0.4, 0.35);
    write(&folder.path().join("one"), 1.0, three());
    write(&folder.path().join("two"), 2.0, three());
    write(&folder.path().join("tuned"), 1.0, looser);
    let first = serve(keyed("one", &key, Some(1))).await;
    let token = plan(&mut client(&first).await, planning()).await.token;
    // A replica with the same key and verifier goes on where another one stopped.
    let replica = serve(keyed("one", &key, None)).await;
    let mut on_replica = client(&replica).await;
    assert_eq!(assess(&mut on_replica, with_token(&token, bytes(100))).await.next_stage, Some(1));
    assert!(on_replica.get_cascades(v1::GetCascadesRequest {}).await.unwrap().into_inner().shared_token_key);
    let long_lived = plan(&mut on_replica, planning()).await.token;
    let cases = [
        ("two", &key, Code::FailedPrecondition, "TOKEN_OF_OTHER_VERIFIER"),
        ("tuned", &key, Code::FailedPrecondition, "TOKEN_OF_EARLIER_TUNING"),
        ("one", &other_key, Code::InvalidArgument, "TOKEN_MALFORMED"),
    ];
    for (verifier, key, code, reason) in cases {
        let other = serve(keyed(verifier, key, None)).await;
        let request = with_token(&long_lived, bytes(100));
        let status = client(&other).await.assess(request).await.unwrap_err();
        assert_eq!((status.code(), named(&status).1.as_str()), (code, reason), "{status:?}");
    }
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let status = on_replica.assess(with_token(&token, bytes(99))).await.unwrap_err();
    assert_eq!((status.code(), named(&status).1.as_str()), (Code::FailedPrecondition, "TOKEN_EXPIRED"));
    std::fs::write(&key, "short").unwrap();
    let refused = serve(keyed("one", &key, None)).await.served.await.unwrap().unwrap_err().to_string();
    assert!(refused.starts_with("key of continuation tokens: ") && refused.contains("64 hex"), "{refused}");
    let refused = serve(keyed("none", &other_key, None)).await.served.await.unwrap().unwrap_err().to_string();
    assert!(refused.starts_with("verifier: ") && refused.contains("manifest.json"), "{refused}");
}

#[test]
fn many_at_once_get_what_each_would_get_alone() {
    multi_thread(async {
        let (_server, mut client, _folder) = served().await;
        let mut alone = Vec::new();
        for length in [1, 20, 100, 1_000] {
            alone.push(assess(&mut client, at_stage(0, bytes(length))).await.success_probability.to_bits());
        }
        let calls: Vec<_> = (0..64)
            .map(|i| {
                let (mut client, length) = (client.clone(), [1, 20, 100, 1_000][i % 4]);
                tokio::spawn(async move {
                    let token = plan(&mut client, planning()).await.token;
                    assess(&mut client, with_token(&token, bytes(length))).await.success_probability.to_bits()
                })
            })
            .collect();
        for (i, call) in calls.into_iter().enumerate() {
            assert_eq!(call.await.unwrap(), alone[i % 4]);
        }
        let token = plan(&mut client, planning()).await.token;
        let calls: Vec<_> = (0..24)
            .map(|i| {
                let (mut client, request) = (client.clone(), with_token(&token, bytes(100 + i % 3)));
                tokio::spawn(async move { client.assess(request).await.map(tonic::Response::into_inner) })
            })
            .collect();
        let (mut said, mut refused) = (Vec::new(), 0);
        for call in calls {
            match call.await.unwrap() {
                Ok(response) => said.push(response),
                Err(status) => {
                    refused += 1;
                    assert_eq!(status.code(), Code::AlreadyExists, "{status:?}");
                }
            }
        }
        assert_eq!((said.len(), refused), (8, 16), "of three answers to one token one stands");
        assert_eq!(said.iter().filter(|response| !response.repeated).count(), 1);
        assert!(said.iter().all(|response| response.token == said[0].token));
    });
}

fn multi_thread<F: Future>(future: F) -> F::Output {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(3).enable_all().build().unwrap().block_on(future)
}

#[test]
fn overload_is_told_and_limits_are_kept() {
    multi_thread(async {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            decision_slots: Some(1),
            queue: Some(1),
            max_request_bytes: Some(64 << 20),
            ..settings(folder.path())
        };
        let server = serve(settings).await;
        let client = client(&server).await;
        let others = vec!["a long and winding answer ".repeat(2_000); 64];
        let signals = Some(v1::AnswerSignals { other_answers: others, ..Default::default() });
        let request = v1::AssessRequest { signals, ..at_stage(0, bytes(100)) };
        let calls: Vec<_> = (0..16)
            .map(|_| {
                let (mut client, request) = (client.clone(), request.clone());
                tokio::spawn(async move { client.assess(request).await.map_err(|status| status.code()) })
            })
            .collect();
        let (mut served, mut refused) = (0, 0);
        for call in calls {
            match call.await.unwrap() {
                Ok(_) => served += 1,
                Err(code) => {
                    refused += 1;
                    assert_eq!(code, Code::ResourceExhausted);
                }
            }
        }
        assert!(served >= 2 && refused >= 1, "served {served}, refused {refused}");
        assert!(client.clone().assess(at_stage(0, bytes(100))).await.is_ok(), "slots are free again");
    });
}

#[tokio::test]
async fn limits_and_deadlines_are_typed_answers() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(Settings { max_request_bytes: Some(4_096), ..settings(folder.path()) }).await;
    let mut client = client(&server).await;
    let status = client.assess(at_stage(0, bytes(5_000))).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    let mut late = Request::new(at_stage(0, bytes(100)));
    late.metadata_mut().insert("grpc-timeout", "0n".parse().unwrap());
    let status = client.assess(late).await.unwrap_err();
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    assert!(client.assess(at_stage(0, bytes(100))).await.is_ok());
}

#[tokio::test]
async fn health_tells_whether_cascades_are_served() {
    let (server, _client, _folder) = served().await;
    let asked = || HealthCheckRequest { service: "rung.v1.CascadeService".into() };
    let mut health = HealthClient::new(server.channel().await);
    let status = health.check(asked()).await.unwrap().into_inner().status();
    assert_eq!(status, ServingStatus::Serving);
    let without = serve(Settings::default()).await;
    let status = client(&without).await.plan_cascade(planning()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    let mut health = HealthClient::new(without.channel().await);
    assert_eq!(health.check(asked()).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn reflection_lists_the_service() {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let (server, _client, _folder) = served().await;
    let mut reflection = ServerReflectionClient::new(server.channel().await);
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers =
        reflection.server_reflection_info(tokio_stream::iter([ask])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
    assert!(list.service.iter().any(|service| service.name == "rung.v1.CascadeService"), "{list:?}");
}

#[test]
fn any_token_gets_an_answer() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (_server, client, _folder) = runtime.block_on(served());
    proptest!(ProptestConfig::with_cases(64), |(token in "[A-Za-z0-9_=-]{1,400}|\\PC{1,40}", answer in "\\PC*")| {
        let mut client = client.clone();
        let status = runtime.block_on(client.assess(with_token(&token, answer))).unwrap_err();
        prop_assert_eq!(status.code(), Code::InvalidArgument);
        prop_assert_eq!(named(&status).1, "TOKEN_MALFORMED");
    });
}
