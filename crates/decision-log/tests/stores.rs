//! One suite for every store: what is appended comes back, twice is once, reports are kept apart by source, days are
//! dropped whole, and several writers lose nothing of each other.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use decision_log::{
    Batch, Cursor, DecisionRecord, Event, Follower, Outcome, OutcomeRecord, Reported, Retention, Store, open,
    open_existing, read,
};
use proptest::prelude::*;
use support::{Postgres, decision, decision_at, now_us, report};

fn batch(decisions: Vec<DecisionRecord>) -> Batch {
    Batch { decisions, outcomes: vec![] }
}

async fn what_is_appended_comes_back_once(store: &dyn Store) {
    let mut odd = decision(0.1 + 0.2);
    odd.prompt = Some("line\nwith \"quotes\", commas\tand \\N and 🦀".into());
    odd.threshold = 1.0 + f64::EPSILON;
    odd.labels.insert("key,\"".into(), "\\.".into());
    let empty = DecisionRecord { prompt: Some(String::new()), ..decision(0.5) };
    let mut records = vec![decision(0.25), odd, empty];
    records.sort_by_key(|d| d.decision_id);
    assert_eq!(store.append(&batch(records.clone())).await.unwrap().decisions, 3);
    assert_eq!(store.append(&batch(records.clone())).await.unwrap().decisions, 0, "a second time");
    let page = store.decisions_after(Cursor::default(), 10).await.unwrap();
    let mut found: Vec<DecisionRecord> = page.rows.iter().map(|(_, d)| d.clone()).collect();
    found.sort_by_key(|d| d.decision_id);
    assert_eq!(found, records);
    let second = store.decisions_after(page.rows[0].0, 1).await.unwrap();
    assert_eq!(second.rows, page.rows[1..2]);
    assert!(store.decisions_after(page.end(Cursor::default()), 10).await.unwrap().rows.is_empty());
    let ids = [records[2].decision_id, records[0].decision_id, support::id_at(1)];
    let of: BTreeSet<_> =
        store.decisions_of(&ids).await.unwrap().into_iter().map(|(_, d)| d.decision_id).collect();
    assert_eq!(of, BTreeSet::from([ids[0], ids[1]]));
}

async fn reports_are_kept_by_source(store: &dyn Store) {
    let of = decision(0.3);
    let thumb = |up| Outcome::Thumbs { up };
    // The report comes before its decision.
    let first = report(&of, "users", thumb(true));
    let early = Batch { decisions: vec![], outcomes: vec![first.clone()] };
    assert_eq!(store.append(&early).await.unwrap().outcomes, [Reported::Recorded]);
    assert_eq!(store.unknown_outcomes().await.unwrap(), 1);
    store.append(&batch(vec![of.clone()])).await.unwrap();
    assert_eq!(store.unknown_outcomes().await.unwrap(), 0);
    let outcomes = vec![
        first.clone(),
        report(&of, "users", thumb(false)),
        report(&of, "desk", thumb(false)),
        report(&of, "desk", thumb(false)),
        report(&of, "desk", thumb(true)),
    ];
    let expected = [
        Reported::Duplicate,
        Reported::Conflict,
        Reported::Recorded,
        Reported::Duplicate,
        Reported::Conflict,
    ];
    let again = Batch { decisions: vec![], outcomes };
    assert_eq!(store.append(&again).await.unwrap().outcomes, expected);
    let kept = store.outcomes_of(&[of.decision_id]).await.unwrap();
    let said: BTreeSet<(String, bool)> =
        kept.into_iter().map(|(_, o)| (o.source, o.outcome == thumb(true))).collect();
    assert_eq!(said, [("users".to_owned(), true), ("desk".to_owned(), false)].into());
    let page = store.outcomes_after(Cursor::default(), 10).await.unwrap();
    assert!(page.rows.iter().any(|(_, o)| *o == first));
}

