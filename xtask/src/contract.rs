//! `cargo xtask contract`: the wire contract in `proto/` linted, and held against that of the last release.
//!
//! `proto/released/` holds one image, `vVERSION.binpb`: what `buf build` makes of the contract at a release. A
//! release replaces it with `cargo xtask contract --release VERSION` once it is out; until then everything that
//! would break a caller of the last one is found. buf itself comes with the Node client's tools.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::run::{in_ci, root, run_shown, tell};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Take the contract as it is for that of this release, such as 0.2.0.
    #[arg(long, value_name = "VERSION")]
    release: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let Some(version) = &args.release else { return check() };
    let Some(buf) = buf() else { bail!("buf is not installed: run scripts/client-deps") };
    let last = released(&proto())?;
    let next = format!("released/v{version}.binpb");
    let words = ["build", ".", "--exclude-source-info", "-o", &next];
    run_shown(&mut command(&buf, &words, &proto()), &format!("buf {}", words.join(" ")))?;
    if last != proto().join(next) {
        std::fs::remove_file(&last).with_context(|| last.display().to_string())?;
    }
    Ok(())
}

/// Fails when the contract has bad habits or breaks a caller of the last release.
pub(crate) fn check() -> Result<()> {
    let Some(buf) = buf() else {
        if in_ci() {
            bail!("buf is not installed: run scripts/client-deps");
        }
        tell("left out: buf lint and buf breaking (install buf with scripts/client-deps)");
        return Ok(());
    };
    let proto = proto();
    let last = released(&proto)?;
    let last = last.strip_prefix(&proto).unwrap_or(&last).to_string_lossy();
    for words in [&["lint"][..], &["breaking", "--against", &last]] {
        run_shown(&mut command(&buf, words, &proto), &format!("buf {}", words.join(" ")))?;
    }
    Ok(())
}

fn proto() -> PathBuf {
    root().join("proto")
}

/// The binary itself, where it is installed: no network, no wrapper.
fn buf() -> Option<PathBuf> {
    Some(root().join("clients/node/node_modules/.bin/buf")).filter(|buf| buf.exists())
}

fn command(buf: &Path, words: &[&str], folder: &Path) -> std::process::Command {
    let mut command = std::process::Command::new(buf);
    command.args(words).current_dir(folder);
    command
}

/// The image of the last release.
fn released(proto: &Path) -> Result<PathBuf> {
    let folder = proto.join("released");
    let mut images = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "binpb") {
            images.push(path);
        }
    }
    match images.as_slice() {
        [image] => Ok(image.clone()),
        _ => bail!("{} holds {} images, not the one of the last release", folder.display(), images.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What buf says of the contract with `from` in `file` replaced, held against the last release.
    fn broken(buf: &Path, file: &str, from: &str, to: &str) -> (bool, String) {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("rung/v1");
        std::fs::create_dir_all(&copy).unwrap();
        for entry in std::fs::read_dir(proto().join("rung/v1")).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
        }
        std::fs::copy(proto().join("buf.yaml"), folder.path().join("buf.yaml")).unwrap();
        let text = std::fs::read_to_string(copy.join(file)).unwrap();
        assert!(text.contains(from), "{file} has no `{from}`");
        std::fs::write(copy.join(file), text.replacen(from, to, 1)).unwrap();
        let last = released(&proto()).unwrap().canonicalize().unwrap();
        let words = ["breaking", "--against", &last.to_string_lossy()];
        let output = command(buf, &words, folder.path()).output().unwrap();
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
        (output.status.success(), said)
    }

    #[test]
    fn what_breaks_a_caller_is_found() {
        if std::env::var_os("RUNG_NO_CLIENTS").is_some() {
            println!("left out: buf (RUNG_NO_CLIENTS)");
            return;
        }
        let Some(buf) = buf() else {
            assert!(!in_ci(), "buf is not installed: run scripts/client-deps");
            println!("left out: buf is not installed (scripts/client-deps)");
            return;
        };
        let buf = buf.canonicalize().unwrap();
        let (kept, said) = broken(&buf, "router.proto", "// As sent.", "// As it was sent.");
        assert!(kept, "a comment is no change: {said}");
        let added = "double threshold = 6;\n  optional string newcomer = 900;";
        let (kept, said) = broken(&buf, "router.proto", "double threshold = 6;", added);
        assert!(kept, "a new field breaks nobody: {said}");
        let breaking = [
            ("router.proto", "  double win_probability = 5;\n", "", "win_probability"),
            (
                "router.proto",
                "double win_probability = 5;",
                "double win_probability = 905;",
                "win_probability",
            ),
            ("outcomes.proto", "string source = 2;", "bytes source = 2;", "source"),
            ("cascade.proto", "rpc Assess(AssessRequest) returns (AssessResponse);", "", "Assess"),
            ("router.proto", "TIER_STRONG = 2;", "TIER_TOP = 2;", "TIER_STRONG"),
        ];
        for (file, from, to, named) in breaking {
            let (kept, said) = broken(&buf, file, from, to);
            assert!(!kept && said.contains(named), "`{from}` became `{to}`: {said}");
        }
    }

    #[test]
    fn there_is_one_last_release() {
        let folder = tempfile::tempdir().unwrap();
        let images = folder.path().join("released");
        std::fs::create_dir(&images).unwrap();
        assert!(released(folder.path()).unwrap_err().to_string().contains("holds 0 images"));
        std::fs::write(images.join("v0.1.0.binpb"), "").unwrap();
        assert_eq!(released(folder.path()).unwrap(), images.join("v0.1.0.binpb"));
        std::fs::write(images.join("v0.2.0.binpb"), "").unwrap();
        assert!(released(folder.path()).unwrap_err().to_string().contains("holds 2 images"));
    }
}
