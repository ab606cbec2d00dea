//! Habits of files: each opens with what it is about, none grows into two rooms, none holds what
//! belongs to one machine.

use std::path::Path;

use anyhow::{Context, Result};

use crate::run::{output, root};

const MOST_LINES: usize = 700;

pub(crate) fn findings() -> Result<Vec<String>> {
    let listed = output(&["git", "ls-files", "--cached", "--others", "--exclude-standard"])?;
    let mut findings = Vec::new();
    for name in listed.lines() {
        let path = root().join(name);
        let text_file = ["rs", "md", "toml", "proto", "py", "mjs", "ts", "go"]
            .iter()
            .any(|end| Path::new(name).extension().is_some_and(|e| e == *end));
        if text_file && path.exists() {
            let text = std::fs::read_to_string(&path).with_context(|| name.to_owned())?;
            findings.extend(judge(name, &text));
        }
    }
    Ok(findings)
}

fn judge(name: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let mut find = |what: String| findings.push(format!("tidy: {name}: {what}"));
    if Path::new(name).extension().is_some_and(|e| e == "rs") {
        let first = text.lines().next().unwrap_or_default();
        if !first.starts_with("//!") && !first.starts_with("#![") {
            find("does not open with //!".to_owned());
        }
        let lines = text.lines().count();
        if lines > MOST_LINES {
            find(format!("has {lines} lines, more than {MOST_LINES}: probably two rooms in one"));
        }
        // Spelt in two halves, or this file would find itself.
        for stub in [concat!("to", "do!("), concat!("unimpl", "emented!(")] {
            if text.contains(stub) {
                find(format!("holds {stub}"));
            }
        }
    }
    for home in [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/")] {
        if let Some(line) = text.lines().position(|line| line.contains(home)) {
            find(format!("line {}: names a path of one machine ({home})", line + 1));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_habit_is_held() {
        assert_eq!(judge("a.rs", "//! What it is.\n"), Vec::<String>::new());
        assert!(judge("a.rs", "fn main() {}\n")[0].contains("does not open with //!"));
        assert!(judge("a.rs", &"//! x\n".repeat(701))[0].contains("701 lines"));
        let stub = format!("//! x\nfn f() {{ {}) }}\n", concat!("to", "do!("));
        assert!(judge("a.rs", &stub)[0].contains("holds"));
        let path = format!("see {}someone/x\n", concat!("/ho", "me/"));
        assert!(judge("README.md", &path)[0].contains("line 1"));
    }
}
