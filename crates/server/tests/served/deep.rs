//! Two tiers behind the real server: who is asked, who decides, and what the answer says of it.

use crate::support::deep::{self, patient};
use api::v1;
use api::v1::route_item::Result as Item;
use api::v1::route_request::{At, Input, Models};
use artifact::Artifact;
use router::{Ask, Backend, Router};
use server::config::Settings;
use tonic::Code;
use tonic_types::StatusExt;
use types::{Ladder, Query, Threshold, WinProbability};

const TEXTS: [&str; 5] = [
    "hi",
    "Prove that the square root of two is irrational.",
    "what is 2 + 2?",
    "Wie spät ist es?",
    "Write a function that sorts a list, and explain why it is stable, step by step, with a proof.",
];

fn at(text: &str, threshold: f64, tier: v1::TierWish) -> v1::RouteRequest {
    v1::RouteRequest {
        input: Some(Input::Text(text.into())),
        at: Some(At::Threshold(threshold)),
        tier: tier.into(),
        ..Default::default()
    }
}

/// What each tier says of a text, computed apart from the server: fast, deep, and the two held together.
struct Oracle {
    artifact: Artifact,
}

impl Oracle {
    fn new() -> Self {
        Self { artifact: Artifact::load(&deep::artifact(), Backend::Flex).unwrap() }
    }

    fn of(&self, text: &str) -> (WinProbability, WinProbability, WinProbability) {
        let (query, tier) = (Query::text(text), self.artifact.deep().unwrap());
        let mut scratch = self.artifact.classifier().scratch();
        self.artifact.classifier().read(&query, &mut scratch);
        let pair = &tier.pairs()[0];
        let of_pair = |c: &&artifact::PairCalibrator| c.pair == pair.calibrator.pair;
        let calibrator = self.artifact.calibrators().iter().find(of_pair).unwrap();
        let fast = self.artifact.calibrated(&scratch, calibrator, []).unwrap().win_probability;
        let score = self.artifact.classifier().win_score(&scratch, &pair.calibrator.pair).unwrap();
        let mut scratch = tier.classifier().scratch();
        tier.read(&query, &tier.vector(&query).unwrap(), &mut scratch);
        let deep = tier.calibrated(pair, score, &scratch, []).unwrap().win_probability;
        (fast, deep, pair.held(fast, deep))
    }
}

fn reasons(answer: &v1::RouteResponse) -> (&str, &str) {
    (&answer.scored_by, &answer.scored_by_reason)
}

#[tokio::test]
async fn the_encoder_is_asked_where_it_could_change_the_decision() {
    let (server, oracle) = (deep::serve(patient()).await, Oracle::new());
    let mut client = server.client().await;
    let (fast, deep, _) = oracle.of(TEXTS[1]);
    assert_ne!(fast, deep, "the tiers must differ for this test to see which spoke");
    let (fast, deep) = (fast.get(), deep.get());
    let auto = v1::TierWish::Auto;
    let cases = [
        (1.0, auto, ("fast", "band_clear"), fast),
        (0.0, auto, ("fast", "band_clear"), fast),
        (fast, auto, ("deep", "straddles"), deep),
        (fast, v1::TierWish::FastOnly, ("fast", "not_wanted"), fast),
        (1.0, v1::TierWish::DeepAlways, ("deep", "requested"), deep),
    ];
    for (threshold, wish, tier, probability) in cases {
        let answer = client.route(at(TEXTS[1], threshold, wish)).await.unwrap().into_inner();
        assert_eq!(reasons(&answer), tier, "{threshold} {wish:?}");
        assert_eq!((answer.win_probability, answer.fast_win_probability), (probability, fast));
        assert_eq!(answer.evidence[0].scored_by, tier.0);
        assert!(answer.interval_lower <= probability && probability <= answer.interval_upper);
        assert_eq!(answer.tier == v1::Tier::Strong as i32, probability >= threshold);
        assert!(answer.warnings.is_empty());
    }
    let info = client.get_info(v1::GetInfoRequest {}).await.unwrap().into_inner();
    assert!(info.deep_tier && info.deep_engine.contains("2 layers, 16 wide"), "{}", info.deep_engine);
    assert_eq!(info.deep_pairs, [info.default_pair.unwrap()]);
    let counters = info.tier_counters.unwrap();
    assert_eq!((counters.batches, counters.batched_rows, counters.device_lost), (2, 2, 0));
    let clear = counters.decisions.iter().find(|c| c.scored_by_reason == "band_clear").unwrap();
    assert_eq!((clear.scored_by.as_str(), clear.decisions), ("fast", 2));
}

