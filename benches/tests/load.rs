//! The load client against the real server, every command with a second of load or less. What is asserted is what came of
//! requests, never how fast: how fast is what the commands print.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::process::{Command, Output};

use serde_json::Value;

fn load(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_load")).args(args).output().unwrap()
}

/// What it said, where it ended as it should.
fn text(output: &Output) -> String {
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", said(&output.stdout), said(&output.stderr));
    said(&output.stdout)
}

/// What it said, whether or not a target was missed: a busy machine misses those of time.
fn said(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!error.contains("error:"), "{error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn run(args: &[&str]) -> Value {
    let usual = ["run", "--json", "--seconds", "0.7", "--warmup", "0.2"];
    serde_json::from_str(&text(&load(&[&usual[..], args].concat()))).unwrap()
}

/// Everything that was due was sent and answered, and some answers were looked at.
fn flawless(report: &Value) -> u64 {
    let count = |name: &str| report[name].as_u64().unwrap();
    assert_eq!((count("failed"), count("unsent"), count("retried")), (0, 0, 0), "{report:#}");
    assert!(count("checked") > 0, "{report:#}");
    assert_eq!(report["codes"].as_object().unwrap().len(), 1, "{report:#}");
    assert_eq!(report["codes"]["OK"].as_u64().unwrap(), count("decisions"));
    count("decisions")
}

#[test]
fn what_is_due_is_sent_whatever_the_shape() {
    for (shape, queries) in [("unary", 1), ("batch:8", 8), ("stream", 1)] {
        let report = run(&["--rate", "400", "--arrivals", "constant", "--shape", shape]);
        let decisions = flawless(&report);
        assert_eq!(decisions, report["calls"].as_u64().unwrap() * queries, "{shape}");
        // 0.7 s at 400/s: one call more or less at the edges.
        assert!(decisions.abs_diff(280) <= queries, "{shape}: {decisions}");
        let bytes = |name: &str| report[name].as_f64().unwrap();
        assert!(bytes("sent_bytes_per_decision") > 300.0 && bytes("received_bytes_per_decision") > 200.0);
    }
}

#[test]
fn callers_that_wait_are_kept_busy() {
    for shape in ["unary", "batch:32", "stream"] {
        assert!(flawless(&run(&["--shape", shape, "--callers", "8", "--threads", "2"])) > 8, "{shape}");
    }
}

#[test]
fn what_a_server_refuses_is_counted_by_its_code() {
    let too_many = ["--rate", "400", "--shape", "batch:8", "--bare"];
    let refusing = ["run", "--json", "--seconds", "0.5", "--flag=--max-batch=4"];
    let report: Value = serde_json::from_str(&text(&load(&[&refusing[..], &too_many].concat()))).unwrap();
    let (failed, codes) = (report["failed"].as_u64().unwrap(), &report["codes"]);
    assert!(failed > 0 && codes["INVALID_ARGUMENT"].as_u64() == Some(failed), "{report:#}");
    assert_eq!(report["decisions"], 0);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let none = load(&["run", "--address", "127.0.0.1:1", "--token-file", "there-is-none"]);
    assert!(!none.status.success());
    assert!(String::from_utf8_lossy(&none.stderr).contains("there-is-none"));
}

#[test]
fn the_highest_rate_is_looked_for() {
    let output = load(&["saturate", "--steps", "2", "--step-seconds", "0.4", "--p99-ms", "60000"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("callers that wait:"), "{said}{error}");
    assert!(output.status.success() || error.contains("was kept with this p99"), "{error}");
}

#[test]
fn the_cost_of_each_thing_is_a_row() {
    let args = ["cost", "--rounds", "1", "--seconds", "0.3", "--warmup", "0.1", "--rate", "200"];
    let said = text(&load(&args));
    for name in ["nothing", "log"] {
        assert!(said.contains(&format!("\n| {name} | ")), "{said}");
    }
}

#[test]
fn a_soak_ends_with_a_verdict() {
    let args = ["soak", "--minutes", "0.02", "--capacity", "400", "--warmup", "0.2"];
    let said = said(&load(&args));
    assert!(said.contains("| failed or not sent | 0 | 0 |"), "{said}");
    assert!(said.contains("all held") || said.contains("missed: "), "{said}");
}

#[test]
fn nothing_fails_while_things_are_replaced() {
    let args = ["reload", "--rate", "100", "--every", "0.5", "--window", "0.25", "--warmup", "0.2"];
    let said = said(&load(&args));
    for thing in ["policy", "prices", "catalogue"] {
        assert!(said.contains(&format!("\n| {thing} | ")), "{said}");
    }
    assert!(!said.contains(" failed, "), "{said}");
}

#[test]
fn callers_with_patience_are_answered_whatever_is_broken() {
    let args = ["chaos", "--rate", "200", "--seconds", "2", "--kills", "1", "--outage", "0.3"];
    let said = text(&load(&args));
    for fault in ["nothing", "kill -9", "SIGSTOP"] {
        assert!(said.contains(&format!("\n| {fault}")), "{said}");
    }
}

#[test]
fn a_capacity_model_is_a_page() {
    let args = ["capacity", "--seconds", "0.4", "--rates", "0.1"];
    let said = text(&load(&args));
    assert!(said.contains("## Carried on") && said.contains("1,000,000 decisions/s"), "{said}");
}
