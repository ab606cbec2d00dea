//! Exploration as a caller sees it: now and then another model than the policy's, with the propensity it had; never
//! against a threshold of the caller's own, never where stakes are high, and a retry gets what the first try got.

use std::sync::{Arc, LazyLock};

use crate::support::{artifact, log_url, logged, logging, serve, serve_router};
use api::v1;
use api::v1::route_request::{At, Input};
use corpus::{Example, starter};
use router::{Exploration, Router, RouterOptions};
use server::config::Settings;

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
    let exploration = Exploration::new(0.4, 0.0).unwrap();
    let options = RouterOptions { exploration, ..RouterOptions::default() };
    let router = Arc::new(Router::load(&artifact(), &options).unwrap());
    let server = serve_router(router, logging(folder.path())).await;
    let mut client = server.client().await;
    let mut answers = Vec::new();
    for i in 0..30 {
        answers.push(client.route(request(i)).await.unwrap().into_inner());
    }
    drop(client);
    server.end().await;
    let logged = logged(log_url(folder.path())).await;
    assert_eq!(logged.len(), answers.len());
    for answer in &answers {
        let decided = &logged[&answer.decision_id].decision;
        assert_eq!((&decided.action, &decided.policy_action), (&answer.model, &answer.policy_model));
        assert_eq!((decided.propensity, &decided.reason), (answer.propensity, &answer.reason));
        assert_eq!((decided.action_set.len(), decided.high_stakes), (2, false));
        assert_eq!(decided.threshold_source, "operating_point:default");
        assert_eq!((decided.win_probability, decided.threshold), (answer.win_probability, answer.threshold));
    }
    assert!(answers.iter().any(|a| a.reason == "explored"));
}

#[test]
fn shares_that_are_none_are_refused() {
    let settings = Settings { explore_dearer: Some(0.7), explore_cheaper: Some(0.4), ..Settings::default() };
    let refused = settings.build().unwrap_err().to_string();
    assert!(refused.starts_with("explore_dearer, explore_cheaper: expected shares"), "{refused}");
}
