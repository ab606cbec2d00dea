//! `cargo xtask bench-report`: criterion's samples as a table for people, in docs/benchmarks.md.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::run::{output, root, tell};

/// Nanoseconds per iteration of one bench.
#[derive(Debug, Clone, PartialEq)]
struct Bench {
    group: String,
    function: String,
    parameter: String,
    /// Median over samples.
    p50_ns: f64,
    /// 99th percentile over samples, each a mean over its iterations.
    p99_ns: f64,
}

pub(crate) fn run() -> Result<()> {
    let target = root().join(std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".into()));
    let folder = target.join("criterion");
    let mut benches = Vec::new();
    collect(&folder, &mut benches).with_context(|| "no measurements: run `cargo bench -p benches` first")?;
    if benches.is_empty() {
        bail!("no measurements: run `cargo bench -p benches` first");
    }
    benches.sort_by(|a, b| {
        (&a.group, number(&a.parameter), &a.function).cmp(&(&b.group, number(&b.parameter), &b.function))
    });
    let mut report = report(&benches, &machine()?);
    report.push_str(&process(&target.join("process.json"))?);
    report.push_str(&evaluate(&target.join("evaluate.json"))?);
    fs::create_dir_all(root().join("docs"))?;
    fs::write(root().join("docs/benchmarks.md"), report)?;
    tell("wrote docs/benchmarks.md");
    Ok(())
}

fn number(parameter: &str) -> u64 {
    parameter.parse().unwrap_or(0)
}

fn collect(folder: &Path, benches: &mut Vec<Bench>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.ends_with("new") && path.join("benchmark.json").exists() {
            benches.push(read(&path)?);
        } else if path.is_dir() {
            collect(&path, benches)?;
        }
    }
    Ok(())
}

fn read(folder: &Path) -> Result<Bench> {
    let json = |name: &str| -> Result<Value> {
        let file: PathBuf = folder.join(name);
        serde_json::from_slice(&fs::read(&file)?).with_context(|| file.display().to_string())
    };
    let (benchmark, sample) = (json("benchmark.json")?, json("sample.json")?);
    let text = |key: &str| benchmark[key].as_str().unwrap_or_default().to_owned();
    let numbers = |key: &str| -> Vec<f64> {
        sample[key].as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
    };
    let mut each: Vec<f64> = numbers("times").iter().zip(numbers("iters")).map(|(t, n)| t / n).collect();
    if each.is_empty() {
        bail!("{}: no samples", folder.display());
    }
    each.sort_by(f64::total_cmp);
    let at = |q: f64| each[((each.len() - 1) as f64 * q).round() as usize];
    Ok(Bench {
        group: text("group_id"),
        function: text("function_id"),
        parameter: text("value_str"),
        p50_ns: at(0.5),
        p99_ns: at(0.99),
    })
}

fn machine() -> Result<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpus.lines().find_map(|l| l.strip_prefix("model name")?.split(": ").nth(1)).unwrap_or("unknown");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let commit = output(&["git", "rev-parse", "--short", "HEAD"])?;
    let rustc = output(&["rustc", "--version"])?;
    Ok(format!("{model}, {cores} cores, {rustc}, commit {commit}"))
}

fn report(benches: &[Bench], machine: &str) -> String {
    let mut text = format!(
        "# Benchmarks\n\nMeasured by `cargo bench -p benches` and written by `cargo xtask bench-report`. {machine}.\n\n\
         p50 and p99 are over criterion's samples, each a mean over its iterations. A ratio is against `echo` with \
         the same parameter in the same run: a tonic server that does nothing.\n"
    );
    let mut groups: BTreeMap<&str, Vec<&Bench>> = BTreeMap::new();
    for bench in benches {
        groups.entry(&bench.group).or_default().push(bench);
    }
    for (group, rows) in groups {
        let _ = write!(
            text,
            "\n## {group}\n\n| bench | parameter | p50 | p99 | ratio to echo |\n|---|---|---|---|---|\n"
        );
        for bench in &rows {
            let echo = rows.iter().find(|b| b.function == "echo" && b.parameter == bench.parameter);
            let ratio = match echo {
                Some(echo) if bench.function != "echo" => format!("{:.2}", bench.p50_ns / echo.p50_ns),
                _ => "–".to_owned(),
            };
            let (p50, p99) = (time(bench.p50_ns), time(bench.p99_ns));
            let _ = writeln!(text, "| {} | {} | {p50} | {p99} | {ratio} |", bench.function, bench.parameter);
        }
    }
    text
}

