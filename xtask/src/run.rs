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
    run_shown(&mut command(words), &words.join(" "))
}

/// Runs a prepared command, shown as `line`, and fails when it does.
pub(crate) fn run_shown(command: &mut Command, line: &str) -> Result<()> {
    tell(&format!("+ {line}"));
    let status = command.status().with_context(|| line.to_owned())?;
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
    let line = words.join(" ");
    let output = command(words).stderr(Stdio::inherit()).output().with_context(|| line.clone())?;
    if !output.status.success() {
        bail!("`{line}` failed: {}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Whether this is a CI run, where nothing may be left out silently.
pub(crate) fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|v| v == "true")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_an_error_that_names_it() {
        assert!(step(&["false", "--why"]).unwrap_err().to_string().contains("false --why"));
        assert!(output(&["false"]).is_err());
        assert_eq!(output(&["echo", "rung"]).unwrap(), "rung");
    }
}
