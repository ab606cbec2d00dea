//! Exploration as a caller sees it: now and then another model than the policy's, with the propensity it had; never
//! against a threshold of the caller's own, never where stakes are high, and a retry gets what the first try got.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::sync::{Arc, LazyLock};

use api::v1;
use api::v1::route_request::{At, Input};
use api::v1::router_service_client::RouterServiceClient;
use corpus::{Example, starter};
use router::{Exploration, Router, RouterOptions};
use server::config::Settings;
use support::{artifact, serve, serve_router};
use training::decision_log::{Entry, entries};

fn request(i: usize) -> v1::RouteRequest {
    static TEXTS: LazyLock<Vec<String>> = LazyLock::new(|| {
        let text = |e: &Example| e.query.parts().map(|(_, text)| text).collect::<String>();
        starter::generate(100, 9).iter().map(text).collect()
    });
    let input = Some(Input::Text(TEXTS[i % TEXTS.len()].clone()));
    v1::RouteRequest { request_id: format!("request-{i}"), input, ..Default::default() }
}

fn high_stakes(mut request: v1::RouteRequest) -> v1::RouteRequest {
    request.labels = [("high_stakes".to_owned(), String::new())].into();
    request
}

#[tokio::test]
async fn another_model_is_served_as_often_as_its_propensity_says() {
    const QUERIES: usize = 2_000;
    let exploration = Exploration::new(0.2, 0.1).unwrap();
    let options = RouterOptions { exploration, ..RouterOptions::default() };
    let exploring = Arc::new(Router::load(&artifact(), &options).unwrap());
    let (exploring, plain) =
        (serve_router(exploring, Settings::default()).await, serve(Settings::default()).await);
    let (mut client, mut reference) = (exploring.client().await, plain.client().await);
    let mut explored = [(0, 0); 2];
    for i in 0..QUERIES {
        let answer = client.route(request(i)).await.unwrap().into_inner();
        let policy = reference.route(request(i)).await.unwrap().into_inner();
        assert_eq!((policy.propensity, &policy.policy_model), (1.0, &policy.model));
        assert_eq!((&answer.policy_model, answer.threshold), (&policy.model, policy.threshold));
        let weak = policy.tier == v1::Tier::Weak as i32;
        let share = if weak { 0.2 } else { 0.1 };
        let departs = answer.model != policy.model;
        assert_eq!(answer.reason == "explored", departs);
        assert!((answer.propensity - if departs { share } else { 1.0 - share }).abs() < 1e-12);
        let (of, seen) = &mut explored[usize::from(weak)];
        (*of, *seen) = (*of + 1, *seen + usize::from(departs));
        if i < 50 {
            let again = client.route(request(i)).await.unwrap().into_inner();
            assert_eq!(again.model, answer.model, "a retry");
            let mut own = request(i);
            own.at = Some(At::Threshold(0.3));
            let own = client.route(own).await.unwrap().into_inner();
            assert_eq!((own.propensity, &own.policy_model), (1.0, &own.model));
            let guarded = client.route(high_stakes(request(i))).await.unwrap().into_inner();
            assert_eq!((guarded.propensity, guarded.reason.as_str()), (1.0, "high_stakes"));
        }
    }
    for ((of, seen), share) in explored.into_iter().zip([0.1, 0.2]) {
        let (n, deviation) = (of as f64, (share * (1.0 - share) * of as f64).sqrt());
        assert!(of > 100 && (seen as f64 - share * n).abs() < 4.0 * deviation, "{seen} of {of} at {share}");
    }
    let info = client.get_info(v1::GetInfoRequest {}).await.unwrap().into_inner();
    assert_eq!(info.exploration, Some(v1::Exploration { dearer: 0.2, cheaper: 0.1 }));
    let info = reference.get_info(v1::GetInfoRequest {}).await.unwrap().into_inner();
    assert_eq!(info.exploration, None);
}

/// The log is what `training what-if` and `training advise` read.
#[tokio::test]
async fn the_log_holds_what_counterfactuals_need() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rung.log");
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_server"))
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--log-format",
            "json",
            "--explore-dearer",
            "0.4",
            "--artifact",
        ])
        .arg(artifact())
        .stderr(std::fs::File::create(&file).unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let read = || {
        let text = std::fs::read_to_string(&file).unwrap();
        text.lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .collect::<Vec<_>>()
    };
    let address = loop {
        let serving = read().into_iter().find(|line| line["fields"]["message"] == "serving");
        if let Some(line) = serving {
            break line["fields"]["address"].as_str().unwrap().to_owned();
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let mut client = RouterServiceClient::connect(format!("http://{address}")).await.unwrap();
    let mut answers = Vec::new();
    for i in 0..30 {
        answers.push(client.route(request(i)).await.unwrap().into_inner());
    }
    child.kill().await.unwrap();
    let decisions = entries(&file).unwrap().filter_map(|entry| match entry.unwrap() {
        Entry::Decision(_, decided) => Some(decided),
        Entry::Other => None,
    });
    let mut logged = 0;
    for (decided, answer) in decisions.zip(&answers) {
        let served = decided.served.unwrap();
        assert_eq!((&decided.decision_id, &decided.model), (&answer.decision_id, &answer.model));
        assert_eq!((served.propensity, &served.reason, served.rungs), (answer.propensity, &answer.reason, 2));
        assert_eq!(decided.threshold_source, "operating_point:default");
        assert_eq!(decided.win_probability, answer.win_probability);
        logged += 1;
    }
    assert_eq!(logged, answers.len());
    assert!(answers.iter().any(|a| a.reason == "explored"));
}

#[test]
fn shares_that_are_none_are_refused() {
    let settings = Settings { explore_dearer: Some(0.7), explore_cheaper: Some(0.4), ..Settings::default() };
    let refused = settings.build().unwrap_err().to_string();
    assert!(refused.starts_with("explore_dearer, explore_cheaper: expected shares"), "{refused}");
}