#[tokio::test]
async fn both_tiers_decide_as_the_held_probability_would() {
    let (router, oracle) = (deep::router(&patient()), Oracle::new());
    let ladder: Ladder = router.info().default_pair.clone().into();
    let mut deeply = 0;
    for text in TEXTS {
        let (query, (fast, deep, held)) = (Query::text(text), oracle.of(text));
        let ties = [fast, deep, held].map(WinProbability::get);
        for threshold in (0..=40).map(|i| f64::from(i) / 40.0).chain(ties) {
            let at = router::At::Threshold(Threshold::new(threshold).unwrap());
            let routed = router.decide(&Ask::new(&query, &ladder, at), None).await.unwrap();
            let strong = routed.decision.tier == types::Tier::Strong;
            assert_eq!(strong, held.get() >= threshold, "{text:?} at {threshold}");
            deeply += usize::from(routed.scored_by() == types::ScoringTier::Deep);
        }
    }
    assert!(deeply > TEXTS.len(), "{deeply}");
}

#[tokio::test]
async fn batch_and_stream_decide_as_one_by_one() {
    let settings = Settings { deep_max_batch: Some(4), deep_queue: Some(4), ..patient() };
    let server = deep::serve(settings).await;
    let (mut client, oracle) = (server.client().await, Oracle::new());
    let mut requests = Vec::new();
    for text in TEXTS {
        let (fast, ..) = oracle.of(text);
        requests.push(at(text, fast.get(), v1::TierWish::Auto));
        requests.push(at(text, 1.0, v1::TierWish::Auto));
    }
    requests.push(at("bad", 2.0, v1::TierWish::Auto));
    let kept = |item: v1::RouteItem| match item.result {
        Some(Item::Response(r)) => (r.win_probability.to_bits(), r.scored_by, r.scored_by_reason),
        Some(Item::Error(e)) => (0, e.field, String::new()),
        None => panic!("an item without a result"),
    };
    let batch = v1::RouteBatchRequest { requests: requests.clone() };
    let batch: Vec<_> =
        client.route_batch(batch).await.unwrap().into_inner().items.into_iter().map(kept).collect();
    assert_eq!(batch.iter().filter(|(_, by, _)| by == "deep").count(), TEXTS.len());
    assert_eq!(batch[2 * TEXTS.len()].1, "threshold");
    let mut stream = client.route_stream(tokio_stream::iter(requests.clone())).await.unwrap().into_inner();
    let mut streamed = Vec::new();
    while let Some(item) = stream.message().await.unwrap() {
        streamed.push(kept(item));
    }
    assert_eq!(streamed, batch);
    requests.pop();
    for (request, kept) in requests.into_iter().zip(batch) {
        let r = client.route(request).await.unwrap().into_inner();
        assert_eq!((r.win_probability.to_bits(), r.scored_by, r.scored_by_reason), kept);
    }
}

#[tokio::test]
async fn who_cannot_wait_gets_the_fast_answer_marked() {
    let server = deep::serve(Settings { deep_deadline_ms: Some(0), ..Settings::default() }).await;
    let (mut client, oracle) = (server.client().await, Oracle::new());
    let (fast, ..) = oracle.of(TEXTS[0]);
    let answer = client.route(at(TEXTS[0], fast.get(), v1::TierWish::Auto)).await.unwrap().into_inner();
    assert_eq!(reasons(&answer), ("fast", "deadline_too_near"));
    assert_eq!((answer.win_probability, answer.tier), (fast.get(), v1::Tier::Strong as i32));
    let info = client.get_info(v1::GetInfoRequest {}).await.unwrap().into_inner();
    assert_eq!(info.tier_counters.unwrap().deadline, 1);
}

