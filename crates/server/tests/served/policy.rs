//! A policy as callers and operators meet it: every kind of strategy, what the answer says of the way to it, a budget that
//! is spent, strategies that fail, files that change under a running server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::cascade::{QUERY, bytes, stage, with_token};
use crate::support::{artifact, lean_artifact, log_url, logged, logging, serve};
use api::v1;
use api::v1::match_request::Input as Asked;
use api::v1::outcome_service_client::OutcomeServiceClient;
use api::v1::route_item::Result as Item;
use api::v1::route_request::{At, Input, Models};
use api::v1::semantic_service_client::SemanticServiceClient;
use server::config::Settings;
use tonic::Code;
use tonic::transport::Channel;

const BILLING: &str = "Hey, there are two identical debits from you on my statement";
const LEGAL: &str = "please review this NDA clause for my contract";
const MATH: &str = "what is the derivative of x^2 sin x";
const TRANSLATION: &str = "translate this sentence to Dutch";
const OFF_TOPIC: &str = "how long do hard boiled eggs keep";

const POLICY: &str = r#"version = 1
default = "intents"

[strategy.intents]
kind = "semantic"
routes = { billing = "cheap", legal = "safe", math = "ladder" }
otherwise = "general"

[strategy.general]
kind = "predictive"
fallback = "safe"

[strategy.ladder]
kind = "predictive"
ladder = ["starter-small", "starter-medium", "starter-large"]
threshold = 0.25
fallback = "safe"

[strategy.safe]
kind = "model"
model = "starter-large"

[strategy.cheap]
kind = "model"
tier = "weak"

[[rule]]
when = { slice = "careful", intent = "billing" }
use = "safe"

[[rule]]
when = { slice = "tenant:acme" }
use = "ladder"

[[rule]]
when = { slice = ["tenant:acme", "plain"] }
use = "general"

[[override]]
when = { slice = "incident" }
tier = "strong"
"#;

/// Prices of the starter's models and of every model that the catalogue names.
const PRICED: [&str; 11] = [
    "starter-small",
    "starter-medium",
    "starter-large",
    "coder-medium",
    "reasoner-large",
    "large-careful",
    "small-multilingual",
    "small-general",
    "analyst-medium",
    "writer-medium",
    "tiny-chat",
];

fn catalogue() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../semantic/fixtures/intents.toml")
}

/// The files of a policy in a folder, and settings that name them. A call costs 0.001 US dollars.
fn of_policy(folder: &Path, policy: &str, settings: Settings) -> Settings {
    let mut prices = "valid_on = \"2026-11-01\"\n[call]\ninput_tokens = 1000\noutput_tokens = 0\n".to_owned();
    for model in PRICED {
        prices.push_str(&format!(
            "[models.{model:?}]\ninput_usd_per_million_tokens = 1\noutput_usd_per_million_tokens = 1\n"
        ));
    }
    std::fs::write(folder.join("policy.toml"), policy).unwrap();
    std::fs::write(folder.join("prices.toml"), prices).unwrap();
    Settings {
        policy: Some(folder.join("policy.toml")),
        catalogue: Some(catalogue()),
        prices: Some(folder.join("prices.toml")),
        reload_ms: Some(10),
        ..settings
    }
}

fn of(text: &str, labels: &[(&str, &str)]) -> v1::RouteRequest {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    v1::RouteRequest { input: Some(Input::Text(text.into())), labels, ..Default::default() }
}

/// The turns of an answer, `kind -> name`.
fn turns(answer: &v1::RouteResponse) -> Vec<String> {
    answer.path.iter().map(|step| format!("{} -> {}", step.kind, step.name)).collect()
}

async fn semantic(server: &crate::support::Running) -> SemanticServiceClient<Channel> {
    SemanticServiceClient::new(server.channel().await)
}

