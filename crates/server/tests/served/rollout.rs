//! A rollout as an operator sees it: the shadow serves nobody, the canary always the same callers, harm takes the
//! candidate out, and a better one is put in charge.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::access::Known;
use crate::support::{artifact, log_url, logged, logging, other_artifact, serve};
use api::v1;
use api::v1::admin_service_client::AdminServiceClient;
use api::v1::outcome_service_client::OutcomeServiceClient;
use api::v1::route_request::Input;
use api::v1::{RolloutStage, RolloutVerdict};
use decision_log::Rollout;
use tonic::Code;

struct Operated {
    server: crate::support::Running,
    admin: AdminServiceClient<Known>,
    folder: tempfile::TempDir,
}

async fn operated() -> Operated {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = logging(folder.path());
    let (address, token) = crate::support::access::administered(&mut settings, folder.path());
    settings.sticky_label = Some("tenant".into());
    let server = serve(settings).await;
    let admin = crate::support::access::admin(address, &token).await;
    Operated { server, admin, folder }
}

fn of_tenant(tenant: usize) -> v1::RouteRequest {
    let labels = [("tenant".to_owned(), tenant.to_string())].into();
    let input = Some(Input::Text(format!("question number {tenant}, please")));
    v1::RouteRequest { labels, input, ..Default::default() }
}

fn start(artifact: &std::path::Path) -> v1::StartRolloutRequest {
    v1::StartRolloutRequest { artifact: artifact.display().to_string(), margin: Some(0.2), alpha: None }
}

/// Routes for many tenants; version by tenant.
async fn versions(server: &crate::support::Running) -> BTreeMap<usize, String> {
    let mut client = server.client().await;
    let mut versions = BTreeMap::new();
    for tenant in 0..300 {
        let answer = client.route(of_tenant(tenant)).await.unwrap().into_inner();
        versions.insert(tenant, answer.artifact_version);
    }
    versions
}

