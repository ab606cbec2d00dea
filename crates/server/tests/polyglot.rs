//! Rust, Python and Node ask the same server and must read the same number, bit for bit.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "helpers of tests")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Output;

use api::v1;
use api::v1::route_request::Input;
use server::config::Settings;
use support::serve;
use tokio::process::Command;

const TEXT: &str = "Übersetze: prove √2 ∉ ℚ, then list 3 uses. 東京";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn win_probability(output: &Output) -> f64 {
    let text = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    let json: serde_json::Value =
        serde_json::from_str(text.trim()).unwrap_or_else(|e| panic!("{e}: {text} {error}"));
    json["win_probability"].as_f64().unwrap()
}

#[tokio::test]
async fn three_languages_read_one_number() {
    if std::env::var_os("RUNG_NO_CLIENTS").is_some() {
        println!("left out: the Python and Node callers (RUNG_NO_CLIENTS)");
        return;
    }
    let python = root().join("target/clients/python/bin/python");
    let node = root().join("clients/node/node_modules/@grpc/grpc-js");
    if !python.exists() || !node.exists() {
        let missing = "the Python and Node callers are not installed: run scripts/client-deps";
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{missing}");
        println!("left out: {missing}");
        return;
    }
    let server = serve(Settings::default()).await;
    let request = v1::RouteRequest { input: Some(Input::Text(TEXT.into())), ..Default::default() };
    let rust = server.client().await.route(request).await.unwrap().into_inner().win_probability;
    let run = |program: PathBuf, script: &str| {
        let script = root().join(script);
        let address = server.address.clone();
        async move { Command::new(program).arg(script).arg(address).arg(TEXT).output().await.unwrap() }
    };
    let python = run(python, "clients/python/route.py").await;
    let node = run("node".into(), "clients/node/route.mjs").await;
    assert_eq!(win_probability(&python).to_bits(), rust.to_bits());
    assert_eq!(win_probability(&node).to_bits(), rust.to_bits());
}
