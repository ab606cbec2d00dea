//! `training verifier`, `cascade`, `semantic` and `compare` as users run them, on answers made for the purpose: a small
//! model that hedges where it errs and a large one that is nearly always right.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::run::{refusal, text, training};
use artifact::{Artifact, VerifierArtifact};
use classifier::{AnswerGiven, Backend};
use features::answer::Signals;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use types::{ModelName, Query};

/// Sums that the small model gets right when they are short, and mostly hedges on where it does not.
fn answered(folder: &Path, rows: usize, seed: u64) -> PathBuf {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut lines = String::new();
    for row in 0..rows {
        let terms = rng.random_range(2..9);
        let numbers: Vec<u32> = (0..terms).map(|_| rng.random_range(1..90)).collect();
        let sum: u32 = numbers.iter().sum();
        let asked = numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(" + ");
        let right = rng.random::<f64>() < 1.05 - 0.1 * f64::from(terms);
        let large = rng.random::<f64>() < 0.96;
        let line = serde_json::json!({
            "id": format!("{seed}-{row}"),
            "query": format!("How much is {asked}? Question {row} of {seed}."),
            "slices": [format!("category:{}", if terms < 5 { "short" } else { "long" })],
            "outcomes": { "small": f64::from(u8::from(right)), "large": f64::from(u8::from(large)) },
            "answers": {
                "small": { "text": small(&mut rng, sum, right), "cost_usd": 0.0001, "latency_s": 0.2 },
                "large": { "text": format!("{asked} = {sum}. The answer is {sum}."), "cost_usd": 0.002, "latency_s": 1.5 },
            },
        });
        writeln!(lines, "{line}").unwrap();
    }
    let file = folder.join(format!("answers-{seed}.jsonl"));
    std::fs::write(&file, lines).unwrap();
    file
}

fn small(rng: &mut impl Rng, sum: u32, right: bool) -> String {
    let telling = rng.random::<f64>() < 0.8;
    match (right, telling) {
        (true, true) => format!("Adding them up gives {sum}. The answer is {sum}."),
        (false, true) => {
            format!("Wait, let me recalculate. Perhaps it is about {}, but I am not sure", sum + 7)
        }
        (_, false) => format!("It should be {sum}."),
    }
}

fn fitted(folder: &Path, data: &Path) -> PathBuf {
    let out = folder.join("verifier");
    let said = text(&training(&[
        "verifier",
        "fit",
        "-d",
        data.to_str().unwrap(),
        "-o",
        out.to_str().unwrap(),
        "--resamples",
        "60",
    ]));
    assert!(said.contains("AUROC over query_only"), "{said}");
    out
}

#[test]
fn a_verifier_is_fitted_measured_and_tells_answers_apart() {
    let folder = tempfile::tempdir().unwrap();
    let data = answered(folder.path(), 900, 1);
    let out = fitted(folder.path(), &data);
    let verifier = VerifierArtifact::load(&out).unwrap();
    let metrics = &verifier.manifest().metrics;
    assert_eq!((metrics.answers, verifier.manifest().data.queries), (1_800, 900));
    for over in ["query_only", "answer_length"] {
        assert!(metrics.auroc_gain[over].lower > 0.0, "{over}: {:?}", metrics.auroc_gain[over]);
    }
    assert!(metrics.scorers["verifier"]["ece"].value < 0.05);
    let judge = |model: &str, text: &str| {
        let (query, model) = (Query::text("How much is 3 + 4 + 12?"), ModelName::new(model).unwrap());
        let signals = Signals::default();
        let given = AnswerGiven { query: &query, model: &model, text, signals: &signals, slices: &[] };
        verifier.judge(&given, &mut verifier.verifier().scratch()).unwrap()
    };
    let sure = judge("small", "Adding them up gives 19. The answer is 19.");
    let unsure = judge("small", "Wait, let me recalculate. Perhaps it is about 26, but I am not sure");
    assert!(sure.probability.get() > unsure.probability.get() + 0.3, "{sure:?} {unsure:?}");
    assert!(sure.of_its_model && !judge("stranger", "The answer is 19.").of_its_model);
    let card = std::fs::read_to_string(out.join("MODEL_CARD.md")).unwrap();
    assert!(card.contains("carried no finish_reason") && card.contains("| small | 900 |"), "{card}");
}