/// Reports on answers until the test has ended: the candidate's are acceptable with `good`, all others always.
async fn report_until_decided(operated: &mut Operated, good: impl Fn(usize) -> bool) -> v1::Rollout {
    let mut client = operated.server.client().await;
    let mut outcomes = OutcomeServiceClient::new(operated.server.channel().await);
    let candidate =
        operated.admin.get_rollout(v1::GetRolloutRequest {}).await.unwrap().into_inner().candidate;
    for i in 0..6_000 {
        let answer = client.route(of_tenant(i % 300)).await.unwrap().into_inner();
        let up = answer.artifact_version != candidate || good(i);
        let outcome = Some(v1::report_outcome_request::Outcome::Thumbs(v1::Thumbs { up }));
        let (decision_id, source) = (answer.decision_id, "app".to_owned());
        let report = v1::ReportOutcomeRequest { decision_id, source, observed_us: None, outcome };
        outcomes.report_outcome(report).await.unwrap();
        if i % 50 == 49 {
            let now = operated.admin.get_rollout(v1::GetRolloutRequest {}).await.unwrap().into_inner();
            if now.stage() != RolloutStage::Canary || now.verdict() != RolloutVerdict::Continue {
                return now;
            }
        }
    }
    panic!("the test does not end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_goes_from_shadow_to_canary_to_charge() {
    let mut operated = operated().await;
    let refused = operated.admin.promote(v1::PromoteRequest { force: true }).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let missing = operated.admin.start_rollout(start(std::path::Path::new("/nowhere"))).await.unwrap_err();
    assert_eq!(missing.code(), Code::InvalidArgument);
    assert!(missing.message().starts_with("artifact: "), "{missing:?}");
    let started = operated.admin.start_rollout(start(&other_artifact())).await.unwrap().into_inner();
    assert_eq!(started.stage(), RolloutStage::Shadow);
    assert_ne!(started.incumbent, started.candidate);
    let second = operated.admin.start_rollout(start(&artifact())).await.unwrap_err();
    assert!(second.message().contains("is being introduced"), "{second:?}");

    // In the shadow it serves nobody.
    let served = versions(&operated.server).await;
    assert!(served.values().all(|version| *version == started.incumbent));
    let shadowed = loop {
        let now = operated.admin.get_rollout(v1::GetRolloutRequest {}).await.unwrap().into_inner();
        if now.shadowed >= 290 {
            break now;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(shadowed.shadow_differs < shadowed.shadowed);

    // The same tenants at each share, and more of them at a larger one.
    let wrong = operated.admin.set_canary(v1::SetCanaryRequest { share: 1.5 }).await.unwrap_err();
    assert!(wrong.message().starts_with("share: expected a number in [0, 1]"), "{wrong:?}");
    let mut before = Vec::new();
    for (share, within) in [(0.01, 0..=12), (0.05, 4..=32), (0.25, 45..=105)] {
        operated.admin.set_canary(v1::SetCanaryRequest { share }).await.unwrap();
        let served = versions(&operated.server).await;
        assert_eq!(served, versions(&operated.server).await, "sticky");
        let of_candidate: Vec<usize> =
            served.iter().filter(|(_, version)| **version == started.candidate).map(|(t, _)| *t).collect();
        assert!(within.contains(&of_candidate.len()), "{} at {share}", of_candidate.len());
        assert!(before.iter().all(|tenant| of_candidate.contains(tenant)), "who had it keeps it");
        before = of_candidate;
    }
    let early = operated.admin.promote(v1::PromoteRequest { force: false }).await.unwrap_err();
    assert!(early.message().contains("has not ended in the candidate's favour"), "{early:?}");
    let decided = report_until_decided(&mut operated, |_| true).await;
    assert_eq!((decided.stage(), decided.verdict()), (RolloutStage::Canary, RolloutVerdict::Promote));
    assert!(decided.difference_upper < 0.2 && decided.candidate_reports > 50);
    let promoted = operated.admin.promote(v1::PromoteRequest { force: false }).await.unwrap().into_inner();
    assert_eq!((promoted.stage(), &promoted.incumbent), (RolloutStage::Promoted, &started.candidate));
    assert!(versions(&operated.server).await.values().all(|version| *version == started.candidate));

    operated.server.end().await;
    let all = logged(log_url(operated.folder.path())).await;
    let of = |rollout| all.values().filter(|joined| joined.decision.rollout == rollout).count();
    assert!(of(Rollout::Shadow) >= 290 && of(Rollout::Canary) > 100 && of(Rollout::Incumbent) > 1_000);
    let answered = |id: Option<uuid::Uuid>| id.is_some_and(|id| all.contains_key(&id.to_string()));
    let mut shadows = all.values().filter(|joined| joined.decision.rollout == Rollout::Shadow);
    assert!(shadows.all(|shadow| answered(shadow.decision.shadow_of)));
    let store = decision_log::open_existing(&log_url(operated.folder.path())).await.unwrap();
    let history: serde_json::Value =
        serde_json::from_str(&store.state("rollouts").await.unwrap().unwrap()).unwrap();
    let stages: Vec<&str> =
        history.as_array().unwrap().iter().map(|s| s["stage"].as_str().unwrap()).collect();
    assert_eq!(stages.len(), 5);
    assert!(stages[0].ends_with("SHADOW") && stages[4].ends_with("PROMOTED"), "{stages:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn harm_takes_the_candidate_out() {
    let mut operated = operated().await;
    operated.admin.start_rollout(start(&other_artifact())).await.unwrap();
    operated.admin.set_canary(v1::SetCanaryRequest { share: 0.25 }).await.unwrap();
    let ended = report_until_decided(&mut operated, |i| i % 3 == 0).await;
    let ended = if ended.stage() == RolloutStage::Canary {
        tokio::time::sleep(Duration::from_millis(500)).await;
        operated.admin.get_rollout(v1::GetRolloutRequest {}).await.unwrap().into_inner()
    } else {
        ended
    };
    assert_eq!(ended.stage(), RolloutStage::RolledBack, "{ended:?}");
    assert!(ended.reason.contains("harm"), "{ended:?}");
    assert!(versions(&operated.server).await.values().all(|version| *version == ended.incumbent));
    let again = operated.admin.roll_back(v1::RollBackRequest { reason: "twice".into() }).await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition);
    operated.server.end().await;
}