#[tokio::test]
async fn every_kind_of_strategy_decides_and_the_answer_says_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(of_policy(folder.path(), POLICY, Settings::default())).await;
    let mut client = server.client().await;
    let mut ask =
        async |text, labels: &[(&str, &str)]| client.route(of(text, labels)).await.unwrap().into_inner();

    let tier = ask(BILLING, &[]).await;
    assert_eq!(turns(&tier), ["default -> intents", "intent -> cheap"]);
    assert_eq!((tier.path[0].line, tier.path[1].line), (2, 6));
    assert!(tier.path[1].reason.starts_with("intent billing (p 0."), "{:?}", tier.path);
    assert_eq!((tier.model.as_str(), tier.strategy.as_str()), ("starter-small", "cheap"));
    assert_eq!((tier.reason.as_str(), tier.threshold_source.as_str()), ("by_policy", "none"));
    assert_eq!((tier.intent.as_str(), tier.propensity, tier.fallback), ("billing", 1.0, false));
    assert!(tier.intent_probability > 0.5 && tier.intent_probability < 1.0);
    // What is known is said although it decided nothing.
    assert_eq!((tier.evidence.len(), tier.evidence[0].model.as_str()), (1, "starter-small"));
    assert!(tier.threshold > 1.0 && tier.win_probability == tier.evidence[0].win_probability);

    let model = ask(LEGAL, &[]).await;
    assert_eq!(
        (model.model.as_str(), model.threshold, model.tier),
        ("starter-large", 0.0, v1::Tier::Strong as i32)
    );

    let ladder = ask(MATH, &[]).await;
    assert_eq!((ladder.threshold, ladder.threshold_source.as_str()), (0.25, "policy"));
    assert_eq!((ladder.evidence.len(), ladder.strategy.as_str()), (2, "ladder"));
    let strong = ladder.win_probability >= 0.25;
    assert_eq!(ladder.reason, if strong { "at_or_above_threshold" } else { "below_threshold" });

    let own = ask(TRANSLATION, &[]).await;
    assert_eq!(turns(&own), ["default -> intents", "catalogue -> small-multilingual"]);
    assert_eq!((own.model.as_str(), own.evidence.len()), ("small-multilingual", 0));
    assert_eq!((own.win_probability, own.interval_lower, own.interval_upper), (0.0, 0.0, 1.0));

    let none = ask(OFF_TOPIC, &[]).await;
    assert_eq!(turns(&none), ["default -> intents", "otherwise -> general"]);
    assert_eq!((none.intent.as_str(), none.threshold_source.as_str()), ("", "operating_point:default"));

    let forced = ask(OFF_TOPIC, &[("incident", "true")]).await;
    assert_eq!(turns(&forced), ["override -> strong"]);
    assert_eq!((forced.model.as_str(), forced.strategy.as_str()), ("starter-large", ""));
}

#[tokio::test]
async fn rules_come_in_order_and_a_request_that_says_how_is_obeyed() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(of_policy(folder.path(), POLICY, Settings::default())).await;
    let mut client = server.client().await;
    let acme = client.route(of(BILLING, &[("tenant", "acme")])).await.unwrap().into_inner();
    assert_eq!(
        (turns(&acme), acme.path[0].line),
        (vec!["rule -> ladder".to_owned()], 31),
        "the first that matches"
    );
    assert_eq!(acme.intent, "", "no intent is asked for where labels decide");
    let plain = client.route(of(BILLING, &[("plain", "")])).await.unwrap().into_inner();
    assert_eq!(turns(&plain), ["rule -> general"]);
    let careful = client.route(of(BILLING, &[("careful", "true")])).await.unwrap().into_inner();
    assert_eq!((turns(&careful), careful.model.as_str()), (vec!["rule -> safe".to_owned()], "starter-large"));

    let mut at = of(BILLING, &[]);
    at.at = Some(At::Threshold(0.9));
    let mut pair = of(BILLING, &[]);
    let named = v1::Pair { strong: "starter-large".into(), weak: "starter-medium".into() };
    pair.models = Some(Models::Pair(named));
    for (request, source) in [(at, "request"), (pair.clone(), "operating_point:default")] {
        match client.route(request).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                assert_eq!((answer.threshold_source.as_str(), answer.path.len()), (source, 0));
            }
            // This artifact has no such point for that pair: obeyed all the same.
            Err(status) => assert_eq!(status.code(), Code::InvalidArgument),
        }
    }
    let batch = v1::RouteBatchRequest { requests: vec![of(LEGAL, &[]), of(BILLING, &[]), pair] };
    let batch = client.route_batch(batch).await.unwrap().into_inner().items;
    let strategy = |item: &v1::RouteItem| match &item.result {
        Some(Item::Response(answer)) => answer.strategy.clone(),
        _ => String::new(),
    };
    assert_eq!(batch.iter().map(strategy).collect::<Vec<_>>(), ["safe", "cheap", ""]);
    let requests = tokio_stream::iter([of(LEGAL, &[]), of(BILLING, &[])]);
    let mut stream = client.route_stream(requests).await.unwrap().into_inner();
    assert_eq!(strategy(&stream.message().await.unwrap().unwrap()), "safe");
    assert_eq!(strategy(&stream.message().await.unwrap().unwrap()), "cheap");
}

