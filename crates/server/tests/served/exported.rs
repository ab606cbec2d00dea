//! What is exported, what is documented, what the dashboard draws and what the alert rules look at are the same names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::scrape::{Scrape, free};
use crate::support::{cascade, deep, logging};
use api::v1;
use api::v1::outcome_service_client::OutcomeServiceClient;
use api::v1::report_outcome_request::Outcome;
use api::v1::route_request::Input;
use promql_parser::parser::{self, Expr, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};
use server::config::Settings;
use server::telemetry::{CATALOGUE, Kind};

/// What this server has nothing to tell of: it has no certificate, and nothing is read again.
const UNSEEN: [&str; 2] = ["rung_certificate_expiry_timestamp_seconds", "rung_reloads_total"];

/// What Prometheus itself puts beside every series.
const OF_THE_SCRAPE: [&str; 2] = ["instance", "job"];

const POLICY: &str = r#"version = 1
default = "general"

[strategy.general]
kind = "predictive"
fallback = "safe"

[strategy.safe]
kind = "model"
model = "starter-large"

[strategy.cheap]
kind = "model"
tier = "weak"

[[rule]]
when = { slice = "careful" }
use = "safe"

[budget]
strong_calls_per_minute = 2
cost_usd_per_day = 100.0
when_spent = "cheap"
"#;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// Settings under which as much as possible is told.
fn everything(folder: &Path) -> Settings {
    let mut prices = "valid_on = \"2026-11-01\"\n[call]\ninput_tokens = 1000\noutput_tokens = 0\n".to_owned();
    for model in ["starter-small", "starter-large"] {
        prices.push_str(&format!(
            "[models.{model:?}]\ninput_usd_per_million_tokens = 1\noutput_usd_per_million_tokens = 1\n"
        ));
    }
    std::fs::write(folder.join("policy.toml"), POLICY).unwrap();
    std::fs::write(folder.join("prices.toml"), prices).unwrap();
    let mut settings = Settings {
        policy: Some(folder.join("policy.toml")),
        prices: Some(folder.join("prices.toml")),
        deep_deadline_ms: Some(600_000),
        verifier: cascade::settings(folder).verifier,
        ..logging(folder)
    };
    settings.telemetry.http_listen = Some(free());
    // Nobody listens there: what becomes of spans is told all the same.
    settings.telemetry.otlp_endpoint = Some(format!("http://{}", free()));
    settings.telemetry.otlp_interval_ms = Some(3_600_000);
    settings.drain_timeout_ms = Some(1_000);
    settings.monitoring.reference = Some(10);
    settings.monitoring.window = Some(5);
    settings
}

/// Asks for everything that a server does.
async fn ask(server: &crate::support::Running) {
    let mut client = server.client().await;
    let of = |i: usize, tier: v1::TierWish, label: &str| v1::RouteRequest {
        input: Some(Input::Text(format!("question number {i}"))),
        tier: tier.into(),
        labels: [(label.to_owned(), "true".to_owned())].into(),
        ..Default::default()
    };
    let mut last = String::new();
    for i in 0..30 {
        let answer = client.route(of(i, v1::TierWish::DeepAlways, "careful")).await.unwrap().into_inner();
        last = answer.decision_id;
        client.route(of(i, v1::TierWish::DeepAlways, "other")).await.unwrap();
    }
    // The encoder is too late for a caller that hardly waits.
    let mut hasty = tonic::Request::new(of(0, v1::TierWish::DeepAlways, "other"));
    hasty.set_timeout(Duration::from_millis(4));
    let _ = client.route(hasty).await;
    let medium = v1::RouteRequest {
        models: Some(v1::route_request::Models::Pair(v1::Pair {
            strong: "starter-large".into(),
            weak: "starter-medium".into(),
        })),
        at: Some(v1::route_request::At::Threshold(1.0)),
        ..of(0, v1::TierWish::FastOnly, "other")
    };
    client.route(medium).await.unwrap();
    client.route(v1::RouteRequest::default()).await.unwrap_err();
    let report = v1::ReportOutcomeRequest {
        decision_id: last,
        source: "test".into(),
        outcome: Some(Outcome::Thumbs(v1::Thumbs { up: true })),
        ..Default::default()
    };
    OutcomeServiceClient::new(server.channel().await).report_outcome(report).await.unwrap();
    let mut cascades = cascade::client(server).await;
    cascades.plan_cascade(cascade::planning()).await.unwrap();
    cascades.assess(cascade::at_stage(0, cascade::bytes(1_000))).await.unwrap();
}

