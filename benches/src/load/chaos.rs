//! Things broken on purpose while clients that ask again keep asking: what was answered, what was not, how long the
//! longest wait was, and what the log has of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

use super::drive::{Load, Plan};
use super::pace::Arrivals;
use super::process::{Feature, LogCounts, LogPlace, Server, Setup};
use super::say::{Table, say};
use super::tally::Report;
use super::wire::Endpoint;

/// Where Debian's package `libfaketime` puts its library.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
/// The size of the disk that is filled.
const DISK: &str = "size=8m";
const FILLER_BYTES: usize = 7_300_000;
/// Decisions of a log are joined with what came of them within so long; nothing does here.
const HORIZON: Duration = Duration::from_secs(60);
/// A record whose time is further from the machine's clock was made by another.
const ELSEWHERE: Duration = Duration::from_secs(1_800);

/// How it is broken.
#[derive(Debug, Clone)]
pub(crate) struct Chaos {
    /// The server; its log is on.
    pub(crate) setup: Setup,
    /// How it is asked; each fault has a run of this length.
    pub(crate) plan: Plan,
    /// Decisions a second.
    pub(crate) per_second: f64,
    /// How often the server is killed.
    pub(crate) kills: u32,
    /// How long it is stopped, and how long the disk is full.
    pub(crate) outage: Duration,
}

/// What came of one fault.
#[derive(Debug)]
pub(crate) struct Row {
    fault: String,
    report: Report,
    log: Option<LogCounts>,
    /// What is in the store.
    logged: Option<Logged>,
    note: String,
}

type Fault<'a> = dyn FnOnce(&mut Server, Instant) -> Result<String> + 'a;

impl Chaos {
    /// Does all of it. A fault that cannot be made on this machine is left out, and said.
    ///
    /// # Errors
    /// When a server does not start or end as it should.
    pub(crate) fn run(&self) -> Result<Vec<Row>> {
        let mut rows = vec![
            self.under("nothing", &self.setup, Box::new(|_, _| Ok(String::new())))?,
            self.killed()?,
            self.stopped()?,
        ];
        rows.extend(self.disk_full()?);
        rows.extend(self.clock_steps()?);
        Ok(rows)
    }

    /// SIGKILL at even distances; whoever supervises the server starts it again at once.
    fn killed(&self) -> Result<Row> {
        let (kills, every) = (self.kills, self.plan.duration / (self.kills + 1));
        let fault = move |server: &mut Server, begin: Instant| {
            let mut longest = Duration::ZERO;
            for n in 1..=kills {
                sleep_until(begin + every * n);
                let killed = Instant::now();
                server.signal("KILL")?;
                server.restart()?;
                longest = longest.max(killed.elapsed());
            }
            Ok(format!("serving again {} ms after the kill at the latest", longest.as_millis()))
        };
        self.under(&format!("kill -9, {kills} times, started again each time"), &self.setup, Box::new(fault))
    }

    /// SIGSTOP, as when a virtual machine is moved.
    fn stopped(&self) -> Result<Row> {
        let (outage, at) = (self.outage, self.plan.duration / 3);
        let fault = move |server: &mut Server, begin: Instant| {
            sleep_until(begin + at);
            server.signal("STOP")?;
            std::thread::sleep(outage);
            server.signal("CONT")?;
            Ok("what arrived meanwhile is answered or, beyond the queue, shed and asked again".into())
        };
        self.under(&format!("SIGSTOP for {outage:?}, SIGCONT"), &self.setup, Box::new(fault))
    }

    /// A disk without room below log and spool, and room again.
    fn disk_full(&self) -> Result<Option<Row>> {
        let folder = tempfile::tempdir()?;
        let disk = Disk::mount(folder.path().join("disk"))?;
        let Some(disk) = disk else {
            say("full disk: left out, mounting a small disk takes the rights of root");
            return Ok(None);
        };
        let setup = Setup { log: LogPlace::Folder(disk.folder.clone()), ..self.setup.clone() };
        let (at, outage, filler) = (self.plan.duration / 4, self.outage, disk.folder.join("filler"));
        let fault = move |_: &mut Server, begin: Instant| {
            sleep_until(begin + at);
            // It fills what is left, however little that is.
            let _ = fs::write(&filler, vec![0; FILLER_BYTES]);
            std::thread::sleep(outage);
            fs::remove_file(&filler)?;
            Ok("decisions go on; records wait in memory and are given up, counted, where there is no room"
                .into())
        };
        let name = format!("disk of log and spool full for {outage:?}");
        let row = self.under(&name, &setup, Box::new(fault));
        drop(disk);
        row.map(Some)
    }

