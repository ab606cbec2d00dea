//! A hand-made verifier with cascades, and requests about them. It likes long answers: a text of 1,000 bytes is
//! acceptable with a probability of 0.91, of 100 bytes 0.50, of 10 bytes 0.10, of 1 byte 0.02.

use std::collections::BTreeMap;
use std::path::Path;

use api::v1;
use api::v1::assess_request::{At, Input};
use api::v1::cascade_service_client::CascadeServiceClient;
use artifact::{
    AnswerCalibrator, CascadeRecord, StageRecord, VerifierData, VerifierDraft, VerifierManifest,
    VerifierMetrics,
};
use calibration::{Bounds, Calibrator, Knot, Map, PlattScaling, VennAbers};
use classifier::{NgramTable, Standard, UsualLengths, VERIFIER_DENSE_LEN, Verifier, WideWeights};
use features::FeatureConfig;
use server::config::Settings;
use tonic::transport::Channel;
use types::ModelName;

pub type Client = CascadeServiceClient<Channel>;

/// The query of the tests.
pub const QUERY: &str = "What is 17 * 23?";

fn name(model: &str) -> ModelName {
    ModelName::new(model).unwrap()
}

/// Knows answers of `small` and `medium`; answers to `task:short` are usually ten bytes long, others a hundred.
fn verifier() -> Verifier {
    let wide = || WideWeights { ngrams: NgramTable::new(vec![3], vec![1.0]).unwrap(), weights: vec![0.0] };
    let mut shared = vec![0.0; VERIFIER_DENSE_LEN + 1];
    shared[VERIFIER_DENSE_LEN - 1] = 1.0;
    let (short, usual) = (11_f32.ln(), 101_f32.ln());
    let mean = vec![short, short, short, usual, usual, usual];
    Verifier {
        features: FeatureConfig::default(),
        models: vec![name("medium"), name("small")],
        lengths: UsualLengths { tasks: vec!["task:short".into()], mean, deviation: vec![1.0; 6] },
        standard: Standard { mean: vec![0.0; VERIFIER_DENSE_LEN], scale: vec![1.0; VERIFIER_DENSE_LEN] },
        query: wide(),
        answer: wide(),
        shared,
        by_model: vec![0.0; 2 * (VERIFIER_DENSE_LEN + 1)],
    }
}

fn calibrator(slope: f64) -> AnswerCalibrator {
    let map = Map::Platt(PlattScaling::new(slope, 0.0).unwrap());
    let bounds = |lower, upper| Bounds { lower, upper };
    let knot = Knot { score: 0.5, at: bounds(0.25, 0.5), above: bounds(0.5, 0.75) };
    let venn_abers = VennAbers::new(bounds(0.125, 0.25), vec![knot]).unwrap();
    AnswerCalibrator {
        calibrator: Calibrator::new(map, venn_abers),
        log_losses: BTreeMap::new(),
        rows: 40,
        positives: 20,
    }
}

/// A stage that a router is expected to be asked about: thresholds, cost, latency, escalation rate.
pub fn stage(
    model: &str,
    (abstain_below, accept_above): (f64, f64),
    cost_usd: f64,
    latency_s: f64,
    escalation_rate: f64,
) -> StageRecord {
    StageRecord {
        model: model.into(),
        abstain_below,
        accept_above,
        skip_below: 0.2,
        cost_usd,
        latency_s: Some(latency_s),
        reach: 1.0,
        escalation_rate,
    }
}

/// Three stages; the second one is slow.
pub fn three() -> Vec<StageRecord> {
    vec![
        stage("small", (0.05, 0.8), 0.0002, 0.4, 0.35),
        stage("medium", (0.1, 0.7), 0.001, 20.0, 0.4),
        stage("large", (0.3, 0.3), 0.006, 2.5, 0.0),
    ]
}

/// A cascade that costs more than its last model alone.
fn dear() -> Vec<StageRecord> {
    vec![stage("medium", (0.0, 0.99), 0.005, 0.4, 0.95), stage("large", (0.0, 0.0), 0.006, 2.5, 0.0)]
}

fn record(stages: Vec<StageRecord>) -> CascadeRecord {
    let figure = artifact::Interval { value: 0.125, lower: 0.0625, upper: 0.25 };
    CascadeRecord {
        stages,
        objective: "a test".into(),
        data: String::new(),
        rows: 40,
        created: "2026-01-01T00:00:00Z".into(),
        command: String::new(),
        measured: [("error".to_owned(), figure)].into(),
        certificate: None,
        bound_to: String::new(),
    }
}

/// Writes a verifier with the cascades `default` (these stages) and `dear`; `slope` makes its version.
pub fn write(folder: &Path, slope: f64, default: Vec<StageRecord>) -> VerifierManifest {
    let verifier = verifier();
    let draft = VerifierDraft {
        name: "test".into(),
        created: "2026-01-01T00:00:00Z".into(),
        verifier: &verifier,
        pooled: calibrator(slope),
        by_model: [(name("small"), calibrator(slope)), (name("medium"), calibrator(slope))].into(),
        signals: vec!["finish_reason".into()],
        router: None,
        training: serde_json::Value::Null,
        data: VerifierData {
            fingerprint: String::new(),
            sources: vec![],
            queries: 20,
            answers: 40,
            folds: 2,
        },
        metrics: VerifierMetrics::default(),
        cascades: [("default".to_owned(), record(default)), ("dear".to_owned(), record(dear()))].into(),
    };
    draft.write(folder, |_| vec![]).unwrap()
}

/// Settings with a verifier in a folder, which is written.
pub fn settings(folder: &Path) -> Settings {
    let verifier = folder.join("verifier");
    write(&verifier, 1.0, three());
    Settings { verifier: Some(verifier), ..Settings::default() }
}

pub async fn client(server: &super::Running) -> Client {
    CascadeServiceClient::new(server.channel().await)
}

/// An answer of so many bytes.
pub fn bytes(count: usize) -> String {
    "x".repeat(count)
}

pub fn planning() -> v1::PlanCascadeRequest {
    let input = Some(v1::plan_cascade_request::Input::Text(QUERY.into()));
    v1::PlanCascadeRequest { input, ..Default::default() }
}

/// An answer of a stage of `default`, without a token.
pub fn at_stage(stage: u32, answer: String) -> v1::AssessRequest {
    v1::AssessRequest { at: Some(At::Stage(stage)), ..with_token("", answer) }
}

/// An answer to what a token stands for.
pub fn with_token(token: &str, answer: String) -> v1::AssessRequest {
    let input = Some(Input::Text(QUERY.into()));
    v1::AssessRequest { input, answer, token: token.into(), ..Default::default() }
}