#[tokio::test]
async fn a_spent_budget_diverts_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let calls = format!("{POLICY}\n[budget]\nstrong_calls_per_minute = 2\nwhen_spent = \"cheap\"\n");
    let server = serve(of_policy(folder.path(), &calls, Settings::default())).await;
    let mut client = server.client().await;
    for _ in 0..2 {
        assert_eq!(client.route(of(LEGAL, &[])).await.unwrap().into_inner().model, "starter-large");
    }
    let spent = client.route(of(LEGAL, &[])).await.unwrap().into_inner();
    assert_eq!(
        (spent.model.as_str(), spent.strategy.as_str(), spent.fallback),
        ("starter-small", "cheap", false)
    );
    assert_eq!(turns(&spent), ["default -> intents", "intent -> safe", "budget -> cheap"]);
    assert_eq!(spent.path[2].reason, "budget spent: strong_calls_per_minute (2 in 60 s)");
    // An override goes past it, and says that too.
    let forced = client.route(of(LEGAL, &[("incident", "true")])).await.unwrap().into_inner();
    assert_eq!((forced.model.as_str(), turns(&forced)[1].as_str()), ("starter-large", "budget -> strong"));
    // So do high stakes: a budget is no reason for a cheap answer there.
    let guarded = client.route(of(OFF_TOPIC, &[("high_stakes", "true")])).await.unwrap().into_inner();
    assert_eq!((guarded.model.as_str(), guarded.reason.as_str()), ("starter-large", "high_stakes"));
    assert_eq!(turns(&guarded), ["default -> intents", "otherwise -> general"]);
    let info = client.get_info(v1::GetInfoRequest {}).await.unwrap().into_inner();
    let budget = info.policy.unwrap().budget.unwrap();
    assert_eq!((budget.strong_calls_last_minute, budget.refused_for_strong_calls), (2, 1));
}

#[tokio::test]
async fn a_limit_of_cost_counts_what_calls_are_expected_to_cost() {
    let folder = tempfile::tempdir().unwrap();
    let policy = format!("{POLICY}\n[budget]\ncost_usd_per_day = 0.0035\nwhen_spent = \"cheap\"\n");
    let server = serve(of_policy(folder.path(), &policy, Settings::default())).await;
    let mut client = server.client().await;
    let mut strategies = Vec::new();
    for _ in 0..5 {
        strategies.push(client.route(of(LEGAL, &[])).await.unwrap().into_inner().strategy);
    }
    assert_eq!(strategies, ["safe", "safe", "safe", "cheap", "cheap"]);
    let info = client.get_info(v1::GetInfoRequest {}).await.unwrap().into_inner();
    let budget = info.policy.unwrap().budget.unwrap();
    // What is diverted is counted too.
    assert!((budget.cost_usd_today - 0.005).abs() < 1e-12, "{budget:?}");
    assert_eq!((budget.cost_usd_per_day, budget.refused_for_cost), (Some(0.0035), 2));
}

