//! The memory as callers and operators see it: what was decided is written down, reports join it once, monitors hear what
//! breaks, and all of it is there again after a restart.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use crate::support::{log_url, logged, logging, serve};
use api::v1;
use api::v1::monitor_service_client::MonitorServiceClient;
use api::v1::outcome_service_client::OutcomeServiceClient;
use api::v1::report_outcome_request::Outcome as Said;
use api::v1::route_request::Input;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use server::config::Settings;
use tonic::Code;

fn text(text: &str) -> v1::RouteRequest {
    let labels = [("tenant".to_owned(), "7".to_owned())].into();
    let input = Some(Input::Text(text.to_owned()));
    v1::RouteRequest { request_id: "r-1".into(), input, labels, ..Default::default() }
}

fn report(decision_id: &str, source: &str, said: Said) -> v1::ReportOutcomeRequest {
    let (decision_id, source) = (decision_id.to_owned(), source.to_owned());
    v1::ReportOutcomeRequest { decision_id, source, observed_us: None, outcome: Some(said) }
}

fn graded(small: f64, large: f64) -> Said {
    let models = [("starter-small".to_owned(), small), ("starter-large".to_owned(), large)];
    Said::Graded(v1::Graded { scores: models.into() })
}

#[tokio::test]
async fn what_was_decided_is_written_down_and_prompts_only_where_asked() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(logging(folder.path())).await;
    let answer = server.client().await.route(text("What is 2 + 2?")).await.unwrap().into_inner();
    let again = server.client().await.route(text("What is 2 + 2?")).await.unwrap().into_inner();
    server.end().await;
    let records = logged(log_url(folder.path())).await;
    let record = &records[&answer.decision_id].decision;
    assert_eq!((record.version, record.request_id.as_str()), (1, "r-1"));
    assert_eq!((&record.artifact_version, &record.tier), (&answer.artifact_version, &"weak".to_owned()));
    assert_eq!((record.evidence.len(), record.features.script.as_str()), (1, "latin"));
    assert_eq!((record.features.tokens, record.features.bytes), (answer.input_tokens_used, 14));
    assert_eq!((&record.slices[..], record.prompt.as_deref()), (&["tenant:7".to_owned()][..], None));
    assert_eq!(record.fingerprint, records[&again.decision_id].decision.fingerprint);
    let on_disk = std::fs::read(folder.path().join("log.db")).unwrap();
    assert!(!on_disk.windows(8).any(|bytes| bytes == b"What is "), "the text is nowhere in the file");

    let other = tempfile::tempdir().unwrap();
    let mut settings = logging(other.path());
    settings.decision_log.prompts = Some(true);
    settings.decision_log.redact = vec![r"\d+".into()];
    let server = serve(settings).await;
    let answer = server.client().await.route(text("What is 2 + 2?")).await.unwrap().into_inner();
    server.end().await;
    let records = logged(log_url(other.path())).await;
    let kept = records[&answer.decision_id].decision.prompt.as_deref();
    assert_eq!(kept, Some("What is [redacted] + [redacted]?"));
    let of_key = &records[&answer.decision_id].decision.fingerprint;
    assert_ne!(*of_key, record.fingerprint, "another key");
}

