//! `cargo xtask test`: what the tests need, then the tests.

use anyhow::Result;

use crate::run::{command, run_shown, step, tell};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leave out the clients in Python, Node and Go, Envoy, the checkers of deploy/, and what their tools check.
    #[arg(long)]
    no_clients: bool,
    /// Leave out training and encoding on wgpu (Vulkan; Mesa's software driver will do).
    #[arg(long)]
    no_gpu: bool,
    /// Leave out the decision log on PostgreSQL.
    #[arg(long)]
    no_postgres: bool,
    /// Leave out the tests of the alert rules (promtool).
    #[arg(long)]
    no_prometheus: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut left_out = Vec::new();
    if args.no_clients {
        left_out.push("the clients in Python, Node and Go, Envoy, the checkers of deploy/ (--no-clients)");
    } else {
        step(&["bash", "scripts/client-deps"])?;
        step(&["bash", "scripts/deploy-deps"])?;
        step(&["target/deploy/bin/python", "deploy/check.py"])?;
    }
    if args.no_prometheus {
        left_out.push("the tests of the alert rules (--no-prometheus)");
    } else {
        step(&["bash", "scripts/prometheus-deps"])?;
        step(&["promtool", "check", "config", "deploy/prometheus/prometheus.yml"])?;
        step(&["promtool", "test", "rules", "deploy/prometheus/rules.test.yml"])?;
    }
    step(&["bash", "scripts/encoder-deps"])?;
    let mut tests = command(&["cargo", "test", "--release", "--workspace"]);
    if args.no_postgres {
        left_out.push("the decision log on PostgreSQL (--no-postgres)");
        tests.env("RUNG_NO_POSTGRES", "1");
    } else {
        step(&["bash", "scripts/postgres-deps"])?;
        tests.env("RUNG_REQUIRE_POSTGRES", "1");
    }
    if args.no_clients {
        // What an earlier run installed is still there; the test must not find it.
        tests.env("RUNG_NO_CLIENTS", "1");
    }
    run_shown(&mut tests, "cargo test --release --workspace")?;
    // What is off by default, in the dev profile: an optimised wgpu takes five times as long to build as these tests run.
    let optional = |features| {
        let packages = ["cargo", "test", "-p", "training", "-p", "encoder", "--features", features];
        [&packages[..], &["--test", "optional", "--test", "reference"]].concat()
    };
    if args.no_gpu {
        left_out.push("training and encoding on wgpu (--no-gpu)");
        step(&optional("training/ndarray,training/object-store"))?;
    } else {
        step(&["bash", "scripts/vulkan-deps"])?;
        step(&optional("training/ndarray,training/object-store,training/wgpu"))?;
    }
    for what in &left_out {
        tell(&format!("left out: {what}"));
    }
    tell("test: all well");
    Ok(())
}