#[test]
fn a_cascade_is_tuned_certified_and_bound_to_its_verifier() {
    let folder = tempfile::tempdir().unwrap();
    let data = answered(folder.path(), 1_500, 2);
    let out = fitted(folder.path(), &data);
    let (data, out) = (data.to_str().unwrap(), out.to_str().unwrap());
    let report = folder.path().join("report");
    let base =
        ["cascade", "tune", "-d", data, "--verifier", out, "--models", "small,large", "--resamples", "60"];
    let tune = |more: &[&str]| training(&[&base[..], more].concat());
    let said = text(&tune(&["--error-usd", "0.02", "--report", report.to_str().unwrap()]));
    let cascade =
        |name: &str| VerifierArtifact::load(Path::new(out)).unwrap().manifest().cascades[name].clone();
    let found = cascade("default");
    let models: Vec<&str> = found.stages.iter().map(|stage| stage.model.as_str()).collect();
    assert_eq!(models, ["small", "large"], "{said}");
    let measured = |of: &str| found.measured[of].value;
    assert!(measured("cost_usd") < 0.8 * measured("strong_only_cost_usd"), "{:?}", found.measured);
    assert!(measured("error") < measured("strong_only_error") + 0.1);
    for name in ["cascade.json", "cascade.html"] {
        let page = std::fs::read_to_string(report.join(name)).unwrap();
        assert!(page.len() > 2_000 && !page.contains("NaN"), "{name}");
    }
    text(&tune(&["--error-usd", "0.02", "--abstain", "anywhere", "--max-error", "0.1", "--name", "proved"]));
    let proved = cascade("proved").certificate.unwrap();
    assert!(proved.upper_bound <= 0.1 && proved.tested > 100, "{proved:?}");
    text(&tune(&["--quality-floor", "0.9", "--name", "floor"]));
    assert!(1.0 - cascade("floor").measured["error"].value > 0.86);
    let refused = refusal(&tune(&["--quality-floor", "0.999"]));
    assert!(refused.contains("no threshold reaches a quality of 0.999"), "{refused}");
    let refused = refusal(&training(&[
        "cascade",
        "tune",
        "-d",
        data,
        "--verifier",
        out,
        "--models",
        "small,absent",
        "--error-usd",
        "1",
    ]));
    assert!(refused.contains("no query was answered"), "{refused}");
    edited_cascade_is_refused(Path::new(out));
}

/// A threshold changed by hand is found out.
fn edited_cascade_is_refused(out: &Path) {
    let manifest = out.join("manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replacen("\"accept_above\": 0.", "\"accept_above\": 0.9", 1)).unwrap();
    let error = VerifierArtifact::load(out).unwrap_err().to_string();
    assert!(error.contains("manifest.json") && error.contains("sha256"), "{error}");
}

/// A router, a cascade and a catalogue made of the same answers.
fn made_of(folder: &Path, data: &Path, verifier: &str) {
    let data = data.to_str().unwrap();
    let at = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (router, catalogue) = (at("router"), at("intents.toml"));
    let run = |line: &str| {
        let args: Vec<&str> = line.split_whitespace().collect();
        text(&training(&args))
    };
    run(&format!(
        "cascade tune -d {data} --verifier {verifier} --models small,large --error-usd 0.02 --resamples 40"
    ));
    run(&format!(
        "fit -d {data} --strong large --weak small --epochs 1 --latent 4 --token-dim 4 --hidden 8 --cross-fit off \
         --out {router}"
    ));
    let drafted = run(&format!("semantic draft -d {data} --per-route 60 -o {catalogue}"));
    assert!(drafted.contains("short") && drafted.contains("60 exemplars"), "{drafted}");
}

#[test]
fn ways_of_routing_are_compared_on_the_same_queries() {
    let folder = tempfile::tempdir().unwrap();
    let data = answered(folder.path(), 1_500, 3);
    let verifier = fitted(folder.path(), &data);
    made_of(folder.path(), &data, verifier.to_str().unwrap());
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("policy.toml"), POLICY).unwrap();
    // Rows that nothing was fitted on.
    let fresh = answered(folder.path(), 600, 4);
    let compare = |policy: &str| {
        let line = format!(
            "compare -d {} -a {} --verifier {} --new-data --catalogue {} --policy {policy} --resamples 60 --report {}",
            fresh.display(),
            at("router"),
            verifier.display(),
            at("intents.toml"),
            at("compare")
        );
        training(&line.split_whitespace().collect::<Vec<_>>())
    };
    let said = text(&compare(&at("policy.toml")));
    let json = std::fs::read_to_string(folder.path().join("compare/compare.json")).unwrap();
    let table: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
    let line = |name: &str| {
        table.iter().find(|line| line["name"] == name).unwrap_or_else(|| panic!("{name}: {said}"))
    };
    let figure = |name: &str, of: &str| line(name)[of]["value"].as_f64().unwrap();
    assert!(figure("chain", "cost_usd") < 0.8 * figure("only large", "cost_usd"));
    assert!(figure("chain", "error") < figure("only small", "error") - 0.1);
    assert!(line("intents")["decision_us"].as_f64().unwrap() > 0.0);
    assert_eq!(figure("policy", "error"), figure("intents", "error"), "the policy's default");
    assert_eq!(line("only large")["strong_call_rate"], 1.0);
    // A verifier that hears the router, too.
    let heard = at("heard");
    let line = format!(
        "verifier fit -d {} -o {heard} --router {} --resamples 40",
        answered(folder.path(), 700, 5).display(),
        at("router")
    );
    text(&training(&line.split_whitespace().collect::<Vec<_>>()));
    let manifest = VerifierArtifact::load(Path::new(&heard)).unwrap().manifest().clone();
    // What it was fitted on itself it reads too well, and a comparison uses the rows it has not seen.
    let own = format!("verifier fit -d {} -o {heard} --router {}", data.display(), at("router"));
    let refused = refusal(&training(&own.split_whitespace().collect::<Vec<_>>()));
    assert!(refused.contains("was fitted on this data"), "{refused}");
    let own = format!(
        "compare -d {} -a {} --verifier {} --resamples 40",
        data.display(),
        at("router"),
        verifier.display()
    );
    let said = text(&training(&own.split_whitespace().collect::<Vec<_>>()));
    assert!(said.contains("this is the data the artifact was trained on"), "{said}");
    assert!(manifest.router.is_some() && manifest.signals == ["predicted_success"], "{:?}", manifest.signals);
    std::fs::write(at("bad.toml"), POLICY.replace("\"default\"\n", "\"none\"\n")).unwrap();
    let refused = compare(&at("bad.toml"));
    let told = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(!refused.status.success() && told.contains("strategy.chain.cascade"), "{told}");
}