    /// The wall clock steps a day ahead and back; the machine's own clock is left alone.
    fn clock_steps(&self) -> Result<Option<Row>> {
        if !Path::new(FAKETIME).exists() {
            say("clock step: left out, there is no libfaketime (scripts/load-deps installs it)");
            return Ok(None);
        }
        let folder = tempfile::tempdir()?;
        let clock = folder.path().join("clock");
        fs::write(&clock, "+0")?;
        let mut setup = self.setup.clone();
        // Timers and deadlines go by the monotonic clock, which does not step on a real machine either.
        let variables = [
            ("LD_PRELOAD", FAKETIME.into()),
            ("FAKETIME_TIMESTAMP_FILE", clock.as_os_str().to_owned()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            ("DONT_FAKE_MONOTONIC", "1".into()),
        ];
        setup.environment.extend(variables.map(|(name, value)| (name.into(), value)));
        let third = self.plan.duration / 3;
        let fault = move |_: &mut Server, begin: Instant| {
            sleep_until(begin + third);
            fs::write(&clock, "+86400")?;
            sleep_until(begin + third * 2);
            fs::write(&clock, "-3600")?;
            Ok("records lie in other days".into())
        };
        let row = self.under("wall clock a day ahead, then an hour back", &setup, Box::new(fault));
        row.map(Some)
    }

    /// A run with a fault in it, and what the log has afterwards.
    fn under(&self, fault: &str, setup: &Setup, break_it: Box<Fault<'_>>) -> Result<Row> {
        say(format!("{fault} …"));
        let mut server = Server::start(setup.clone()).with_context(|| fault.to_owned())?;
        let endpoint: Endpoint = server.endpoint()?;
        let load = Load::Open { per_second: self.per_second, arrivals: Arrivals::Poisson };
        // Everything is counted: the log is held against it.
        let plan = Plan { load, warmup: Duration::ZERO, ..self.plan.clone() };
        let begin = Instant::now() + Duration::from_millis(200);
        let (report, note) = std::thread::scope(|scope| {
            let run = scope.spawn(|| plan.run_from(&endpoint, begin));
            let note = break_it(&mut server, begin);
            let report = run.join().map_err(|_| anyhow::anyhow!("the client panicked"))??;
            anyhow::Ok((report, note?))
        })?;
        let (log, logged) = if setup.has(Feature::Log) {
            let (log, folder) = server.stop()?;
            (Some(log), Some(logged(&setup.log.url(folder.path()))?))
        } else {
            server.stop()?;
            (None, None)
        };
        Ok(Row { fault: fault.to_owned(), report, log, logged, note })
    }
}

fn sleep_until(at: Instant) {
    std::thread::sleep(at.saturating_duration_since(Instant::now()));
}

/// Decisions that a log has, and how many of them lie far from the machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
struct Logged {
    decisions: usize,
    elsewhere: usize,
}

fn logged(url: &str) -> Result<Logged> {
    let now_us = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as i64;
    let mut logged = Logged::default();
    decision_log::read(url, HORIZON, &mut |joined| {
        logged.decisions += 1;
        let away_us = joined.decision.time_us.abs_diff(now_us);
        logged.elsewhere += usize::from(away_us > ELSEWHERE.as_micros() as u64);
    })?;
    Ok(logged)
}

/// A small disk; dropped, it is gone.
struct Disk {
    folder: PathBuf,
}

impl Disk {
    fn mount(folder: PathBuf) -> Result<Option<Self>> {
        fs::create_dir(&folder)?;
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(&folder).output();
        Ok(mounted.is_ok_and(|m| m.status.success()).then_some(Self { folder }))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What cannot be unmounted now is, once nobody uses it.
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}

/// For people: a row for each fault.
pub(crate) fn text(rows: &[Row]) -> String {
    let head = [
        "fault",
        "asked",
        "answered",
        "not answered",
        "asked again",
        "longest wait",
        "p99",
        "in the log",
        "given up by the log",
        "what happened",
    ];
    let mut table = Table::new(&head);
    for row in rows {
        let report = &row.report;
        table.row(&[
            row.fault.clone(),
            (report.decisions + report.failed + report.unsent).to_string(),
            report.decisions.to_string(),
            not_answered(report),
            report.retried.to_string(),
            format!("{:.0} ms", report.latency.max_ms),
            format!("{:.1} ms", report.latency.p99_ms),
            row.logged.map_or_else(|| "–".into(), |logged| logged.decisions.to_string()),
            row.log.map_or_else(|| "–".into(), |log| log.dropped.to_string()),
            note(row),
        ]);
    }
    table.to_string()
}

fn note(row: &Row) -> String {
    match row.logged {
        Some(logged) if logged.elsewhere > 0 => {
            format!("{}: {} of them half an hour or more away", row.note, logged.elsewhere)
        }
        _ => row.note.clone(),
    }
}

fn not_answered(report: &Report) -> String {
    let codes = report.codes.iter().filter(|(code, n)| *code != "OK" && **n > 0);
    let codes: Vec<String> = codes.map(|(code, n)| format!("{n} {code}")).collect();
    let unsent = (report.unsent > 0).then(|| format!("{} not sent", report.unsent));
    let all: Vec<String> = codes.into_iter().chain(unsent).collect();
    if all.is_empty() { "0".into() } else { all.join(", ") }
}

/// Fails where a fault took answers from callers that had the patience to ask again.
///
/// # Errors
/// With the faults that did.
pub(crate) fn judge(rows: &[Row]) -> Result<()> {
    let lost = rows.iter().filter(|row| !row.report.flawless());
    let lost: Vec<&str> = lost.map(|row| row.fault.as_str()).collect();
    ensure!(lost.is_empty(), "callers were left without an answer by: {}", lost.join("; "));
    Ok(())
}
