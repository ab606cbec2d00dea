//! `cargo xtask check`: what a reviewer should not have to look for.

mod arrows;
mod tidy;

use anyhow::{Result, bail};

use crate::contract;
use crate::run::{in_ci, step, tell, works};

pub(crate) fn run() -> Result<()> {
    step(&["cargo", "fmt", "--all", "--check"])?;
    let mut findings = arrows::findings()?;
    findings.extend(tidy::findings()?);
    for finding in &findings {
        tell(finding);
    }
    if !findings.is_empty() {
        bail!("{} findings about architecture and files", findings.len());
    }
    step(&["cargo", "clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    if works(&["cargo", "deny", "--version"]) {
        // No advisories: their database is fetched from the network at each run.
        step(&["cargo", "deny", "check", "bans", "licenses", "sources"])?;
    } else if in_ci() {
        bail!("cargo-deny is not installed: `cargo install cargo-deny --locked`");
    } else {
        tell("left out: cargo deny (install it with `cargo install cargo-deny --locked`)");
    }
    contract::check()?;
    tell("check: all well");
    Ok(())
}