const POLICY: &str = r#"version = 1
default = "intents"

[strategy.predictive]
kind = "predictive"

[strategy.chain]
kind = "cascade"
cascade = "default"

[strategy.intents]
kind = "semantic"
routes = { short = "small", long = "chain" }
otherwise = "predictive"

[strategy.small]
kind = "model"
model = "small"
"#;

#[test]
fn catalogues_are_checked_and_measured() {
    let folder = tempfile::tempdir().unwrap();
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/semantic/fixtures");
    let (catalogue, queries) = (format!("{fixtures}/intents.toml"), format!("{fixtures}/queries.jsonl"));
    let report = folder.path().join("report");
    let said = text(&training(&[
        "semantic",
        "evaluate",
        &catalogue,
        &queries,
        "--report",
        report.to_str().unwrap(),
    ]));
    assert!(said.contains("accuracy") && said.contains("promised 0.1") && !said.contains("BROKEN"), "{said}");
    let page = std::fs::read_to_string(report.join("semantic.html")).unwrap();
    assert!(page.contains("belongs to") && page.contains("billing"));
    let said = text(&training(&["semantic", "check", &catalogue]));
    assert!(said.contains("10 routes"), "{said}");
    let twice = folder.path().join("twice.toml");
    let route = |name: &str| {
        format!("[[route]]\nname = \"{name}\"\nutterances = [\"where is my parcel\", \"track {name} 17\"]\n")
    };
    std::fs::write(&twice, route("orders") + &route("parcels")).unwrap();
    let refused = training(&["semantic", "check", twice.to_str().unwrap()]);
    let told = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(!refused.status.success() && told.contains("error: \"where is my parcel\""), "{told}");
    let log = folder.path().join("log.jsonl");
    let asked = |text: &str| format!("{{\"query\":\"{text}\",\"outcomes\":{{\"m\":1}}}}\n");
    let rows: String = (0..6).map(|i| asked(&format!("zorbling the quuxified wombat number {i}"))).collect();
    std::fs::write(&log, rows).unwrap();
    let said = text(&training(&["semantic", "check", &catalogue, "--log", log.to_str().unwrap()]));
    assert!(said.contains("uncovered: 6 queries such as"), "{said}");
}

/// The verifier of the repository against what it claims, on the answers it was made of.
#[test]
fn the_shipped_verifier_beats_query_and_length_on_real_answers() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/verifier");
    let verifier = VerifierArtifact::load(&shipped).unwrap();
    let claimed = &verifier.manifest().metrics;
    assert!(claimed.auroc_gain.values().all(|gain| gain.lower > 0.0));
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let shared = std::env::var_os("RUNG_SHARED").map_or(beside, PathBuf::from);
    if !shared.is_dir() {
        assert!(std::env::var_os("RUNG_REQUIRE_SHARED").is_none(), "{} is not there", shared.display());
        println!("left out: no shared corpora at {}", shared.display());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("again");
    let data = shared.join("zeroeval");
    text(&training(&[
        "verifier",
        "fit",
        "-d",
        data.to_str().unwrap(),
        "-o",
        out.to_str().unwrap(),
        "--resamples",
        "60",
    ]));
    let again = VerifierArtifact::load(&out).unwrap();
    let metrics = &again.manifest().metrics;
    for over in ["query_only", "answer_length"] {
        assert!(metrics.auroc_gain[over].lower > 0.0, "{over}: {:?}", metrics.auroc_gain[over]);
    }
    assert!(Artifact::load(&out, Backend::Flex).is_err(), "a verifier is no router");
}
