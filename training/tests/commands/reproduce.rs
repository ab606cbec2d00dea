//! `training reproduce` as users run it: a card's command makes the card's figures again from data that
//! moved; other rows and an edited card are refused.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

/// Whether it succeeded, and everything it said.
fn training(args: &[&str]) -> (bool, String) {
    let run = Command::new(env!("CARGO_BIN_EXE_training")).args(args).output().unwrap();
    (run.status.success(), String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned())
}

/// Rows on which the strong model gains where a question is long.
fn write_rows(file: &Path, rows: usize) {
    let row = |i: usize| {
        let words = 3 + i * 7 % 40;
        let query = format!("question {i}: {}", ["alpha", "beta", "gamma"][i % 3].repeat(words));
        let weak = u8::from((i * 31 % 40) > words);
        json!({"query": query, "outcomes": {"small": weak, "big": 1}}).to_string() + "\n"
    };
    fs::write(file, (0..rows).map(row).collect::<String>()).unwrap();
}

#[test]
fn a_card_is_held_to_its_command() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (here, rows, card, again) = (path(""), path("rows.jsonl"), path("card"), path("again"));
    write_rows(Path::new(&rows), 800);
    let pair = ["--strong", "big", "--weak", "small", "--epochs", "0"];
    let (fitted, said) = training(&[&["fit", "-d", &rows, "--out", &card], &pair[..]].concat());
    assert!(fitted, "{said}");
    let reproduce = || training(&["reproduce", "-a", &card, "-o", &again, "--root", &here]);

    let (met, said) = reproduce();
    assert!(met && said.contains(" 0 more within 0.001, 0 not"), "{said}");

    write_rows(Path::new(&rows), 801);
    let (met, said) = reproduce();
    assert!(!met && said.contains("not the rows of the card"), "{said}");

    let manifest = Path::new(&card).join("manifest.json");
    let edited = fs::read_to_string(&manifest).unwrap().replacen("0.1", "0.2", 1);
    fs::write(&manifest, edited).unwrap();
    let (met, said) = reproduce();
    assert!(!met && said.contains("cut short or edited"), "{said}");
}
