//! `--prior` as users run it: what is known of models in general carries a fit of few labels; it is refused where it has
//! seen the very labels it would be measured on.

use std::process::Command;

/// Whether it succeeded, and everything it said.
fn training(args: &[&str]) -> (bool, String) {
    let run = Command::new(env!("CARGO_BIN_EXE_training")).args(args).output().unwrap();
    (run.status.success(), String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned())
}

#[test]
fn few_labels_start_at_what_is_known_of_models_in_general() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (known, fitted) = (path("known"), path("fitted"));
    let rows = ["--starter-rows", "3000", "--starter-seed"];
    let learn = ["fit", "--epochs", "0", "--cross-fit", "off", "--out", &known];
    let (done, said) = training(&[&learn[..], &rows, &["1"]].concat());
    assert!(done, "{said}");

    // The mean of ten folds' APGR on 100 labels each.
    let few = |more: &[&str]| {
        let command = ["cross-validate", "--epochs", "0", "--labels", "100"];
        let (done, said) = training(&[&command[..], &rows, &["2"], more].concat());
        assert!(done, "{said}");
        let line = said.lines().find(|line| line.starts_with("all ") && line.contains("classifier")).unwrap();
        let mean = line.split("mean of folds ").nth(1).unwrap();
        mean.split_whitespace().next().unwrap().parse::<f64>().unwrap()
    };
    let (alone, started) = (few(&[]), few(&["--prior", &known]));
    assert!(started > alone + 0.02, "APGR {started} with the prior, {alone} without");
    let ignored = few(&["--prior", &known, "--prior-gain", "0"]);
    assert!(
        ignored < started,
        "APGR {ignored} with a prior that is worth nothing, {started} with one that is"
    );

    for command in [&["cross-validate"][..], &["fit", "--out", &fitted]] {
        let (done, said) =
            training(&[command, &["--epochs", "0", "--prior", &known], &rows, &["1"]].concat());
        assert!(!done && said.contains("learned from these very rows"), "{said}");
    }
    let fit = ["fit", "--epochs", "0", "--cross-fit", "off", "--prior", &known, "--out", &fitted];
    let (done, said) = training(&[&fit[..], &["--starter-rows", "600", "--starter-seed", "2"]].concat());
    assert!(done, "{said}");
    let manifest = std::fs::read_to_string(folder.path().join("fitted/manifest.json")).unwrap();
    assert!(manifest.contains("\"prior\": \"known "), "{manifest}");
}