#[tokio::test]
async fn what_a_call_did_cost_takes_the_place_of_what_was_expected() {
    let folder = tempfile::tempdir().unwrap();
    let policy = format!("{POLICY}\n[budget]\ncost_usd_per_day = 1\nwhen_spent = \"cheap\"\n");
    let server = serve(of_policy(folder.path(), &policy, logging(folder.path()))).await;
    let mut client = server.client().await;
    let mut outcomes = OutcomeServiceClient::new(server.channel().await);
    let id = client.route(of(LEGAL, &[])).await.unwrap().into_inner().decision_id;
    let model = "starter-large".to_owned();
    let usage = v1::Usage { model, cost_usd: Some(0.7), ..Default::default() };
    let outcome = Some(v1::report_outcome_request::Outcome::Usage(usage));
    let report =
        v1::ReportOutcomeRequest { decision_id: id, source: "app".into(), observed_us: None, outcome };
    for _ in 0..2 {
        outcomes.report_outcome(report.clone()).await.unwrap();
    }
    let policy = until(&server, |_| true).await;
    assert!((policy.budget.unwrap().cost_usd_today - 0.7).abs() < 1e-12);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_falls_back_and_the_log_says_how_it_came() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = of_policy(folder.path(), POLICY, logging(folder.path()));
    let (address, token) = crate::support::access::administered(&mut settings, folder.path());
    let server = serve(settings).await;
    let mut admin = crate::support::access::admin(address, &token).await;
    let mut client = server.client().await;
    let before = client.route(of(MATH, &[])).await.unwrap().into_inner();
    assert_eq!((before.strategy.as_str(), before.fallback), ("ladder", false));
    let folder_of = |artifact: PathBuf| artifact.display().to_string();
    let start = v1::StartRolloutRequest { artifact: folder_of(lean_artifact()), margin: None, alpha: None };
    admin.start_rollout(start).await.unwrap();
    admin.set_canary(v1::SetCanaryRequest { share: 1.0 }).await.unwrap();
    // A candidate that cannot do what the policy says is no reason to do anything else.
    let canary = client.route(of(MATH, &[])).await.unwrap().into_inner();
    assert_eq!((canary.strategy.as_str(), canary.artifact_version), ("ladder", before.artifact_version));
    admin.promote(v1::PromoteRequest { force: true }).await.unwrap();
    let after = client.route(of(MATH, &[])).await.unwrap().into_inner();
    assert_eq!(
        (after.strategy.as_str(), after.model.as_str(), after.fallback),
        ("safe", "starter-large", true)
    );
    assert_eq!(turns(&after), ["default -> intents", "intent -> ladder", "fallback -> safe"]);
    assert!(after.path[2].reason.starts_with("ladder failed: "), "{:?}", after.path[2]);
    // The watch holds the policy against the artifact in charge, and says what is missing.
    let refused = loop {
        let info = client.get_info(v1::GetInfoRequest {}).await.unwrap().into_inner();
        match info.policy.unwrap().refused.first() {
            Some(refused) => break refused.clone(),
            None => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    assert!(refused.contains("policy.toml:15:10: strategy.ladder.ladder"), "{refused}");
    let own = client.route(of(TRANSLATION, &[("plain2", "")])).await.unwrap().into_inner();
    drop((client, admin));
    server.end().await;

    let records = logged(log_url(folder.path())).await;
    let record = &records[&after.decision_id].decision;
    let policy = record.policy.as_ref().unwrap();
    assert_eq!((record.version, record.reason.as_str(), record.propensity), (2, "by_policy", 1.0));
    assert_eq!((policy.strategy.as_deref(), policy.intent.as_deref()), (Some("safe"), Some("math")));
    assert!(policy.fallback && policy.spent.is_none() && policy.version.len() == 16);
    assert_eq!((record.threshold, record.threshold_source.as_str()), (0.0, "none"));
    let alone = &records[&own.decision_id].decision;
    assert_eq!((&alone.action_set[..], alone.evidence.len()), (&["small-multilingual".to_owned()][..], 0));
}

#[tokio::test]
async fn a_bad_policy_is_refused_at_the_start_with_everything_that_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let bad = POLICY.replace("starter-medium", "starter-medum").replace("legal = ", "legel = ");
    let settings = of_policy(folder.path(), &bad, Settings::default());
    let run = async |policy: &Path, catalogue: &Path| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_server"));
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--decision-log", "none", "--artifact"])
            .arg(artifact());
        command.arg("--policy").arg(policy).arg("--catalogue").arg(catalogue);
        let output = command.arg("--prices").arg(folder.path().join("prices.toml")).output().await.unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let policy = settings.policy.unwrap();
    let (code, said) = run(&policy, &catalogue()).await;
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("policy.toml:6:39: strategy.intents.routes.legel: no intent \"legel\""), "{said}");
    assert!(said.contains("policy.toml:15:10: strategy.ladder.ladder: no model \"starter-medum\""), "{said}");
    let broken = folder.path().join("intents.toml");
    std::fs::write(&broken, "[[route]]\nname = \"a\"\nutterances = []\n").unwrap();
    std::fs::write(&policy, "version = 2\n").unwrap();
    let (code, said) = run(&policy, &broken).await;
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("intents.toml, line ") && said.contains("policy.toml:1:11: version"), "{said}");
    let (code, said) = run(&folder.path().join("nowhere.toml"), &catalogue()).await;
    assert!(code == Some(64) && said.contains("nowhere.toml: "), "{said}");
}