/// Kind and labels by name, as a running server has them. Labels that only some series have are among them.
async fn exported() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let folder = tempfile::tempdir().unwrap();
    let settings = everything(folder.path());
    let http = settings.telemetry.http_listen.unwrap();
    let server = deep::serve(settings).await;
    ask(&server).await;
    let watched = async {
        loop {
            let scrape = Scrape::of(http).await;
            if scrape.sum("rung_monitor_statistic", &[("monitor", "probability_psi")]) > 0.0 {
                return scrape;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let scrape = tokio::time::timeout(Duration::from_secs(60), watched).await.unwrap();
    server.end().await;
    let mut exported = BTreeMap::new();
    for (name, kind) in &scrape.kinds {
        let labels = scrape.series.keys().filter(|series| {
            let bare =
                series.name.trim_end_matches("_bucket").trim_end_matches("_sum").trim_end_matches("_count");
            series.name == *name || (kind == "histogram" && bare == name)
        });
        let labels = labels.flat_map(|series| series.labels.keys().cloned()).filter(|label| label != "le");
        exported.insert(name.clone(), (kind.clone(), labels.collect()));
    }
    exported
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_catalogue_is_what_is_exported() {
    let exported = exported().await;
    for (name, (kind, labels)) in exported.iter().filter(|(name, _)| name.starts_with("rung_")) {
        let spec = CATALOGUE.iter().find(|spec| spec.name == name);
        let spec = spec.unwrap_or_else(|| panic!("{name} is not in the catalogue"));
        assert_eq!(spec.kind.as_str(), kind, "{name}");
        let said: BTreeSet<String> = spec.labels.iter().map(|label| (*label).to_owned()).collect();
        assert_eq!(said, *labels, "{name}");
    }
    let missing: Vec<_> = CATALOGUE
        .iter()
        .map(|spec| spec.name)
        .filter(|name| !exported.contains_key(*name) && !UNSEEN.contains(name))
        .collect();
    assert!(missing.is_empty(), "never exported: {missing:?}");
    for name in ["process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"] {
        assert!(exported.contains_key(name), "{name}");
    }
    assert!(exported.keys().all(|name| name.starts_with("rung_") || name.starts_with("process_")));
}

/// The labels that a series of this name may have; `None` where nothing has the name.
fn labels_of(name: &str) -> Option<BTreeSet<&'static str>> {
    let mut labels = BTreeSet::from(OF_THE_SCRAPE);
    if name == "up" || name == "ALERTS" {
        return Some(labels);
    }
    if ["process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"].contains(&name) {
        return Some(labels);
    }
    let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| {
        let family = name.strip_suffix(suffix)?;
        Some((CATALOGUE.iter().find(|spec| spec.name == family && spec.kind == Kind::Histogram)?, *suffix))
    });
    let spec = match of_histogram {
        Some((spec, suffix)) => {
            labels.extend((suffix == "_bucket").then_some("le"));
            spec
        }
        None => CATALOGUE.iter().find(|spec| spec.name == name && spec.kind != Kind::Histogram)?,
    };
    labels.extend(spec.labels);
    Some(labels)
}

/// Everything that an expression names, held against the catalogue.
#[derive(Default)]
struct Names {
    wrong: Vec<String>,
    /// Labels of the series below.
    below: BTreeSet<&'static str>,
    selectors: usize,
}

impl Names {
    fn selector(&mut self, selector: &VectorSelector) {
        self.selectors += 1;
        let name = selector.name.clone().unwrap_or_default();
        let Some(labels) = labels_of(&name) else { return self.wrong.push(format!("no metric {name:?}")) };
        for matcher in &selector.matchers.matchers {
            if !labels.contains(matcher.name.as_str()) {
                self.wrong.push(format!("{name} has no label {}", matcher.name));
            }
        }
        self.below.extend(labels);
    }
}

impl ExprVisitor for Names {
    type Error = String;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, String> {
        match expr {
            Expr::VectorSelector(selector) => self.selector(selector),
            Expr::MatrixSelector(matrix) => self.selector(&matrix.vs),
            Expr::Aggregate(aggregate) => {
                let mut inner = Self::default();
                walk_expr(&mut inner, &aggregate.expr)?;
                for label in aggregate.modifier.iter().flat_map(|modifier| &modifier.labels().labels) {
                    if !inner.below.contains(label.as_str()) {
                        self.wrong.push(format!("nothing below has the label {label}: {expr}"));
                    }
                }
            }
            _ => {}
        }
        Ok(true)
    }
}

/// What is wrong with an expression and with the labels that a text beside it shows.
fn wrong_with(expr: &str, shown: &str) -> Vec<String> {
    let plain = expr.replace("$__rate_interval", "5m");
    let parsed = parser::parse(&plain).unwrap_or_else(|error| panic!("{error}: {expr}"));
    let mut names = Names::default();
    walk_expr(&mut names, &parsed).unwrap();
    assert!(names.selectors > 0, "{expr} looks at nothing");
    for label in shown.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
        let label = label.trim();
        let label = label.strip_prefix("$labels.").unwrap_or(label);
        if !label.starts_with('$') && !names.below.contains(label) {
            names.wrong.push(format!("{label} is shown, and {expr} has no such label"));
        }
    }
    names.wrong
}