#[tokio::test]
async fn a_report_counts_once_and_bad_ones_name_their_field() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(logging(folder.path())).await;
    let id = server.client().await.route(text("hello")).await.unwrap().into_inner().decision_id;
    let mut outcomes = OutcomeServiceClient::new(server.channel().await);
    let mut status = async |request| outcomes.report_outcome(request).await.map(|r| r.into_inner().status());
    use v1::OutcomeStatus::{Conflict, Duplicate, Recorded};
    let thumbs = |up| Said::Thumbs(v1::Thumbs { up });
    assert_eq!(status(report(&id, "app", thumbs(true))).await.unwrap(), Recorded);
    assert_eq!(status(report(&id, "app", thumbs(true))).await.unwrap(), Duplicate);
    assert_eq!(status(report(&id, "app", thumbs(false))).await.unwrap(), Conflict);
    assert_eq!(status(report(&id, "desk", graded(0.0, 1.0))).await.unwrap(), Recorded);
    // Nobody has decided that; it is kept, and joins nothing.
    let unknown = uuid::Uuid::now_v7().to_string();
    assert_eq!(status(report(&unknown, "app", thumbs(true))).await.unwrap(), Recorded);
    let future = uuid::Uuid::new_v7(uuid::Timestamp::from_unix_time(4_000_000_000, 0, 0, 0)).to_string();
    let none = v1::ReportOutcomeRequest { outcome: None, ..report(&id, "app", thumbs(true)) };
    let early = v1::ReportOutcomeRequest { observed_us: Some(-1), ..report(&id, "x", thumbs(true)) };
    for (bad, field) in [
        (report("not-an-id", "app", thumbs(true)), "decision_id"),
        (report("6f1e7f3a-0000-4000-8000-000000000000", "app", thumbs(true)), "decision_id"),
        (report(&future, "app", thumbs(true)), "decision_id"),
        (report(&id, "", thumbs(true)), "source"),
        (report(&id, "app", graded(1.5, 0.0)), "graded.scores"),
        (none, "outcome"),
        (early, "observed_us"),
    ] {
        let refused = status(bad).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().starts_with(&format!("{field}: expected")), "{refused:?}");
    }
    let old = uuid::Uuid::new_v7(uuid::Timestamp::from_unix_time(1_600_000_000, 0, 0, 0)).to_string();
    let late = outcomes.report_outcome(report(&old, "app", thumbs(true))).await.unwrap().into_inner();
    assert!(late.late);
    // A bad one among many does not spoil the others.
    let reports =
        vec![report(&id, "a", thumbs(true)), report("?", "a", thumbs(true)), report(&id, "a", thumbs(true))];
    let items =
        outcomes.report_outcomes(v1::ReportOutcomesRequest { reports: reports.clone() }).await.unwrap();
    let items: Vec<_> = items.into_inner().items.into_iter().map(|item| item.result.unwrap()).collect();
    use v1::outcome_item::Result::{Error, Response};
    let [Response(first), Error(second), Response(third)] = &items[..] else { panic!("{items:?}") };
    assert_eq!((first.status(), third.status(), second.field.as_str()), (Recorded, Duplicate, "decision_id"));
    let streamed = outcomes.report_outcome_stream(tokio_stream::iter(reports)).await.unwrap().into_inner();
    let streamed: Vec<_> = tokio_stream::StreamExt::collect(streamed).await;
    assert_eq!(streamed.len(), 3);
    server.end().await;
    let records = logged(log_url(folder.path())).await;
    let joined = &records[&id];
    assert_eq!((joined.outcomes.len(), joined.labels().len()), (3, 1));
    assert!(joined.labels()[0].strong_better);
    assert_eq!(records.len(), 1);
}

/// A place that takes posts and gives their bodies to the test.
fn webhook() -> (String, std::sync::mpsc::Receiver<serde_json::Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/alarms", listener.local_addr().unwrap());
    let (sender, posted) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut length, mut line) = (0, String::new());
            while reader.read_line(&mut line).unwrap() > 2 {
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").unwrap();
            if sender.send(serde_json::from_slice(&body).unwrap()).is_err() {
                return;
            }
        }
    });
    (url, posted)
}

fn watched(folder: &std::path::Path, webhook: &str) -> Settings {
    let mut settings = logging(folder);
    settings.monitoring.reference = Some(200);
    settings.monitoring.window = Some(100);
    settings.monitoring.webhook = Some(webhook.to_owned());
    settings
}

/// Routes starter queries and reports on each; strong wins by the odds that were said, shifted by `shift`.
async fn live(server: &crate::support::Running, rng: &mut ChaCha8Rng, n: usize, shift: f64) {
    let mut client = server.client().await;
    let mut outcomes = OutcomeServiceClient::new(server.channel().await);
    let examples = corpus::starter::generate(500, 21);
    for _ in 0..n {
        let example = &examples[rng.random_range(0..examples.len())];
        let query: String = example.query.parts().map(|(_, text)| text).collect();
        let answer = client.route(text(&query)).await.unwrap().into_inner();
        let p = answer.evidence[0].win_probability.clamp(0.01, 0.99);
        let odds = p / (1.0 - p) * f64::exp(shift);
        let strong = f64::from(u8::from(rng.random_bool(odds / (1.0 + odds))));
        let request = report(&answer.decision_id, "desk", graded(1.0 - strong, strong));
        outcomes.report_outcome(request).await.unwrap();
    }
}