/// Waits until the server says so.
async fn until(server: &crate::support::Running, holds: impl Fn(&v1::Policy) -> bool) -> v1::Policy {
    let mut client = server.client().await;
    loop {
        let policy = client.get_info(v1::GetInfoRequest {}).await.unwrap().into_inner().policy.unwrap();
        if holds(&policy) {
            return policy;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_changed_policy_takes_over_and_a_bad_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let budget = "\n[budget]\nstrong_calls_per_minute = 50\nwhen_spent = \"cheap\"\n";
    let first = format!("{POLICY}{budget}");
    let server = serve(of_policy(folder.path(), &first, Settings::default())).await;
    let mut client = server.client().await;
    assert_eq!(client.route(of(LEGAL, &[])).await.unwrap().into_inner().strategy, "safe");
    let before = until(&server, |_| true).await;
    let write = |text: &str| std::fs::write(folder.path().join("policy.toml"), text).unwrap();

    write(&first.replace("legal = \"safe\"", "legal = \"sefe\""));
    let refused = until(&server, |policy| !policy.refused.is_empty()).await;
    assert!(
        refused.refused[0].contains("policy.toml:6:39: strategy.intents.routes.legal: no strategy \"sefe\"")
    );
    assert_eq!(refused.version, before.version);
    assert_eq!(client.route(of(LEGAL, &[])).await.unwrap().into_inner().strategy, "safe");

    // A stream that is open all the while is decided by whatever is in force when its next query comes.
    let (send, requests) = tokio::sync::mpsc::channel(4);
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    send.send(of(LEGAL, &[])).await.unwrap();
    let mut stream = client.route_stream(requests).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    write(&first.replace("legal = \"safe\"", "legal = \"cheap\"").replace("= 50", "= 60"));
    let after = until(&server, |policy| policy.version != before.version).await;
    assert!(after.refused.is_empty());
    send.send(of(LEGAL, &[])).await.unwrap();
    let answer = stream.message().await.unwrap().unwrap();
    assert!(matches!(answer.result, Some(Item::Response(answer)) if answer.strategy == "cheap"));
    let ledger = after.budget.unwrap();
    assert_eq!(
        (ledger.strong_calls_per_minute, ledger.strong_calls_last_minute),
        (Some(60), 3),
        "spent stays spent"
    );

    let mut intents = semantic(&server).await;
    let served = intents.get_catalogue(v1::GetCatalogueRequest {}).await.unwrap().into_inner();
    assert_eq!((served.routes.len(), served.mode.as_str(), served.off_topic), (10, "dense", 60));
    assert!(served.refused.is_empty() && served.file.ends_with("intents.toml"));
}

#[tokio::test]
async fn a_changed_catalogue_takes_over_with_the_policy_that_fits_it() {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(catalogue()).unwrap();
    let own = folder.path().join("intents.toml");
    std::fs::write(&own, &text).unwrap();
    let mut settings = of_policy(folder.path(), POLICY, Settings::default());
    settings.catalogue = Some(own.clone());
    let server = serve(settings).await;
    let mut intents = semantic(&server).await;
    let first = intents.get_catalogue(v1::GetCatalogueRequest {}).await.unwrap().into_inner().version;
    // The policy speaks of an intent that is gone.
    std::fs::write(&own, text.replace("name = \"legal\"", "name = \"law\"")).unwrap();
    let refused = until(&server, |policy| !policy.refused.is_empty()).await;
    assert!(refused.refused[0].contains("no intent \"legal\""), "{refused:?}");
    assert_eq!(intents.get_catalogue(v1::GetCatalogueRequest {}).await.unwrap().into_inner().version, first);
    std::fs::write(folder.path().join("policy.toml"), POLICY.replace("legal = ", "law = ")).unwrap();
    until(&server, |policy| policy.refused.is_empty()).await;
    let now = intents.get_catalogue(v1::GetCatalogueRequest {}).await.unwrap().into_inner();
    assert!(now.version != first && now.routes.iter().any(|route| route.name == "law"));
    let answer = server.client().await.route(of(LEGAL, &[])).await.unwrap().into_inner();
    assert_eq!((answer.intent.as_str(), answer.strategy.as_str()), ("law", "safe"));
}

#[tokio::test]
async fn a_query_is_matched_with_its_odds_and_its_rivals() {
    let folder = tempfile::tempdir().unwrap();
    let settings = of_policy(folder.path(), POLICY, Settings::default());
    let server = serve(Settings { policy: None, prices: None, ..settings }).await;
    let mut client = semantic(&server).await;
    let mut ask = async |text: &str, top_k| {
        let input = Some(Asked::Text(text.to_owned()));
        client
            .r#match(v1::MatchRequest { request_id: "m-1".into(), input, top_k, ..Default::default() })
            .await
    };
    let found = ask(TRANSLATION, 3).await.unwrap().into_inner();
    assert_eq!((found.request_id.as_str(), found.route.as_str()), ("m-1", "translation"));
    assert_eq!(
        (found.model.as_str(), found.handler.as_str(), found.reason.as_str()),
        ("small-multilingual", "", "matched")
    );
    assert!(found.probability > 0.5 && found.p_value.unwrap() <= 0.1);
    assert_eq!((found.candidates[0].route.as_str(), found.candidates[0].score), ("translation", found.score));
    assert!(found.candidates.len() <= 3 && found.candidates.is_sorted_by(|a, b| a.score >= b.score));
    let handled = ask(BILLING, 0).await.unwrap().into_inner();
    assert_eq!(
        (handled.model.as_str(), handled.handler.as_str(), handled.candidates.len()),
        ("", "account-desk", 0)
    );
    let none = ask(OFF_TOPIC, 1).await.unwrap().into_inner();
    assert_eq!((none.route.as_str(), none.reason.as_str(), none.candidates.len()), ("", "below_floor", 1));
    assert!(none.p_value.unwrap() > 0.1);
    let wrong = ask("x", 101).await.unwrap_err();
    assert!(wrong.code() == Code::InvalidArgument && wrong.message().starts_with("top_k"), "{wrong:?}");
    let nothing = client.r#match(v1::MatchRequest::default()).await.unwrap_err();
    assert_eq!(nothing.code(), Code::InvalidArgument);

    let turn = |role: &str, content: &str| v1::Message { role: role.into(), content: content.into() };
    let messages = vec![turn("user", TRANSLATION), turn("assistant", "Hallo"), turn("user", LEGAL)];
    let input = Some(Asked::Chat(v1::Chat { messages }));
    let chat = client.r#match(v1::MatchRequest { input, ..Default::default() }).await.unwrap().into_inner();
    assert_eq!(chat.route, "legal", "the last turn of the user is what is asked");

    let bare = serve(Settings::default()).await;
    let none = semantic(&bare).await.get_catalogue(v1::GetCatalogueRequest {}).await.unwrap_err();
    assert_eq!(none.code(), Code::NotFound);
}

const CASCADES: &str = r#"version = 1
default = "chain"

[strategy.chain]
kind = "cascade"
cascade = "default"

[strategy.short]
kind = "cascade"
cascade = "default"
predictive_shortcut = true

[[rule]]
when = { slice = "short" }
use = "short"
"#;

#[tokio::test]
async fn a_cascade_is_begun_and_goes_on_where_answers_are_assessed() {
    let folder = tempfile::tempdir().unwrap();
    let stages = vec![
        stage("starter-small", (0.05, 0.8), 0.0002, 0.4, 0.35),
        stage("starter-large", (0.3, 0.3), 0.006, 2.5, 0.0),
    ];
    let verifier = folder.path().join("verifier");
    crate::support::cascade::write(&verifier, 1.0, stages);
    let settings = of_policy(folder.path(), CASCADES, logging(folder.path()));
    let server = serve(Settings { verifier: Some(verifier), ..settings }).await;
    let mut client = server.client().await;
    let begun = client.route(of(QUERY, &[])).await.unwrap().into_inner();
    assert_eq!(
        (begun.model.as_str(), begun.reason.as_str(), begun.strategy.as_str()),
        ("starter-small", "cascade", "chain")
    );
    let cascade = begun.cascade.unwrap();
    assert!(cascade.name == "default" && cascade.token_expires_ms > 0);
    let mut assessing = crate::support::cascade::client(&server).await;
    let assessed = assessing.assess(with_token(&cascade.token, bytes(100))).await.unwrap().into_inner();
    assert_eq!(assessed.next_model, "starter-large", "the token is one of CascadeService's");

    // A shortcut begins where the odds of the last over the first model say.
    let mut begun_at = std::collections::BTreeSet::new();
    for text in [
        "hi",
        "thanks",
        QUERY,
        "Prove that there are infinitely many primes, then bound the gaps.",
        MATH,
        LEGAL,
    ] {
        let short = client.route(of(text, &[("short", "")])).await.unwrap().into_inner();
        let mut odds = of(text, &[("short", "")]);
        odds.at = Some(At::OperatingPoint("default".into()));
        let odds = client.route(odds).await.unwrap().into_inner();
        assert_eq!((short.model.as_str(), short.reason.as_str()), (odds.model.as_str(), "cascade"));
        assert!(short.cascade.is_some_and(|cascade| !cascade.token.is_empty()));
        begun_at.insert(short.model);
    }
    assert_eq!(begun_at.len(), 2, "both ends were begun at: {begun_at:?}");
    drop((client, assessing));
    server.end().await;
    let records = logged(log_url(folder.path())).await;
    let policy = records[&begun.decision_id].decision.policy.clone().unwrap();
    assert_eq!((policy.strategy.as_deref(), policy.cascade.as_deref()), (Some("chain"), Some("default")));

    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_server"));
    let command = command.args(["explain", QUERY, "--artifact"]).arg(artifact()).arg("--policy");
    let output = command.arg(folder.path().join("policy.toml")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(64) && said.contains("no tuned cascade \"default\": there is none"),
        "{said}"
    );
}

fn explained(args: &[&str], files: &[(&str, PathBuf)]) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_server"));
    command.arg("explain").args(args);
    for (flag, file) in files {
        command.arg(flag).arg(file);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn explain_prints_every_turn_and_the_decision() {
    let folder = tempfile::tempdir().unwrap();
    let settings = of_policy(folder.path(), POLICY, Settings::default());
    let files = [
        ("--artifact", artifact()),
        ("--policy", settings.policy.unwrap()),
        ("--catalogue", catalogue()),
        ("--prices", settings.prices.unwrap()),
    ];
    let said = explained(&[LEGAL, "--label", "tenant=globex"], &files);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "no rule matched -> intents (line 2)");
    assert!(lines[1].starts_with("intent legal (p 0.") && lines[1].ends_with(" -> safe (line 6)"), "{said}");
    assert_eq!(lines[2], "runs: model starter-large");
    assert!(lines[3].starts_with("intent: legal, matched (p 0."), "{said}");
    assert!(lines[4].starts_with("strong → starter-large   P(strong is strictly better) = "), "{said}");
    let said = explained(&["--json", OFF_TOPIC, "--label", "tenant=acme"], &files);
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(json["path"][0]["reason"], "rule 2 matched slice tenant:acme");
    assert_eq!((&json["strategy"], &json["path"][0]["line"]), (&"ladder".into(), &31.into()));
    assert!(json["intent"].is_null() && json["decision"]["threshold"] == 0.25, "{json}");
    let said = explained(&[OFF_TOPIC], &files[..1]);
    assert!(said.starts_with("there is no policy: the default pair at the operating point \"default\"\n"));
}

/// README's example, over the artifact that users get.
#[test]
fn the_example_is_served() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    assert!(
        readme.contains("--policy examples/policy.toml") && readme.contains("--prices examples/prices.toml")
    );
    let files = [
        ("--artifact", root.join("models/default")),
        ("--policy", root.join("examples/policy.toml")),
        ("--catalogue", catalogue()),
        ("--prices", root.join("examples/prices.toml")),
    ];
    let said = explained(&["--no-deep", BILLING], &files);
    assert!(said.contains("-> cheap (line ") && said.contains("Meta-Llama-3.1-8B-Instruct"), "{said}");
}
