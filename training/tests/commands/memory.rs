//! What is made of a log: probabilities that are mended only where it helps, a new artifact, verdicts of a judge, and
//! files for a warehouse.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use crate::support::{append, decision_at, report, url};
use artifact::Artifact;
use corpus::starter;
use decision_log::{Batch, DecisionRecord, Joined, Outcome, read};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use router::{Ask, At, Backend, Router, RouterOptions};
use types::{Ladder, Query};

/// Whether it succeeded, and everything it said.
fn training(args: &[&str]) -> (bool, String) {
    let run = Command::new(env!("CARGO_BIN_EXE_training")).args(args).output().unwrap();
    (run.status.success(), String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned())
}

fn trained(folder: &Path) -> String {
    let out = folder.join("artifact").display().to_string();
    let fit = ["fit", "--starter-rows", "1500", "--epochs", "2", "--latent", "4", "--token-dim", "8"];
    let (done, said) = training(&[&fit[..], &["--hidden", "16", "-o", &out]].concat());
    assert!(done, "{said}");
    out
}

/// Decisions of an artifact on starter queries, each with who won, by odds that are shifted from what was said.
fn log(folder: &Path, artifact: &str, n: usize, shift: f64, prompts: bool) -> Vec<DecisionRecord> {
    let router = Router::load(Path::new(artifact), &RouterOptions::default()).unwrap();
    let ladder: Ladder = router.info().default_pair.clone().into();
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut batch = Batch::default();
    for (i, example) in starter::generate(n, 77).iter().enumerate() {
        let text: String = example.query.parts().map(|(_, text)| text).collect();
        let query = Query::text(&text);
        let routed = router.route(&Ask::new(&query, &ladder, At::OperatingPoint("default"))).unwrap();
        let p = routed.decision.win_probability.get();
        let odds = p / (1.0 - p) * shift.exp();
        let strong = f64::from(u8::from(rng.random_bool(odds / (1.0 + odds))));
        let mut decision = decision_at(1_700_000_000_000_000 + i as i64 * 1_000_000, p);
        decision.artifact_version.clone_from(&router.info().version);
        decision.action_set = ladder.rungs().iter().map(|m| m.as_str().to_owned()).collect();
        decision.action = routed.decision.model.as_str().to_owned();
        decision.evidence[0].model = ladder.cheapest().as_str().to_owned();
        decision.prompt = prompts.then_some(text);
        let scores = [(ladder.cheapest(), 1.0 - strong), (ladder.top(), strong)];
        let scores = scores.map(|(model, score)| (model.as_str().to_owned(), score)).into();
        batch.outcomes.push(report(&decision, "desk", Outcome::Graded { scores }));
        batch.decisions.push(decision);
    }
    let decisions = batch.decisions.clone();
    append(folder, &batch);
    decisions
}

#[test]
fn probabilities_are_mended_where_it_helps_and_kept_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let artifact = trained(folder.path());
    let before = Artifact::load(Path::new(&artifact), Backend::Flex).unwrap();
    let log_url = url(folder.path());
    let decisions = log(folder.path(), &artifact, 1_200, 1.0, false);
    let out = folder.path().join("mended").display().to_string();
    let (done, said) = training(&["recalibrate", "-a", &artifact, "-o", &out, "--decision-log", &log_url]);
    assert!(done && said.contains("accepted: logits times"), "{said}");
    let after = Artifact::load(Path::new(&out), Backend::Flex).unwrap();
    assert_ne!(after.manifest().version, before.manifest().version);
    let adjustment = after.calibrators()[0].calibrator.adjustment();
    assert!((0.6..1.4).contains(&adjustment.intercept()), "{adjustment:?}");
    // The new artifact serves, sends the same queries to strong, and says more often that strong wins.
    let (old, new) =
        [&artifact, &out].map(|f| Router::load(Path::new(f), &RouterOptions::default()).unwrap()).into();
    let ladder: Ladder = old.info().default_pair.clone().into();
    for text in ["What is the capital of France?", "Prove that there are infinitely many primes.", "hello"] {
        let query = Query::text(text);
        let [a, b] =
            [&old, &new].map(|r| r.route(&Ask::new(&query, &ladder, At::OperatingPoint("default"))).unwrap());
        assert_eq!(a.decision.model, b.decision.model);
        assert!(b.decision.win_probability > a.decision.win_probability);
    }
    // Outcomes of the old artifact say nothing of the new one.
    let (done, said) = training(&["recalibrate", "-a", &out, "--decision-log", &log_url]);
    assert!(!done && said.contains("1200 decisions of other artifacts"), "{said}");
    assert_eq!(decisions.len(), 1_200);

    let right = tempfile::tempdir().unwrap();
    log(right.path(), &artifact, 1_200, 0.0, false);
    let (done, said) =
        training(&["recalibrate", "-a", &artifact, "--decision-log", &url(right.path()), "--prior", "2000"]);
    assert!(
        said.contains("log loss of the last 200") && (!done || said.contains("accepted: logits times 1.0")),
        "{said}"
    );
    let few = tempfile::tempdir().unwrap();
    log(few.path(), &artifact, 100, 1.0, false);
    let (done, said) = training(&["recalibrate", "-a", &artifact, "--decision-log", &url(few.path())]);
    assert!(!done && said.contains("100 outcomes, at least 230 are needed"), "{said}");
    let unchanged = Artifact::load(Path::new(&artifact), Backend::Flex).unwrap();
    assert_eq!(unchanged.manifest().version, before.manifest().version);
}