#[tokio::test]
async fn what_the_deep_tier_does_not_know_stays_with_the_fast_one() {
    let server = deep::serve(patient()).await;
    let mut client = server.client().await;
    let wish = v1::TierWish::DeepAlways;
    let mut request = at(TEXTS[0], 0.5, wish);
    let ladder = ["starter-small", "starter-medium", "starter-large"].map(String::from).to_vec();
    request.models = Some(Models::Ladder(v1::Ladder { models: ladder }));
    let answer = client.route(request.clone()).await.unwrap().into_inner();
    let by: Vec<&str> = answer.evidence.iter().map(|rung| rung.scored_by.as_str()).collect();
    assert_eq!(by, ["deep", "fast"], "one rung is known, and the other keeps its evidence");
    let pair = v1::Pair { strong: "starter-large".into(), weak: "starter-medium".into() };
    request.models = Some(Models::Pair(pair));
    let answer = client.route(request).await.unwrap().into_inner();
    assert_eq!(reasons(&answer), ("fast", "no_deep_tier"));
    let mut guarded = at(TEXTS[0], 0.5, v1::TierWish::Auto);
    guarded.labels = [("high_stakes".to_owned(), "true".to_owned())].into();
    let answer = client.route(guarded).await.unwrap().into_inner();
    assert_eq!((answer.reason.as_str(), reasons(&answer)), ("high_stakes", ("fast", "high_stakes")));
    let mut unknown = at(TEXTS[0], 0.5, wish);
    unknown.tier = 7;
    let status = client.route(unknown).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "tier");
}

#[tokio::test]
async fn a_deep_tier_that_is_switched_off_is_said_to_be() {
    let server = deep::serve(Settings { no_deep: Some(true), ..Settings::default() }).await;
    let mut client = server.client().await;
    let answer = client.route(at(TEXTS[0], 0.5, v1::TierWish::DeepAlways)).await.unwrap().into_inner();
    assert_eq!(reasons(&answer), ("fast", "no_deep_tier"));
    assert!(answer.warnings[0].contains("switched off"), "{:?}", answer.warnings);
    let info = client.get_info(v1::GetInfoRequest {}).await.unwrap().into_inner();
    assert!(!info.deep_tier && info.deep_engine.is_empty() && info.deep_pairs.is_empty());
    // An artifact without a deep tier is served as ever.
    let plain = crate::support::serve(Settings::default()).await;
    let answer = plain.client().await.route(at("hi", 0.5, v1::TierWish::Auto)).await.unwrap().into_inner();
    assert_eq!((reasons(&answer), answer.warnings.len()), (("fast", "no_deep_tier"), 0));
}

#[test]
fn the_command_line_says_which_tier_scored() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_server"));
    let command = command.args(["route", "hi", "--threshold", "0.5", "--tier", "deep-always", "--json"]);
    let output = command.arg("--artifact").arg(deep::artifact()).output().unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&answer["scored_by"], &answer["scored_by_reason"]), (&"deep".into(), &"requested".into()));
}

#[test]
fn many_threads_get_what_one_gets() {
    let settings = Settings { deep_workers: Some(2), deep_queue: Some(64), ..patient() };
    let (router, oracle) = (deep::router(&settings), Oracle::new());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let decide = |router: std::sync::Arc<Router>, text: &'static str| async move {
        let (query, ladder) = (Query::text(text), router.info().default_pair.clone().into());
        let at = router::At::Threshold(Threshold::new(0.5).unwrap());
        let ask = Ask { tier: types::TierWish::DeepAlways, ..Ask::new(&query, &ladder, at) };
        router.decide(&ask, None).await.unwrap().decision.win_probability
    };
    runtime.block_on(async {
        let tasks: Vec<_> =
            (0..8).flat_map(|_| TEXTS).map(|t| (t, tokio::spawn(decide(router.clone(), t)))).collect();
        for (text, task) in tasks {
            assert_eq!(task.await.unwrap(), oracle.of(text).1, "{text:?}");
        }
    });
}

#[test]
fn a_clear_band_allocates_no_more_than_the_fast_tier_alone() {
    let router = deep::router(&patient());
    let (query, ladder) = (Query::text(TEXTS[1]), router.info().default_pair.clone().into());
    let ask = Ask::new(&query, &ladder, router::At::Threshold(Threshold::new(1.0).unwrap()));
    router.route(&ask).unwrap();
    let alone = allocation_counter::measure(|| drop(router.route(&ask)));
    let both = allocation_counter::measure(|| drop(router.begin(&ask, None)));
    assert_eq!((both.count_total, both.bytes_total), (alone.count_total, alone.bytes_total));
    assert_eq!(router.tier_counts().of(types::TierReason::BandClear), 1);
}
