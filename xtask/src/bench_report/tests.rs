//! Tests of the report from files as criterion writes them.

use super::*;

fn write_bench(folder: &Path, group: &str, function: &str, value: &str, times: &[f64]) {
    let new = folder.join(group).join(function).join(value).join("new");
    fs::create_dir_all(&new).expect("a folder");
    let identity = serde_json::json!({
        "group_id": group, "function_id": function, "value_str": value, "throughput": null,
        "full_id": format!("{group}/{function}/{value}"),
    });
    let median = serde_json::json!({"median": {"point_estimate": times[0] / 2.0, "standard_error": 0.0}});
    let sample =
        serde_json::json!({"sampling_mode": "Flat", "iters": vec![2.0; times.len()], "times": times});
    for (name, json) in [("benchmark", identity), ("estimates", median), ("sample", sample)] {
        fs::write(new.join(format!("{name}.json")), json.to_string()).expect("a file");
    }
}

fn machine() -> Machine {
    let text = ToString::to_string;
    Machine { cpu: text("A CPU"), cores: 2, rustc: text("rustc 1.95.0"), commit: text("abc1234") }
}

#[test]
fn a_report_holds_times_per_iteration_and_the_ratio_to_the_echo_of_the_same_parameter() {
    let folder = tempfile::tempdir().expect("a folder");
    write_bench(folder.path(), "wire", "route", "64", &[3_000.0, 9_000.0]);
    write_bench(folder.path(), "wire", "route", "8", &[6_000_000.0]);
    write_bench(folder.path(), "wire", "echo", "64", &[2_000.0]);
    write_bench(folder.path(), "decide", "whole", "16", &[40.0]);
    let report = render(&read(folder.path()).expect("readable"), &machine());
    for line in
        ["A CPU, 2 cores, rustc 1.95.0", "at commit abc1234", "## decide\n\n| bench | p50 | p99 |\n|---"]
    {
        assert!(report.contains(line), "{line} is missing:\n{report}");
    }
    let rows: Vec<&str> = report.lines().filter(|line| line.contains('/') && line.starts_with('|')).collect();
    assert_eq!(
        rows,
        [
            "| whole/16 | 20.0 ns | 20.0 ns |",
            "| echo/64 | 1.00 µs | 1.00 µs | 1.00× |",
            "| route/8 | 3.00 ms | 3.00 ms |  |",
            "| route/64 | 1.50 µs | 4.50 µs | 1.50× |",
        ]
    );
}

#[test]
fn no_benches_is_an_error_that_says_what_to_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = read(&folder.path().join("absent")).expect_err("nothing there");
    assert!(error.to_string().contains("cargo bench -p benches"), "{error}");
}

#[test]
fn a_sample_without_its_counts_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    write_bench(folder.path(), "g", "f", "1", &[1.0, 2.0]);
    let sample = folder.path().join("g/f/1/new/sample.json");
    fs::write(sample, r#"{"iters": [1.0], "times": [1.0, 2.0]}"#).expect("a file");
    let error = read(folder.path()).expect_err("one count for two times");
    assert!(error.to_string().contains("1 counts and 2 times"), "{error}");
}

#[test]
fn quantiles_are_nearest_ranks() {
    let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
    assert_eq!(quantile(&hundred, 0.99).to_bits(), 99.0_f64.to_bits());
    assert_eq!(quantile(&[7.0], 0.99).to_bits(), 7.0_f64.to_bits());
}

#[test]
fn durations_take_the_unit_that_reads_best() {
    let shown = [0.5, 12.34, 999.0, 20_500.0, 3.2e6, 2.5e9].map(duration);
    assert_eq!(shown, ["0.50 ns", "12.3 ns", "999 ns", "20.5 µs", "3.20 ms", "2.50 s"]);
}

#[test]
fn a_cpu_without_a_name_is_its_architecture() {
    assert_eq!(cpu_name("processor\t: 0\nmodel name\t: A CPU @ 2GHz\n"), "A CPU @ 2GHz");
    assert_eq!(cpu_name(""), std::env::consts::ARCH);
}