#[test]
fn a_certificate_that_no_longer_holds_keeps_the_artifact_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let artifact = trained(folder.path());
    let certify = ["--max-cheap-and-wrong", "0.2"];
    let (done, said) = training(
        &[
            &[
                "threshold",
                "-a",
                &artifact,
                "--name",
                "safe",
                "--starter-rows",
                "3000",
                "--starter-seed",
                "9",
            ][..],
            &certify,
        ]
        .concat(),
    );
    assert!(done, "{said}");
    // Strong wins so much more often that the threshold keeps too many of its wins on weak.
    log(folder.path(), &artifact, 1_200, 2.5, false);
    let (done, said) = training(&["recalibrate", "-a", &artifact, "--decision-log", &url(folder.path())]);
    assert!(!done && said.contains("its certificate (cheap-and-wrong at most 0.2"), "{said}");
    assert!(said.contains("the artifact stays as it is"), "{said}");
}

#[test]
fn a_log_with_texts_trains_a_new_artifact() {
    let folder = tempfile::tempdir().unwrap();
    let artifact = trained(folder.path());
    log(folder.path(), &artifact, 600, 0.0, true);
    let [out, rows] = ["new", "rows.jsonl"].map(|name| folder.path().join(name).display().to_string());
    let log_url = url(folder.path());
    let retrain = ["retrain", "--decision-log", &log_url, "--examples", &rows, "-o", &out, "--epochs", "2"];
    let pair = ["--strong", "starter-large", "--weak", "starter-small", "--latent", "4", "--hidden", "16"];
    let (done, said) = training(&[&retrain[..], &pair].concat());
    assert!(done && said.contains("600 decisions with text and outcome"), "{said}");
    let new = Artifact::load(Path::new(&out), Backend::Flex).unwrap();
    assert!(!new.manifest().simulated);
    let silent = tempfile::tempdir().unwrap();
    log(silent.path(), &artifact, 40, 0.0, false);
    let (done, said) = training(&["retrain", "--decision-log", &url(silent.path()), "--examples", &rows]);
    assert!(!done && said.contains("40 without text") && said.contains("--log-prompts"), "{said}");
}

/// An endpoint that prefers whichever answer says it is good, and counts its calls.
fn endpoint() -> (String, Arc<Mutex<Vec<serde_json::Value>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut length, mut line, mut key) = (0, String::new(), String::new());
            while reader.read_line(&mut line).unwrap() > 2 {
                let lower = line.to_ascii_lowercase();
                if let Some(value) = lower.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if let Some(value) = lower.strip_prefix("authorization:") {
                    key = value.trim().to_owned();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let question = body["messages"][1]["content"].as_str().unwrap();
            let (a, b) = question.split_once("[Answer B]").unwrap();
            let winner = if question.contains("confusing") {
                "nobody"
            } else if a.contains("good") && !b.contains("good") {
                "A"
            } else if b.contains("good") && !a.contains("good") {
                "B"
            } else {
                "A"
            };
            let verdict = format!("{{\"winner\": \"{winner}\"}}");
            let answer = serde_json::json!({
                "choices": [{"message": {"role": "assistant", "content": verdict}}],
                "usage": {"prompt_tokens": 100, "completion_tokens": 10},
            });
            let answer = answer.to_string();
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", answer.len());
            stream.write_all((head + &answer).as_bytes()).unwrap();
            seen.lock().unwrap().push(serde_json::json!({"key": key, "model": body["model"]}));
        }
    });
    (url, asked)
}