#[test]
fn the_dashboard_draws_what_is_exported() {
    let dashboard: serde_json::Value = serde_json::from_str(&read("deploy/grafana/rung.json")).unwrap();
    let (mut wrong, mut drawn) = (Vec::new(), BTreeSet::new());
    for target in
        dashboard["panels"].as_array().unwrap().iter().filter_map(|panel| panel["targets"].as_array())
    {
        for target in target {
            let expr = target["expr"].as_str().unwrap();
            wrong.extend(wrong_with(expr, target["legendFormat"].as_str().unwrap()));
            drawn.extend(CATALOGUE.iter().map(|spec| spec.name).filter(|name| expr.contains(name)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let undrawn: Vec<_> =
        CATALOGUE.iter().map(|spec| spec.name).filter(|name| !drawn.contains(name)).collect();
    assert!(undrawn.is_empty(), "never drawn: {undrawn:?}");
}

#[derive(Debug, serde::Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Debug, serde::Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Debug, serde::Deserialize)]
struct Rule {
    alert: String,
    expr: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

#[test]
fn alert_rules_look_at_what_is_exported() {
    let rules: Rules = serde_saphyr::from_str(&read("deploy/prometheus/rules.yml")).unwrap();
    let rules: Vec<Rule> = rules.groups.into_iter().flat_map(|group| group.rules).collect();
    let wrong: Vec<_> =
        rules.iter().flat_map(|rule| wrong_with(&rule.expr, &rule.annotations["summary"])).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let documentation = read("docs/observability.md");
    for Rule { alert, labels, annotations, .. } in &rules {
        assert!(["page", "ticket"].contains(&labels["severity"].as_str()), "{alert}");
        assert!(!annotations["runbook"].is_empty(), "{alert}");
        assert!(documentation.contains(&format!("`{alert}`")), "{alert} is not documented");
    }
}

#[test]
fn a_name_that_is_not_exported_is_found() {
    assert!(wrong_with("rung_nonsense_total > 0", "")[0].contains("no metric"));
    assert!(wrong_with("rung_ready{colour=\"red\"}", "")[0].contains("no label colour"));
    assert!(wrong_with("sum by (colour) (rung_ready)", "")[0].contains("the label colour"));
    assert!(wrong_with("rung_win_probability", "")[0].contains("no metric"));
    assert!(wrong_with("rung_ready", "{{colour}}")[0].contains("colour is shown"));
    assert!(wrong_with("rung_ready", "{{instance}} {{ $value | humanize }}").is_empty());
}

#[test]
fn the_documentation_has_the_catalogue() {
    let row = |spec: &server::telemetry::Spec| {
        let labels: Vec<String> = spec.labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{}` | {} | {} | {} |", spec.name, spec.kind.as_str(), labels.join(", "), spec.help)
    };
    let expected: Vec<String> = CATALOGUE.iter().map(row).collect();
    let text = read("docs/observability.md");
    let found: Vec<&str> = text.lines().filter(|line| line.starts_with("| `rung_")).collect();
    assert_eq!(found, expected, "the table should be:\n{}", expected.join("\n"));
}
