//! What happens to records when something fails: the database killed, hung, slow or full, the spool full or spoilt, a record
//! that no store takes. What was accepted is stored in the end, or counted as lost; never neither.
//!
//! `RUNG_FAULTS_FULL=1` makes outages last as long as `docs/reliability.md` says.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use decision_log::{
    Batch, Counts, DecisionLog, DecisionRecord, Filed, LogOptions, Outcome, Overflow, Refusal, Reported,
    open, read,
};
use sqlx::Connection;
use support::{Postgres, decision, report, url};
use uuid::Uuid;

fn options(url: impl Into<String>, folder: &Path) -> LogOptions {
    LogOptions { flush_interval: Duration::from_millis(5), ..LogOptions::new(url, folder.join("spool")) }
}

/// Waits for the counts to be as wanted; who never sees them so has looked often enough.
async fn until(log: &DecisionLog, wanted: impl Fn(&Counts) -> bool) -> Counts {
    for _ in 0..6_000 {
        let counts = log.counts();
        if wanted(&counts) {
            return counts;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?}", log.counts());
}

async fn ids_of(url: &str) -> BTreeSet<Uuid> {
    let url = url.to_owned();
    let all = move || {
        let mut ids = BTreeSet::new();
        read(&url, Duration::MAX, &mut |joined| assert!(ids.insert(joined.decision.decision_id))).unwrap();
        ids
    };
    tokio::task::spawn_blocking(all).await.unwrap()
}

/// Hands over decisions for a while; their ids.
async fn load(log: &DecisionLog, lasting: Duration) -> BTreeSet<Uuid> {
    let (start, mut ids) = (Instant::now(), BTreeSet::new());
    while start.elapsed() < lasting {
        for _ in 0..25 {
            let record = decision(0.3);
            ids.insert(record.decision_id);
            log.decision(record).await;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    ids
}

fn outage() -> Duration {
    let full = std::env::var_os("RUNG_FAULTS_FULL").is_some();
    if full { Duration::from_secs(60) } else { Duration::from_secs(2) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_killed_under_load_loses_nothing() {
    let Some(mut postgres) = Postgres::start() else { return };
    let (url, folder) = (postgres.database("killed"), tempfile::tempdir().unwrap());
    let log = DecisionLog::open(options(&url, folder.path())).unwrap();
    let mut ids = load(&log, Duration::from_millis(500)).await;
    postgres.kill();
    ids.extend(load(&log, outage()).await);
    let known = decision(0.5);
    let thumbs = || report(&known, "app", Outcome::Thumbs { up: true });
    assert_eq!(log.outcomes(vec![thumbs()]).await.unwrap(), [Filed::Spooled]);
    let away = log.counts();
    assert!(!away.store_up && away.spooled > 0 && away.spool_bytes > 0 && away.dropped == 0, "{away:?}");
    postgres.restart();
    ids.extend(load(&log, Duration::from_millis(500)).await);
    let back = until(&log, |c| c.store_up && c.spool_bytes == 0 && c.queued == 0).await;
    assert_eq!(log.outcomes(vec![thumbs()]).await.unwrap(), [Filed::Stored(Reported::Duplicate)]);
    assert_eq!(ids_of(&url).await, ids);
    eprintln!(
        "database killed for {} s: {} decisions handed over, {} logged, {} of them by the spool, {} lost",
        outage().as_secs(),
        ids.len(),
        ids_of(&url).await.len(),
        back.spooled - 1,
        back.dropped
    );
    assert_eq!((back.dropped, back.rejected), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_is_no_reason_not_to_start() {
    let Some(mut postgres) = Postgres::start() else { return };
    let (url, folder) = (postgres.database("away"), tempfile::tempdir().unwrap());
    postgres.kill();
    let log = DecisionLog::open(options(&url, folder.path())).unwrap();
    let ids = load(&log, Duration::from_millis(200)).await;
    assert_eq!(log.close(Duration::from_secs(10)).await.spooled, ids.len() as u64);
    postgres.restart();
    // What an earlier run left in the spool is stored by the next.
    let log = DecisionLog::open(options(&url, folder.path())).unwrap();
    until(&log, |c| c.stored == ids.len() as u64).await;
    assert_eq!(ids_of(&url).await, ids);
    let refused =
        DecisionLog::open(options(url.replace("away", "nobody-made-it"), &folder.path().join("other")));
    assert!(refused.unwrap_err().to_string().contains("does not exist"), "a mistake is told at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_hangs_is_away() {
    let Some(postgres) = Postgres::start() else { return };
    let (url, folder) = (postgres.database("hung"), tempfile::tempdir().unwrap());
    let hasty = LogOptions { patience: Duration::from_millis(500), ..options(&url, folder.path()) };
    let log = DecisionLog::open(hasty).unwrap();
    let mut ids = load(&log, Duration::from_millis(200)).await;
    postgres.signal("STOP");
    ids.extend(load(&log, Duration::from_millis(300)).await);
    until(&log, |c| !c.store_up && c.spooled > 0).await;
    postgres.signal("CONT");
    until(&log, |c| c.store_up && c.spool_bytes == 0 && c.queued == 0).await;
    assert_eq!(ids_of(&url).await, ids);
    assert_eq!(log.counts().dropped, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_write_what_each_decided() {
    let Some(postgres) = Postgres::start() else { return };
    let url = postgres.database("replicas");
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let logs = folders.each_ref().map(|folder| DecisionLog::open(options(&url, folder.path())).unwrap());
    let (a, b) = tokio::join!(load(&logs[0], Duration::from_secs(1)), load(&logs[1], Duration::from_secs(1)));
    for log in logs {
        assert_eq!(log.close(Duration::from_secs(10)).await.dropped, 0);
    }
    assert_eq!(ids_of(&url).await, a.union(&b).copied().collect());
    let shared = DecisionLog::open(options(&url, folders[0].path())).unwrap();
    let second = DecisionLog::open(options(&url, folders[0].path()));
    assert!(second.unwrap_err().to_string().contains("another process spools here"));
    shared.close(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_record_that_no_store_takes_spoils_no_other() {
    let Some(postgres) = Postgres::start() else { return };
    let (url, folder) = (postgres.database("poison"), tempfile::tempdir().unwrap());
    let log = DecisionLog::open(options(&url, folder.path())).unwrap();
    let good = [decision(0.2), decision(0.4)];
    let poison = DecisionRecord { request_id: "nul \0".into(), ..decision(0.3) };
    for record in [&good[0], &poison, &good[1]] {
        log.decision(record.clone()).await;
    }
    let counts = until(&log, |c| c.queued == 0).await;
    assert_eq!((counts.stored, counts.rejected, counts.dropped), (2, 1, 0));
    assert_eq!(ids_of(&url).await, good.map(|d| d.decision_id).into());
    let aside = std::fs::read_to_string(folder.path().join("spool/rejected.jsonl")).unwrap();
    assert!(aside.contains(&poison.decision_id.to_string()));
}

/// Nobody listens there.
const NOWHERE: &str = "postgres://rung@127.0.0.1:1/log";

#[tokio::test]
async fn what_neither_store_nor_spool_takes_is_dropped_and_counted_or_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let small = LogOptions { spool_bytes: 20_000, queue: 50, batch: 10, ..options(NOWHERE, folder.path()) };
    let log = DecisionLog::open(small.clone()).unwrap();
    for _ in 0..500 {
        log.decision(decision(0.3)).await;
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    let counts = log.counts();
    assert!(counts.dropped > 300 && counts.spooled > 0, "{counts:?}");
    assert_eq!(counts.accepted + counts.dropped, 500);
    assert!(counts.spool_bytes <= 20_000 && counts.queued <= 60, "{counts:?}");
    let thumb = report(&decision(0.5), "app", Outcome::Thumbs { up: true });
    assert!(
        matches!(log.outcomes(vec![thumb]).await, Err(Refusal::Overloaded)),
        "a report is refused, not lost"
    );
    let end = log.close(Duration::from_secs(10)).await;
    assert_eq!((end.queued, end.spooled + end.dropped), (0, 500), "{end:?}");

    let other = tempfile::tempdir().unwrap();
    let blocking = LogOptions { overflow: Overflow::Block, spool: other.path().join("spool"), ..small };
    let log = Arc::new(DecisionLog::open(blocking).unwrap());
    let caller = Arc::clone(&log);
    let handed_over = tokio::spawn(async move {
        for _ in 0..500 {
            caller.decision(decision(0.3)).await;
        }
    });
    let full = until(&log, |c| c.spooled > 0 && c.queued >= 50).await;
    assert!(!handed_over.is_finished() && full.accepted < 500, "callers wait: {full:?}");
    assert_eq!(log.counts().dropped, 0);
    handed_over.abort();
}

#[tokio::test]
async fn a_slow_store_delays_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let log = DecisionLog::open(options(url(folder.path()), folder.path())).unwrap();
    // Whoever holds SQLite's lock makes every commit as slow as a disk that does not sync.
    let file = format!("sqlite:{}/log.db", folder.path().display());
    let mut holder = sqlx::SqliteConnection::connect(&file).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut holder).await.unwrap();
    let ids = load(&log, Duration::from_secs(1)).await;
    assert!(log.counts().stored < ids.len() as u64 && log.counts().dropped == 0);
    sqlx::query("COMMIT").execute(&mut holder).await.unwrap();
    until(&log, |c| c.queued == 0 && c.spool_bytes == 0).await;
    assert_eq!(ids_of(&url(folder.path())).await, ids);
    assert_eq!(log.counts().dropped, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_survived() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(&disk).output();
    if !mounted.is_ok_and(|m| m.status.success()) {
        eprintln!("left out: mounting a small disk takes the rights of root");
        return;
    }
    let small = LogOptions { queue: 200, batch: 50, ..options(url(&disk), &disk) };
    let log = DecisionLog::open(small).unwrap();
    std::fs::write(disk.join("filler"), vec![0; 3_800_000]).unwrap();
    let mut handed_over = 0u64;
    while log.counts().dropped == 0 {
        log.decision(decision(0.3)).await;
        handed_over += 1;
        assert!(handed_over < 100_000);
        if handed_over.is_multiple_of(100) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let full = log.counts();
    std::fs::remove_file(disk.join("filler")).unwrap();
    let after = until(&log, |c| c.queued == 0 && c.spool_bytes == 0).await;
    assert_eq!(after.accepted, after.stored, "{after:?}");
    assert_eq!(ids_of(&url(&disk)).await.len() as u64, after.stored);
    eprintln!(
        "full disk: {handed_over} decisions handed over, {} waited while it was full, {} logged, {} dropped and counted",
        full.queued, after.stored, after.dropped
    );
    log.close(Duration::from_secs(5)).await;
    drop(log);
    assert!(Command::new("umount").args(["-l"]).arg(&disk).status().unwrap().success());
}

#[tokio::test]
async fn a_spoilt_spool_gives_what_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let log = DecisionLog::open(options(NOWHERE, folder.path())).unwrap();
    let ids = load(&log, Duration::from_millis(50)).await;
    log.close(Duration::from_secs(5)).await;
    drop(log);
    let spool = folder.path().join("spool");
    let segment = spool.join("000000000000.segment");
    let mut bytes = std::fs::read(&segment).unwrap();
    // A line that was being written when the machine stopped, and garbage.
    bytes.extend(b"\xff\x00garbage\n{\"decision\": {\"version\": 1, \"decision_id\"");
    std::fs::write(&segment, bytes).unwrap();
    std::fs::write(spool.join("000000000007.segment"), b"\x89PNG").unwrap();
    let log = DecisionLog::open(options(url(folder.path()), folder.path())).unwrap();
    let counts = until(&log, |c| c.unreadable == 3 && c.spool_bytes == 0).await;
    assert_eq!(counts.stored, ids.len() as u64);
    assert_eq!(ids_of(&url(folder.path())).await, ids);
    assert!(spool.join("000000000000.unreadable").exists() && spool.join("000000000007.unreadable").exists());
}

/// Clocks that step put records into other days, nothing else.
#[tokio::test]
async fn clocks_may_step() {
    const HOUR: i64 = 3_600_000_000;
    let folder = tempfile::tempdir().unwrap();
    let store = open(&url(folder.path())).await.unwrap();
    let now = support::now_us();
    let decisions: Vec<DecisionRecord> =
        [now, now - 26 * HOUR, now + 26 * HOUR, now].map(|at| support::decision_at(at, 0.3)).into();
    let early = decision_log::OutcomeRecord {
        time_us: now - 30 * HOUR,
        ..report(&decisions[0], "app", Outcome::Thumbs { up: true })
    };
    store.append(&Batch { decisions: decisions.clone(), outcomes: vec![early] }).await.unwrap();
    let (url, mut joined) = (url(folder.path()), 0);
    drop(store);
    let read = move || {
        let mut all = Vec::new();
        read(&url, Duration::from_secs(60), &mut |j| all.push(j)).unwrap();
        all
    };
    for one in tokio::task::spawn_blocking(read).await.unwrap() {
        joined += one.outcomes.len();
        assert!(decisions.contains(&one.decision));
    }
    assert_eq!(joined, 1, "a report from before its decision joins");
}