#[test]
fn a_judge_is_asked_in_both_orders_within_its_budget() {
    let folder = tempfile::tempdir().unwrap();
    let mut batch = Batch::default();
    let mut answers = String::new();
    for i in 0..30 {
        let decision = decision_at(1_700_000_000_000_000 + i, 0.3);
        let [large, small] = match i % 3 {
            0 => ["a good answer", "an answer"],
            1 => ["an answer", "a good answer"],
            _ => ["an answer", "another answer"],
        };
        let line = serde_json::json!({
            "decision_id": decision.decision_id, "query": "q", "answers": {"large": large, "small": small},
        });
        answers += &format!("{line}\n");
        batch.decisions.push(decision);
    }
    append(folder.path(), &batch);
    let file = folder.path().join("answers.jsonl");
    std::fs::write(&file, &answers).unwrap();
    let (endpoint, asked) = endpoint();
    let judge = |more: &[&str]| {
        let (log, file) = (url(folder.path()), file.display().to_string());
        let args =
            ["judge", "--decision-log", &log, "--answers", &file, "--strong", "large", "--weak", "small"];
        let args = [&args[..], &["--endpoint", &endpoint, "--judge", "j", "--horizon-days", "100000"], more]
            .concat();
        let run = Command::new(env!("CARGO_BIN_EXE_training"))
            .args(args)
            .env("RUNG_JUDGE_KEY", "secret")
            .output()
            .unwrap();
        (run.status.success(), String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned())
    };
    // 110 tokens a call at 10,000 USD a million are 1.1 USD a call: after 5 decisions more than 10 are spent.
    let prices =
        ["--input-usd-per-million", "10000", "--output-usd-per-million", "10000", "--budget-usd", "10"];
    let (done, said) = judge(&prices);
    assert!(
        done && said.contains("the budget is spent after 5 verdicts") && said.contains("10 calls"),
        "{said}"
    );
    let (done, said) = judge(&[]);
    assert!(done && said.contains("25 decisions to judge; left out: 5 judged before"), "{said}");
    assert_eq!(asked.lock().unwrap().len(), 60);
    assert_eq!(asked.lock().unwrap()[0], serde_json::json!({"key": "bearer secret", "model": "j"}));
    assert!(!said.contains("secret"));
    let mut shares = [0; 3];
    read(&url(folder.path()), std::time::Duration::MAX, &mut |joined: Joined| {
        let Outcome::Judge { strong, .. } = &joined.outcomes[0].outcome else { panic!() };
        shares[(strong * 2.0) as usize] += 1;
    })
    .unwrap();
    assert_eq!(shares, [10, 10, 10], "weak's, ties by order, strong's");

    // Something that is no verdict is said and does not count; five in a row end it.
    std::fs::write(&file, answers.replace("\"q\"", "\"confusing\"")).unwrap();
    let fresh = tempfile::tempdir().unwrap();
    let decisions: Vec<DecisionRecord> = {
        let mut all = Vec::new();
        read(&url(folder.path()), std::time::Duration::MAX, &mut |j: Joined| all.push(j.decision)).unwrap();
        all
    };
    append(fresh.path(), &Batch { decisions, outcomes: vec![] });
    let (log, file) = (url(fresh.path()), file.display().to_string());
    let args = ["judge", "--decision-log", &log, "--answers", &file, "--strong", "large", "--weak", "small"];
    let (done, said) = training(&[&args[..], &["--endpoint", &endpoint, "--judge", "j"]].concat());
    assert!(!done && said.contains("found \"{\\\"winner\\\": \\\"nobody\\\"}\""), "{said}");
    assert!(said.contains("5 verdicts in a row have failed"), "{said}");
}

#[test]
fn a_log_goes_to_a_warehouse_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let decisions: Vec<DecisionRecord> =
        (0..200).map(|i| decision_at(1_700_000_000_000_000 + i * 1_000_000_000, 0.3)).collect();
    let outcomes = decisions.iter().map(|d| report(d, "app", Outcome::Thumbs { up: true })).collect();
    append(folder.path(), &Batch { decisions, outcomes });
    let out = folder.path().join("warehouse").display().to_string();
    let (done, said) = training(&["export", "--decision-log", &url(folder.path()), "-o", &out]);
    assert!(done && said.contains("200 decisions and 200 outcomes in 8 files"), "{said}");
    let (done, said) = training(&["monitor", "--decision-log", &out]);
    assert!(done && said.contains("large/small all: 200 decisions"), "{said}");
    let (done, said) = training(&["export", "--decision-log", "/nowhere", "-o", &out]);
    assert!(!done && said.contains("--decision-log /nowhere"), "{said}");
}
