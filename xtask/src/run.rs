//! Running programs from the root of the workspace and telling what runs.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A line for the person who watches.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A program with its arguments, in the root.
pub(crate) fn command(words: &[&str]) -> Command {
    let program = if words[0] == "cargo" { env!("CARGO") } else { words[0] };
    let mut command = Command::new(program);
    command.args(&words[1..]).current_dir(root());
    command
}

/// Runs a program and fails when it does.
pub(crate) fn step(words: &[&str]) -> Result<()> {
    let line = words.join(" ");
    tell(&format!("+ {line}"));
    let status = command(words).status().with_context(|| line.clone())?;
    if !status.success() {
        bail!("`{line}` failed: {status}");
    }
    Ok(())
}

/// Whether a program runs at all.
pub(crate) fn works(words: &[&str]) -> bool {
    let mut probe = command(words);
    probe.stdout(Stdio::null()).stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success())
}

/// What a program prints.
pub(crate) fn output(words: &[&str]) -> Result<String> {
    let output = command(words).output().with_context(|| words.join(" "))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Whether this is a CI run, where nothing may be left out silently.
pub(crate) fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|v| v == "true")
}
