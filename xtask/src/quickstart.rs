//! `cargo xtask quickstart`: from a clone to a routed query.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use anyhow::{Context, Result, bail};

use crate::run::{command, step, tell};

const ARTIFACT: &str = "models/starter";
const EASY: &str = "What are your opening hours on Sunday?";
const HARD: &str =
    "Prove that there are infinitely many primes congruent to 3 modulo 4 and justify every step.";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Stop after the two questions instead of serving on.
    #[arg(long)]
    once: bool,
    /// Address to serve on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:50051")]
    listen: String,
}

/// Ends the server however this function is left.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    step(&["cargo", "run", "--release", "-p", "training", "--", "fit", "--out", ARTIFACT])?;
    step(&["cargo", "build", "--release", "-p", "server"])?;
    let mut server = serve(&args.listen)?;
    for question in [EASY, HARD] {
        tell(&format!("\n> {question}"));
        let words = [
            "cargo",
            "run",
            "--quiet",
            "--release",
            "-p",
            "server",
            "--",
            "route",
            "--artifact",
            ARTIFACT,
            question,
        ];
        let status = command(&words).status().context("asking the router")?;
        if !status.success() {
            bail!("the router gave no decision: {status}");
        }
    }
    if args.once {
        return Ok(());
    }
    tell("\nserving on; README.md shows callers in Python, Node, Go and grpcurl. Ctrl-C ends it.");
    let status = server.0.wait()?;
    if !status.success() {
        bail!("the server ended: {status}");
    }
    Ok(())
}

/// Starts the server and waits until it says that it listens.
fn serve(listen: &str) -> Result<Server> {
    // The binary itself rather than `cargo run`: ending the child must end the server.
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    let binary = format!("{target}/release/server");
    let words = [binary.as_str(), "serve", "--artifact", ARTIFACT, "--listen", listen];
    let mut child = command(&words).stderr(Stdio::piped()).spawn().context("starting the server")?;
    let stderr = child.stderr.take().context("reading the server's log")?;
    let server = Server(child);
    let mut lines = BufReader::new(stderr).lines();
    loop {
        let Some(line) = lines.next() else { bail!("the server ended before it listened") };
        let line = line?;
        tell(&line);
        if line.contains("serving") && line.contains("address") {
            break;
        }
    }
    // The rest of its log goes on to the person who watches.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| tell(&line)));
    Ok(server)
}