async fn old_days_go_whole(store: &dyn Store) {
    const DAY: i64 = 86_400_000_000;
    let now = now_us();
    let mut old = decision_at(now - 40 * DAY, 0.2);
    old.prompt = Some("old".into());
    let mut recent = decision_at(now - 5 * DAY, 0.2);
    recent.prompt = Some("recent".into());
    let outcomes =
        vec![report(&old, "desk", Outcome::Resubmission), report(&recent, "desk", Outcome::Resubmission)];
    store.append(&Batch { decisions: vec![old.clone(), recent.clone()], outcomes }).await.unwrap();
    let days = |n: u64| Some(Duration::from_secs(86_400 * n));
    let removed = store.retain(&Retention { records: days(30), prompts: days(2) }, now).await.unwrap();
    assert_eq!((removed.days, removed.days_of_prompts), (1, 2));
    assert!(store.decisions_of(&[old.decision_id]).await.unwrap().is_empty());
    assert!(store.outcomes_of(&[old.decision_id]).await.unwrap().is_empty());
    let kept = store.decisions_of(&[recent.decision_id]).await.unwrap().remove(0).1;
    assert_eq!(kept, DecisionRecord { prompt: None, ..recent });
    // What comes late for a day that is gone is taken all the same.
    assert_eq!(store.append(&batch(vec![old])).await.unwrap().decisions, 1);
}

async fn state_is_kept(store: &dyn Store) {
    assert_eq!(store.state("watch").await.unwrap(), None);
    for value in ["{\"a\": 1}", "{}"] {
        store.keep_state("watch", value).await.unwrap();
        assert_eq!(store.state("watch").await.unwrap().as_deref(), Some(value));
    }
}

async fn the_suite(url: &str) {
    let store = open(url).await.unwrap();
    what_is_appended_comes_back_once(store.as_ref()).await;
    reports_are_kept_by_source(store.as_ref()).await;
    old_days_go_whole(store.as_ref()).await;
    state_is_kept(store.as_ref()).await;
    each_report_is_told_once(store.as_ref()).await;
    assert!(store.leads().await.unwrap() && store.leads().await.unwrap());
    if url == "sqlite::memory:" {
        return;
    }
    drop(store);
    // Opened again it is still there, and nothing is migrated twice.
    let again = open_existing(url).await.unwrap();
    assert_eq!(again.state("watch").await.unwrap().as_deref(), Some("{}"));
}

/// Reports before, with and after their decisions: each is told once, with its decision.
async fn each_report_is_told_once(store: &dyn Store) {
    let mut follower = Follower::at_end(store).await.unwrap();
    let hour = Duration::from_secs(3_600);
    let records: Vec<DecisionRecord> = (0..3).map(|_| decision(0.5)).collect();
    let said = |of: &DecisionRecord, source: &str| report(of, source, Outcome::Thumbs { up: true });
    let late = OutcomeRecord { time_us: records[2].time_us + 7_200_000_000, ..said(&records[2], "late") };
    let early = vec![said(&records[0], "early")];
    let steps = [
        Batch { decisions: vec![], outcomes: early },
        Batch {
            decisions: vec![records[0].clone(), records[1].clone()],
            outcomes: vec![said(&records[1], "with")],
        },
        Batch { decisions: vec![records[2].clone()], outcomes: vec![said(&records[1], "after"), late] },
    ];
    let mut told = Vec::new();
    for step in &steps {
        store.append(step).await.unwrap();
        // What another writer may still overtake comes a little later.
        for _ in 0..3 {
            let mut tell = |event: Event<'_>| match event {
                Event::Decision(d) => told.push((d.decision_id, "decision".to_owned(), 0)),
                Event::Outcome { decision, before, outcome } => {
                    told.push((decision.decision_id, outcome.source.clone(), before.len()));
                }
            };
            while follower.advance(store, hour, &mut tell).await.unwrap() {}
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    told.sort();
    let of = |i: usize, what: &str, before| (records[i].decision_id, what.to_owned(), before);
    let mut expected = vec![
        of(0, "decision", 0),
        of(0, "early", 0),
        of(1, "decision", 0),
        of(1, "with", 0),
        of(1, "after", 1),
        of(2, "decision", 0),
    ];
    expected.sort();
    assert_eq!(told, expected);
}

/// Several writers at once, and a reader that follows them: it sees every record, once.
async fn two_writers_and_a_reader(url: &str) {
    const EACH: usize = 40;
    let write = |replica: &'static str| {
        let url = url.to_owned();
        tokio::spawn(async move {
            let store = open(&url).await.unwrap();
            let mut ids = BTreeSet::new();
            for i in 0..EACH {
                let records: Vec<_> = (0..10)
                    .map(|_| DecisionRecord { replica: replica.into(), ..decision((i % 10) as f64 / 10.0) })
                    .collect();
                ids.extend(records.iter().map(|d| d.decision_id));
                store.append(&batch(records)).await.unwrap();
            }
            ids
        })
    };
    let (a, b) = (write("a"), write("b"));
    let store = open(url).await.unwrap();
    let (mut at, mut seen, mut quiet) = (Cursor::default(), Vec::new(), 0);
    while quiet < 5 {
        let page = store.decisions_after(at, 37).await.unwrap();
        assert!(page.rows.windows(2).all(|pair| pair[0].0 < pair[1].0));
        at = page.end(at);
        seen.extend(page.rows.iter().map(|(_, d)| d.decision_id));
        let over = a.is_finished() && b.is_finished() && page.rows.is_empty();
        quiet = if over { quiet + 1 } else { 0 };
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut written = a.await.unwrap();
    written.extend(b.await.unwrap());
    assert_eq!(seen.len(), 2 * EACH * 10);
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), written);
}