async fn standing(server: &crate::support::Running, labels: u64) -> v1::GetMonitorsResponse {
    let mut monitors = MonitorServiceClient::new(server.channel().await);
    loop {
        let now = monitors.get_monitors(v1::GetMonitorsRequest {}).await.unwrap().into_inner();
        if now.monitors.first().is_some_and(|all| all.labels >= labels) {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_breaks_is_heard_everywhere_and_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (url, posted) = webhook();
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let server = serve(watched(folder.path(), &url)).await;
    live(&server, &mut rng, 400, 0.0).await;
    let before = standing(&server, 400).await;
    assert_eq!((before.monitors.len(), before.leads), (1, true));
    let all = &before.monitors[0];
    assert_eq!((all.pair.as_str(), all.decisions), ("starter-large/starter-small", 400));
    assert!(all.reference_complete && all.buckets.len() > 3 && all.target_strong_call_rate.is_some());
    server.end().await;

    // The same state goes on in another process, and the alarm comes when calibration breaks.
    let server = serve(watched(folder.path(), &url)).await;
    let resumed = standing(&server, 400).await;
    assert_eq!(resumed.monitors, before.monitors);
    let mut monitors = MonitorServiceClient::new(server.channel().await);
    let mut alarms = monitors.watch_alarms(v1::WatchAlarmsRequest { recent: 0 }).await.unwrap().into_inner();
    let mut labels = 400;
    let alarm = loop {
        live(&server, &mut rng, 100, 1.6).await;
        labels += 100;
        let now = standing(&server, labels).await;
        if now.alarms_by_monitor.contains_key("calibration") {
            break loop {
                let alarm = alarms.message().await.unwrap().unwrap();
                if alarm.monitor == "calibration" {
                    break alarm;
                }
            };
        }
        assert!(labels < 1_500, "{now:?}");
    };
    assert!(alarm.evidence.contains("more often than said") && alarm.action.contains("training recalibrate"));
    assert!(alarm.since_us > 0 && alarm.since_us <= alarm.time_us && alarm.statistic > alarm.limit);
    let told = std::iter::from_fn(|| posted.recv_timeout(Duration::from_secs(20)).ok());
    let told = told.into_iter().find(|body| body["alarm"]["monitor"] == "calibration").unwrap();
    assert_eq!(told["alarm"]["evidence"], alarm.evidence.as_str());
    let past = monitors.watch_alarms(v1::WatchAlarmsRequest { recent: 100 }).await.unwrap().into_inner();
    let past: Vec<_> = tokio_stream::StreamExt::collect(tokio_stream::StreamExt::take(past, 1)).await;
    assert_eq!(past.len(), 1, "alarms of the past are told to who asks");
    let log = standing(&server, labels).await.log.unwrap();
    assert_eq!((log.dropped, log.rejected, log.store_up), (0, 0, true));
    server.end().await;
}

#[tokio::test]
async fn a_log_that_cannot_be_kept_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let config = |url: &str| {
        let mut settings = logging(folder.path());
        settings.decision_log.url = Some(url.to_owned());
        settings.build().unwrap()
    };
    let run = async |url: &str| {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refused =
            server::run(listener, crate::support::router(), &config(url), std::future::pending()).await;
        refused.unwrap_err().to_string()
    };
    let refused = run("redis://somewhere").await;
    assert!(refused.contains("expected sqlite:PATH or postgres://"), "{refused}");
    std::fs::write(folder.path().join("no.db"), "this is no database, and it is long enough to be read")
        .unwrap();
    let refused = run(&format!("sqlite:{}/no.db", folder.path().display())).await;
    assert!(refused.contains("not a database"), "{refused}");
    let held = serve(logging(folder.path())).await;
    held.client().await.get_info(v1::GetInfoRequest {}).await.unwrap();
    let refused = run(&log_url(folder.path())).await;
    assert!(refused.contains("another process spools here"), "{refused}");
}
