//! A throw-away PostgreSQL on a socket of its own, and records to log.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "shared by test binaries"
)]

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use decision_log::{
    DecisionRecord, Evidence, FeatureSummary, Outcome, OutcomeRecord, RECORD_VERSION, Rollout,
};
use uuid::Uuid;

/// A database that is gone when this is dropped.
pub struct Postgres {
    folder: tempfile::TempDir,
    programs: PathBuf,
    running: Option<Child>,
}

impl Postgres {
    /// Starts one, or says why not; an error where `RUNG_REQUIRE_POSTGRES` is set.
    pub fn start() -> Option<Self> {
        if std::env::var_os("RUNG_NO_POSTGRES").is_some() {
            eprintln!("left out: RUNG_NO_POSTGRES is set");
            return None;
        }
        let Some(programs) = programs() else {
            assert!(
                std::env::var_os("RUNG_REQUIRE_POSTGRES").is_none(),
                "RUNG_REQUIRE_POSTGRES is set and there is no PostgreSQL (scripts/postgres-deps)"
            );
            eprintln!("left out: no PostgreSQL on this machine (scripts/postgres-deps installs one)");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("pg").tempdir().unwrap();
        let mut postgres = Self { folder, programs, running: None };
        if is_root() {
            let owned =
                Command::new("chown").arg("65534:65534").arg(postgres.folder.path()).status().unwrap();
            assert!(owned.success());
        }
        let made = postgres.program("initdb");
        let made = postgres
            .quiet(made)
            .args(["-A", "trust", "-U", "rung", "--no-sync", "-D"])
            .arg(postgres.data())
            .status();
        assert!(made.unwrap().success(), "initdb");
        postgres.restart();
        Some(postgres)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A program of PostgreSQL, which refuses to run as root.
    fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        if !is_root() {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(program);
        command
    }

    fn quiet(&self, mut command: Command) -> Command {
        command.current_dir(self.folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Starts it again on the same data.
    pub fn restart(&mut self) {
        self.kill();
        let command = self.program("postgres");
        let mut command = self.quiet(command);
        command.arg("-D").arg(self.data()).args([
            "-c",
            "listen_addresses=",
            "-c",
            "max_connections=40",
            "-k",
        ]);
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        command.stderr(log);
        self.running = Some(command.arg(self.folder.path()).spawn().unwrap());
        let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        for _ in 0..400 {
            if log().contains("ready to accept connections") {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("PostgreSQL does not start: {}", log());
    }

    /// Ends it at once, as a crash does: no checkpoint, no good-bye.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            let quit = Command::new("kill").arg("-QUIT").arg(running.id().to_string()).status().unwrap();
            assert!(quit.success());
            running.wait().unwrap();
        }
    }

    /// Stops all its processes, or lets them go on.
    pub fn signal(&self, signal: &str) {
        let Some(running) = &self.running else { return };
        let id = running.id().to_string();
        let children = Command::new("pgrep").args(["-P", &id]).output().unwrap();
        let children = String::from_utf8(children.stdout).unwrap();
        for id in std::iter::once(id.as_str()).chain(children.lines()) {
            assert!(Command::new("kill").arg(format!("-{signal}")).arg(id).status().unwrap().success());
        }
    }

    /// The URL of a database of this name, which is made.
    pub fn database(&self, name: &str) -> String {
        let mut made = self.program("createdb");
        made.current_dir(self.folder.path()).args(["-U", "rung", "-h"]).arg(self.folder.path()).arg(name);
        let made = made.output().unwrap();
        assert!(made.status.success(), "createdb: {}", String::from_utf8_lossy(&made.stderr));
        format!("postgres://rung@localhost/{name}?host={}", self.folder.path().display())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}

fn programs() -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path().join("bin"))
        .collect();
    folders.sort();
    folders.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
    folders.into_iter().rev().find(|folder: &PathBuf| {
        ["initdb", "postgres", "createdb"].iter().all(|name| folder.join(name).exists())
    })
}

/// An id of a time, microseconds since 1970.
pub fn id_at(time_us: i64) -> Uuid {
    let (seconds, nanos) =
        (time_us.div_euclid(1_000_000) as u64, time_us.rem_euclid(1_000_000) as u32 * 1_000);
    Uuid::new_v7(uuid::Timestamp::from_unix_time(seconds, nanos, 0, 0))
}

/// A decision of a pair made at a time.
pub fn decision_at(time_us: i64, win_probability: f64) -> DecisionRecord {
    let strong = win_probability >= 0.5;
    let action = if strong { "large" } else { "small" };
    DecisionRecord {
        version: RECORD_VERSION,
        decision_id: id_at(time_us),
        shadow_of: None,
        time_us,
        replica: "a".into(),
        request_id: String::new(),
        rollout: Rollout::Incumbent,
        artifact: "test".into(),
        artifact_version: "1".into(),
        calibrator_version: "1".into(),
        threshold_source: "operating_point:default".into(),
        fingerprint: "00".repeat(16),
        features: FeatureSummary { tokens: 3, bytes: 12, turns: 1, script: "latin".into(), truncated: false },
        action_set: vec!["small".into(), "large".into()],
        action: action.into(),
        policy_action: action.into(),
        propensity: 1.0,
        tier: if strong { "strong" } else { "weak" }.into(),
        reason: "below_threshold".into(),
        win_probability,
        interval_lower: win_probability,
        interval_upper: win_probability,
        threshold: 0.5,
        evidence: vec![Evidence {
            model: "small".into(),
            score: 0.1 + win_probability / 3.0,
            win_probability,
            interval_lower: win_probability,
            interval_upper: win_probability,
            scored_by: "fast".into(),
            fast_win_probability: win_probability,
        }],
        scored_by: "fast".into(),
        scored_by_reason: "no_deep_tier".into(),
        labels: [("tenant".to_owned(), "7".to_owned())].into(),
        slices: vec!["tenant:7".into()],
        high_stakes: false,
        decision_time_us: 11.5,
        prompt: None,
        policy: None,
    }
}

/// One made now.
pub fn decision(win_probability: f64) -> DecisionRecord {
    decision_at(now_us(), win_probability)
}

pub fn now_us() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as i64
}

/// A report on a decision.
pub fn report(of: &DecisionRecord, source: &str, outcome: Outcome) -> OutcomeRecord {
    let (decision_id, time_us) = (of.decision_id, of.time_us + 1_000_000);
    OutcomeRecord { version: RECORD_VERSION, decision_id, source: source.into(), time_us, outcome }
}

/// The URL of the log of a folder.
pub fn url(folder: &std::path::Path) -> String {
    format!("sqlite:{}/log.db", folder.display())
}

/// Writes a batch into the log of a folder.
pub fn append(folder: &std::path::Path, batch: &decision_log::Batch) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { decision_log::open(&url(folder)).await.unwrap().append(batch).await.unwrap() });
}
