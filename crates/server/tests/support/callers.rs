//! The clients that are no Rust: where they are installed, and how they are run.
#![allow(clippy::print_stdout, reason = "what is left out is told")]

use std::path::{Path, PathBuf};
use std::process::Output;

use tokio::process::Command;

/// The root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Whether Python's and Node's are installed; says so where they are not, and fails in CI unless they are left out.
pub fn installed() -> bool {
    if std::env::var_os("RUNG_NO_CLIENTS").is_some() {
        println!("left out: the clients in Python, Node and Go (RUNG_NO_CLIENTS)");
        return false;
    }
    let node = root().join("clients/node");
    if python().exists() && node.join("dist/index.js").exists() && node.join("node_modules/.bin/tsc").exists()
    {
        return true;
    }
    missing("the clients in Python and Node are not installed")
}

/// The same of the Go example.
pub fn go() -> Option<PathBuf> {
    let go = root().join("target/clients/go/route");
    (go.exists() || missing("the Go example is not compiled")).then_some(go)
}

fn missing(what: &str) -> bool {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{what}: run scripts/client-deps");
    println!("left out: {what}: run scripts/client-deps");
    false
}

/// The interpreter that has the Python client.
pub fn python() -> PathBuf {
    root().join("target/clients/python/bin/python")
}

/// Runs a program with these arguments and this environment in a folder.
pub async fn run(
    program: impl AsRef<Path>,
    arguments: &[&str],
    environment: &[(&str, &str)],
    folder: &Path,
) -> Output {
    let mut command = Command::new(program.as_ref());
    command.args(arguments).envs(environment.iter().copied()).current_dir(folder).kill_on_drop(true);
    command.output().await.unwrap()
}

/// What it printed, where it went well.
pub fn printed(output: &Output) -> String {
    let [out, error] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(output.status.success(), "{out}\n{error}");
    out
}