/// What a bench that measures a whole process left behind.
fn left_behind(file: &Path) -> Result<Value> {
    let bytes = fs::read(file)
        .with_context(|| format!("no {}: run `cargo bench -p benches` first", file.display()))?;
    serde_json::from_slice(&bytes).with_context(|| file.display().to_string())
}

/// `training evaluate` on many rows.
fn evaluate(file: &Path) -> Result<String> {
    let measured = left_behind(file)?;
    let number = |key: &str| measured[key].as_f64().unwrap_or(f64::NAN);
    Ok(format!(
        "\n## evaluate\n\n`training evaluate` on {} rows of JSONL, reading and grouping included: {:.1} s and {:.0} MiB \
         at most (60 s and 2048 MiB asked on two cores).\n",
        number("rows"),
        number("seconds"),
        number("peak_mib")
    ))
}

/// What the `process` bench left behind.
fn process(file: &Path) -> Result<String> {
    let measured = left_behind(file)?;
    let number = |pointer: &str| measured.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN);
    let (starts, rate, seconds) =
        (number("/cold_starts"), number("/requests_per_second"), number("/seconds"));
    let us = |pointer: &str| time(1e3 * number(pointer));
    Ok(format!(
        "\n## process\n\nThe release binary serving `models/default`; client and server share the cores.\n\n\
         | figure | route | echo |\n|---|---|---|\n\
         | start to first answer, median of {starts} | {:.0} ms | – |\n\
         | peak resident memory | {:.0} MiB | – |\n\
         | p50 at {rate} requests/s for {seconds} s | {} | {} |\n\
         | p99 at {rate} requests/s for {seconds} s | {} | {} |\n",
        number("/cold_start_ms_median"),
        number("/resident_mib"),
        us("/route_us/p50"),
        us("/echo_us/p50"),
        us("/route_us/p99"),
        us("/echo_us/p99"),
    ))
}

fn time(ns: f64) -> String {
    match ns {
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e6 => format!("{:.1} µs", ns / 1e3),
        ns => format!("{:.2} ms", ns / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_against_the_echo_of_the_same_parameter() {
        let bench = |function: &str, parameter: &str, p50_ns: f64| Bench {
            group: "grpc".into(),
            function: function.into(),
            parameter: parameter.into(),
            p50_ns,
            p99_ns: 2.0 * p50_ns,
        };
        let benches =
            [bench("echo", "1", 100_000.0), bench("route", "1", 130_000.0), bench("route", "8", 9.0)];
        let text = report(&benches, "somewhere");
        assert!(text.contains("| route | 1 | 130.0 µs | 260.0 µs | 1.30 |"), "{text}");
        assert!(text.contains("| route | 8 | 9 ns | 18 ns | – |"), "{text}");
        assert!(text.contains("| echo | 1 | 100.0 µs | 200.0 µs | – |"), "{text}");
    }

    #[test]
    fn samples_are_read_as_criterion_writes_them() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("benchmark.json", r#"{"group_id":"g","function_id":"f","value_str":"64"}"#);
        write("sample.json", r#"{"iters":[1.0,2.0,4.0],"times":[30.0,20.0,80.0]}"#);
        let bench = read(folder.path()).unwrap();
        assert_eq!((bench.p50_ns, bench.p99_ns, bench.parameter.as_str()), (20.0, 30.0, "64"));
    }
}