#[tokio::test]
async fn sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let url = |name: &str| format!("sqlite:{}/{name}/log.db", folder.path().display());
    assert!(open_existing(&url("none")).await.is_err(), "what is only read is not made");
    the_suite(&url("suite")).await;
    two_writers_and_a_reader(&url("two")).await;
    the_suite("sqlite::memory:").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    let Some(postgres) = Postgres::start() else { return };
    the_suite(&postgres.database("suite")).await;
    let two = postgres.database("two");
    open(&two).await.unwrap();
    two_writers_and_a_reader(&two).await;
    let (first, second) = (open(&two).await.unwrap(), open(&two).await.unwrap());
    assert!(first.leads().await.unwrap() && !second.leads().await.unwrap());
    drop(first);
    let mut led = false;
    for _ in 0..100 {
        led = second.leads().await.unwrap();
        if led {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(led, "the lock goes with its holder");
}

fn read_all(source: &str, horizon: Duration) -> (Vec<decision_log::Joined>, decision_log::Unjoined) {
    let mut all = Vec::new();
    let unjoined = read(source, horizon, &mut |joined| all.push(joined)).unwrap();
    all.sort_by_key(|joined| joined.decision.decision_id);
    (all, unjoined)
}

#[test]
fn a_log_and_its_export_read_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}/log.db", folder.path().display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let hour = Duration::from_secs(3_600);
    runtime.block_on(async {
        let store = open(&url).await.unwrap();
        let mut decisions: Vec<_> = (0..50).map(|i| decision(f64::from(i) / 50.0)).collect();
        decisions[3].prompt = Some("kept".into());
        decisions[7] = decision_at(now_us() - 90_000_000_000, 0.4);
        let mut outcomes: Vec<_> =
            decisions.iter().map(|d| report(d, "desk", Outcome::Preference { strong: 1.0 })).collect();
        outcomes[5].time_us += 7_200_000_000;
        outcomes.push(report(&decision(0.5), "desk", Outcome::Resubmission));
        store.append(&Batch { decisions, outcomes }).await.unwrap();
    });
    let (from_store, unjoined) = read_all(&url, hour);
    assert_eq!((from_store.len(), unjoined.unknown, unjoined.late), (50, 1, 1));
    assert_eq!(from_store.iter().filter(|joined| joined.labels().len() == 1).count(), 49);
    let out = folder.path().join("export");
    let mut export = decision_log::parquet::Export::to(&out);
    for joined in &from_store {
        export.decision(joined.decision.clone()).unwrap();
        joined.outcomes.iter().for_each(|o| export.outcome(o.clone()).unwrap());
    }
    let files = export.finish().unwrap();
    assert_eq!(files.len(), 4, "two days of either: {files:?}");
    let (from_files, unjoined) = read_all(out.to_str().unwrap(), hour);
    assert_eq!(from_files, from_store);
    assert_eq!((unjoined.unknown, unjoined.late), (0, 0));
    std::fs::write(&files[0], "PAR1 and nothing else").unwrap();
    let error = read(out.to_str().unwrap(), hour, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("part-0.parquet"), "{error}");
    let error = read("nowhere", hour, &mut |_| {}).unwrap_err().to_string();
    assert!(error.starts_with("nowhere: expected sqlite:PATH"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_record_comes_back_to_the_bit(
        p in 0.0..=1.0f64, score in prop::num::f64::NORMAL, text in ".{0,40}", labels in prop::collection::btree_map(".{0,8}", ".{0,8}", 0..3),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut record = decision(p);
        record.evidence[0].score = score;
        record.prompt = Some(decision_log::clean(text.clone()));
        record.request_id = text;
        record.labels = labels;
        let found = runtime.block_on(async {
            let store = open("sqlite::memory:").await.unwrap();
            store.append(&batch(vec![record.clone()])).await.unwrap();
            store.decisions_after(Cursor::default(), 1).await.unwrap().rows.remove(0).1
        });
        prop_assert_eq!(found, record);
    }
}
