//! deploy/ and docs/deployment.md against the server they are for: every setting they name exists, what the image copies
//! is there, the binary needs no library that the image lacks, the policy can be served. What the files must agree on
//! among themselves is checked by deploy/check.py.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use clap::CommandFactory;
use regex::Regex;
use router::{Router, RouterOptions};
use server::cli::Cli;
use server::config::Settings;

/// Not the server's: the password that compose puts into a URL, and where Grafana finds Prometheus.
const OTHERS: &[&str] = &["RUNG_POSTGRES_PASSWORD", "RUNG_PROMETHEUS_URL"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Every file of deploy/ that git would know, and the page about it.
fn texts() -> Vec<(PathBuf, String)> {
    let mut found = vec![root().join("docs/deployment.md")];
    files(&root().join("deploy"), &mut found);
    let drawn = ["deploy/compose/secrets/", "deploy/compose/.env", "__pycache__"];
    found.retain(|file| !drawn.iter().any(|name| file.to_string_lossy().contains(name)));
    found.into_iter().map(|file| (file.clone(), std::fs::read_to_string(file).unwrap())).collect()
}

/// Every flag and variable of every subcommand.
fn known() -> BTreeSet<String> {
    let mut known: BTreeSet<String> = ["RUNG_LOG".to_owned(), "--help".to_owned()].into();
    let mut left = vec![Cli::command()];
    while let Some(command) = left.pop() {
        for argument in command.get_arguments() {
            known.extend(argument.get_env().map(|name| name.to_string_lossy().into_owned()));
            known.extend(argument.get_long().map(|name| format!("--{name}")));
        }
        left.extend(command.get_subcommands().cloned());
    }
    known
}

fn unknown<'a>(text: &'a str, pattern: &str, known: &BTreeSet<String>) -> BTreeSet<&'a str> {
    let pattern = Regex::new(pattern).unwrap();
    let named = pattern.captures_iter(text).map(|found| found.get(1).unwrap().as_str());
    named.filter(|name| !known.contains(*name) && !OTHERS.contains(name)).collect()
}

#[test]
fn every_setting_that_is_named_exists() {
    let known = known();
    let texts = texts();
    assert!(texts.len() > 10, "{}", texts.len());
    for (file, text) in &texts {
        let variables = unknown(text, r"\b(RUNG_[A-Z0-9_]*[A-Z0-9])\b", &known);
        assert!(variables.is_empty(), "{}: no such variable: {variables:?}", file.display());
    }
    // Flags of other programs are written there too; what stands between backquotes or brackets alone is ours.
    let page = &texts.iter().find(|(file, _)| file.ends_with("docs/deployment.md")).unwrap().1;
    let flags = unknown(page, r"`(--[a-z][a-z0-9-]+)[^`]*`", &known);
    assert!(flags.is_empty(), "docs/deployment.md: no such flag: {flags:?}");
}

#[test]
fn a_setting_that_does_not_exist_is_found() {
    let text = "RUNG_LISTEN=1 RUNG_LISTNE=2 `--listen ADDRESS` `--listne`";
    let known = known();
    assert_eq!(unknown(text, r"\b(RUNG_[A-Z0-9_]*[A-Z0-9])\b", &known), ["RUNG_LISTNE"].into());
    assert_eq!(unknown(text, r"`(--[a-z][a-z0-9-]+)[^`]*`", &known), ["--listne"].into());
}

#[test]
fn what_the_image_copies_is_there_and_not_ignored() {
    let file = std::fs::read_to_string(root().join("deploy/container/Containerfile")).unwrap();
    let ignored =
        std::fs::read_to_string(root().join("deploy/container/Containerfile.dockerignore")).unwrap();
    // Docker reads the one beside the Containerfile, Podman the one in the root.
    assert_eq!(ignored, std::fs::read_to_string(root().join(".containerignore")).unwrap());
    let let_in: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let copied =
        file.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.contains("--from="));
    let mut sources = 0;
    for line in copied {
        let mut words: Vec<&str> = line.split(' ').collect();
        words.pop();
        for source in words {
            assert!(root().join(source).exists(), "COPY {source}: not there");
            assert!(let_in.contains(&source), "COPY {source}: ignored");
            sources += 1;
        }
    }
    assert!(sources > 10, "{sources}");
    // The build needs every member of the workspace.
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = manifest.lines().find_map(|line| line.strip_prefix("members = ")).unwrap();
    for member in members.split('"').skip(1).step_by(2) {
        let member = member.trim_end_matches("/*");
        assert!(file.contains(&format!("COPY {member} {member}\n")), "{member} is not copied");
    }
}

#[test]
fn the_binary_needs_no_library_that_the_image_lacks() {
    let needed = Command::new("ldd").arg(env!("CARGO_BIN_EXE_server")).output().unwrap();
    assert!(needed.status.success());
    let needed = String::from_utf8(needed.stdout).unwrap();
    // What distroless/cc holds beside the loader and what the kernel gives.
    let held = ["linux-vdso.so", "ld-linux", "libc.so.6", "libm.so.6", "libgcc_s.so.1", "libstdc++.so.6"];
    let names = needed.lines().filter_map(|line| line.split_whitespace().next());
    let names: Vec<_> = names.map(|name| name.rsplit('/').next().unwrap()).collect();
    assert!(names.iter().any(|name| name.starts_with("libc.so")), "{needed}");
    for name in names {
        assert!(held.iter().any(|held| name.starts_with(held)), "{name} is not in the image");
    }
}

#[tokio::test]
async fn the_policy_of_the_deployment_can_be_served() {
    let mut settings = Settings::default();
    settings.decision_log.url = Some("none".into());
    settings.policy = Some(root().join("deploy/kubernetes/policy.toml"));
    let router = Router::load(&root().join("models/default"), &RouterOptions::default()).unwrap();
    let served = server::in_process(Arc::new(router), &settings.build().unwrap());
    assert!(served.is_ok(), "{:?}", served.err().map(|error| error.to_string()));
}

#[test]
fn envoy_sends_what_the_server_reads_and_routes_to_models_it_names() {
    let envoy = std::fs::read_to_string(root().join("deploy/envoy/envoy.yaml")).unwrap();
    for name in ext_proc::names::OUT {
        assert!(envoy.contains(&format!("- remove: {name}\n")), "a caller could send {name}");
    }
    let router = Router::load(&root().join("models/default"), &RouterOptions::default()).unwrap();
    let pair = &router.info().default_pair;
    for model in [pair.strong(), pair.weak()] {
        assert!(envoy.contains(&format!("exact: {model} ")), "no route for {model}");
    }
    let buffer = ext_proc_bytes();
    assert!(envoy.contains(&format!("per_connection_buffer_limit_bytes: {buffer}\n")));
}

/// Bytes of a body that the server reads where nothing is set.
fn ext_proc_bytes() -> usize {
    let mut settings = Settings::default();
    settings.ext_proc.listen = Some(([127, 0, 0, 1], 50053).into());
    settings.decision_log.url = Some("none".into());
    settings.build().unwrap().ext_proc.unwrap().options.max_body_bytes
}
