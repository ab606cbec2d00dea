//! The server under load: a process of its own, with each thing that can be switched on switched on or not, and what
//! the system says of it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::ValueEnum;

use super::credentials::Credentials;
use super::wire::{Endpoint, TlsFiles};

/// How long a server may take until it serves, and until it has drained.
const PATIENCE: Duration = Duration::from_secs(60);
/// Lines of its log that are kept to be shown where it fails.
const KEPT_LINES: usize = 20;
/// What Linux counts the time of processes in.
pub(crate) const TICKS_PER_S: f64 = 100.0;

/// What can be switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Feature {
    /// TLS 1.3 with a certificate of our own.
    Tls,
    /// Bearer tokens.
    Auth,
    /// The decision log, SQLite.
    Log,
    /// The endpoint of metrics, which is read meanwhile.
    Metrics,
}

impl Feature {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Tls, Self::Auth, Self::Log, Self::Metrics];

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tls => "TLS",
            Self::Auth => "auth",
            Self::Log => "log",
            Self::Metrics => "metrics",
        }
    }
}

/// Where a log is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LogPlace {
    /// A SQLite file in the server's own folder.
    Beside,
    /// A SQLite file in this folder, and the spool with it.
    Folder(PathBuf),
    /// A store by its URL; the spool is in the server's own folder.
    Url(String),
}

impl LogPlace {
    /// The URL of the store of a server with this folder.
    pub(crate) fn url(&self, beside: &Path) -> String {
        let sqlite = |folder: &Path| format!("sqlite:{}", folder.join("log.db").display());
        match self {
            Self::Beside => sqlite(beside),
            Self::Folder(folder) => sqlite(folder),
            Self::Url(url) => url.clone(),
        }
    }
}

/// How a server is started.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// The binary and what stands before `serve`: this very program by default, which has the server linked in.
    pub(crate) program: PathBuf,
    /// See [`Self::program`].
    pub(crate) prefix: Vec<OsString>,
    /// The folder of the artifact.
    pub(crate) artifact: PathBuf,
    /// What is switched on.
    pub(crate) features: Vec<Feature>,
    /// Where its log goes.
    pub(crate) log: LogPlace,
    /// Further flags of the server.
    pub(crate) flags: Vec<OsString>,
    /// Variables of its environment.
    pub(crate) environment: Vec<(OsString, OsString)>,
}

impl Setup {
    /// A server of `artifact`: that binary, or the one that is linked into this program.
    ///
    /// # Errors
    /// When this program's own file is not known.
    pub(crate) fn new(server: Option<&Path>, artifact: &Path, features: &[Feature]) -> Result<Self> {
        let (program, prefix) = match server {
            Some(server) => (server.to_owned(), Vec::new()),
            None => (std::env::current_exe()?, vec![OsString::from("server")]),
        };
        Ok(Self {
            program,
            prefix,
            artifact: artifact.to_owned(),
            features: features.to_vec(),
            log: LogPlace::Beside,
            flags: Vec::new(),
            environment: Vec::new(),
        })
    }

    /// Whether that is switched on.
    pub(crate) fn has(&self, feature: Feature) -> bool {
        self.features.contains(&feature)
    }

    /// With a flag of the server and its value.
    #[must_use]
    pub(crate) fn flag(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.flags.extend([name.into(), value.into()]);
        self
    }

    /// The address of metrics is one that is free now; the server is asked for it in no other way.
    fn command(&self, folder: &Path, listen: &str, metrics: Option<&str>) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.prefix).args(["serve", "--log-format", "json", "--listen", listen]);
        command.arg("--artifact").arg(&self.artifact);
        let secrets = folder.join("secrets");
        if self.has(Feature::Tls) {
            command.arg("--tls-cert").arg(secrets.join("cert.pem"));
            command.arg("--tls-key").arg(secrets.join("key.pem"));
        }
        if self.has(Feature::Auth) {
            command.arg("--tokens").arg(secrets.join("tokens.toml"));
        }
        if let Some(metrics) = metrics {
            command.args(["--http-listen", metrics]);
        }
        if self.has(Feature::Log) {
            let spool = if let LogPlace::Folder(folder) = &self.log { folder } else { folder };
            command.args(["--decision-log", &self.log.url(folder), "--log-spool"]).arg(spool.join("spool"));
        } else {
            command.args(["--decision-log", "none"]);
        }
        command.args(&self.flags).envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }
}

/// What the log counted until the server was closed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LogCounts {
    /// Records in the store.
    pub(crate) stored: u64,
    /// Records that wait in the spool's folder.
    pub(crate) spooled: u64,
    /// Records that were given up.
    pub(crate) dropped: u64,
}

/// What was read of a server's own log.
#[derive(Debug, Default)]
struct Heard {
    lines: VecDeque<String>,
    closed: Option<LogCounts>,
}

/// A running server; dropped, it is killed and its folder is gone.
#[derive(Debug)]
pub(crate) struct Server {
    setup: Setup,
    child: Child,
    folder: tempfile::TempDir,
    credentials: Credentials,
    address: String,
    metrics: Option<String>,
    heard: Arc<Mutex<Heard>>,
}

impl Server {
    /// Starts one on a free port and waits until it serves.
    ///
    /// # Errors
    /// When it does not; with the last lines that it said.
    pub(crate) fn start(setup: Setup) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let credentials = Credentials::make(folder.path())?;
        let metrics = setup.has(Feature::Metrics).then(free_address).transpose()?;
        let heard = Arc::new(Mutex::new(Heard::default()));
        let command = setup.command(folder.path(), "127.0.0.1:0", metrics.as_deref());
        let (child, address) = spawn(command, &heard)?;
        Ok(Self { setup, child, folder, credentials, address, metrics, heard })
    }

    /// Starts it again on the same address and folder, once the process before it is gone.
    ///
    /// # Errors
    /// When it does not serve.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.child.wait()?;
        let command = self.setup.command(self.folder.path(), &self.address, self.metrics.as_deref());
        (self.child, _) = spawn(command, &self.heard)?;
        Ok(())
    }

    /// Where it serves, with what a caller has to bring.
    ///
    /// # Errors
    /// When what was made for it cannot be read.
    pub(crate) fn endpoint(&self) -> Result<Endpoint> {
        let files = TlsFiles { ca: self.credentials.ca.clone(), client: None, name: "localhost".into() };
        let endpoint = Endpoint::new(&self.address, self.setup.has(Feature::Tls).then_some(&files))?;
        if self.setup.has(Feature::Auth) { endpoint.token(&self.credentials.token) } else { Ok(endpoint) }
    }

    /// What it serves.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Where its metrics are, where they are.
    pub(crate) fn metrics(&self) -> Option<&str> {
        self.metrics.as_deref()
    }

    /// The certificate authority and the tokens it knows.
    pub(crate) fn credentials(&mut self) -> &mut Credentials {
        &mut self.credentials
    }

    /// Its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// What it has used up to now.
    ///
    /// # Errors
    /// When it is gone, or there is no `/proc`.
    pub(crate) fn usage(&self) -> Result<Usage> {
        Usage::of(&self.process().to_string())
    }

    /// Sends it a signal by name.
    ///
    /// # Errors
    /// When it is gone.
    pub(crate) fn signal(&self, name: &str) -> Result<()> {
        let id = self.process().to_string();
        let sent = Command::new("kill").arg(format!("-{name}")).arg(id).status()?;
        ensure!(sent.success(), "kill -{name}: {sent}");
        Ok(())
    }

    /// Ends it in an orderly way; what its log counted.
    ///
    /// # Errors
    /// When it does not drain in time or ends with an error.
    pub(crate) fn stop(mut self) -> Result<(LogCounts, tempfile::TempDir)> {
        self.signal("TERM")?;
        let begun = Instant::now();
        let ended = loop {
            if let Some(ended) = self.child.try_wait()? {
                break ended;
            }
            ensure!(begun.elapsed() < PATIENCE, "the server did not drain in {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(10));
        };
        ensure!(ended.success(), "the server ended with {ended}: {}", last_lines(&self.heard));
        // The line comes before the end, but the reader may be a moment behind.
        let counts = self.closing_counts(Duration::from_secs(2)).unwrap_or_default();
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir()?);
        Ok((counts, folder))
    }

    fn closing_counts(&self, patience: Duration) -> Option<LogCounts> {
        let begun = Instant::now();
        loop {
            let closed = self.heard.lock().unwrap_or_else(PoisonError::into_inner).closed;
            if closed.is_some() || !self.setup.has(Feature::Log) || begun.elapsed() > patience {
                return closed;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address whose port was free a moment ago.
pub(crate) fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

fn spawn(mut command: Command, heard: &Arc<Mutex<Heard>>) -> Result<(Child, String)> {
    let mut child = command.spawn().with_context(|| format!("starting {command:?}"))?;
    let stderr = child.stderr.take().context("the server's log")?;
    let (sender, address) = channel();
    let listening = Arc::clone(heard);
    std::thread::Builder::new().name("log".into()).spawn(move || listen(stderr, &listening, &sender))?;
    match serving(&mut child, &address) {
        Ok(address) => Ok((child, address)),
        Err(error) => {
            let _ = child.kill();
            let ended = child.wait()?;
            Err(anyhow!("{error} ({ended}): {}", last_lines(heard)))
        }
    }
}

fn serving(child: &mut Child, address: &Receiver<String>) -> Result<String> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Ok(address) = address.recv_timeout(Duration::from_millis(50)) {
            return Ok(address);
        }
        if child.try_wait()?.is_some() {
            bail!("the server ended before it served");
        }
    }
    bail!("the server does not serve after {PATIENCE:?}")
}

/// Reads a server's log until its end.
fn listen(stderr: ChildStderr, heard: &Mutex<Heard>, serving: &Sender<String>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        let parsed: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        let fields = &parsed["fields"];
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        match fields["message"].as_str() {
            Some("serving") => {
                // Nobody waits for it any more where the start was given up.
                let _ = serving.send(fields["address"].as_str().unwrap_or_default().to_owned());
            }
            Some("decision log closed") => {
                let count = |name| fields[name].as_u64().unwrap_or_default();
                let (stored, spooled, dropped) = (count("stored"), count("spooled"), count("dropped"));
                heard.closed = Some(LogCounts { stored, spooled, dropped });
            }
            _ => {}
        }
        if heard.lines.len() == KEPT_LINES {
            heard.lines.pop_front();
        }
        heard.lines.push_back(line);
    }
}

fn last_lines(heard: &Mutex<Heard>) -> String {
    let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    heard.lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
}

/// What a process has used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Usage {
    /// Seconds of processor time, of all its threads.
    pub(crate) cpu_s: f64,
    /// Memory it has now, MB.
    pub(crate) resident_mb: f64,
    /// The most it ever had, MB.
    pub(crate) peak_mb: f64,
}

impl Usage {
    /// Of this process.
    ///
    /// # Errors
    /// When there is no `/proc`.
    pub(crate) fn of_self() -> Result<Self> {
        Self::of("self")
    }

    fn of(process: &str) -> Result<Self> {
        let read = |name: &str| {
            let file = format!("/proc/{process}/{name}");
            std::fs::read_to_string(&file).with_context(|| file.clone())
        };
        let status = read("status")?;
        let mb = |name: &str| -> Option<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.split_whitespace().next()?.parse::<f64>().ok()? * 1024.0 / 1e6)
        };
        let cpu_s = cpu_s(&read("stat")?).context("/proc/PID/stat is not what it was")?;
        let (resident_mb, peak_mb) = (mb("VmRSS:").unwrap_or_default(), mb("VmHWM:").unwrap_or_default());
        Ok(Self { cpu_s, resident_mb, peak_mb })
    }
}

/// User and system time of `/proc/PID/stat`; the name in brackets may hold anything.
fn cpu_s(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_behind_any_name() {
        let stat = "42 (a) S (b) R 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 100 1 2";
        assert_eq!(cpu_s(stat), Some(3.0));
        assert_eq!(cpu_s("42 (a"), None);
        let usage = Usage::of_self().unwrap();
        assert!(usage.resident_mb > 1.0 && usage.peak_mb >= usage.resident_mb);
    }

    #[test]
    fn what_is_switched_on_is_on_the_command_line() {
        let folder = Path::new("there");
        let setup = Setup::new(Some(Path::new("server")), Path::new("models"), &[Feature::Tls]).unwrap();
        let setup = setup.flag("--queue", "7");
        let text = |setup: &Setup| format!("{:?}", setup.command(folder, "127.0.0.1:0", None));
        let command = text(&setup);
        assert!(command.contains("--tls-cert") && command.contains("\"--decision-log\" \"none\""));
        assert!(command.contains("\"--queue\" \"7\"") && !command.contains("--tokens"));
        let all = Setup { features: Feature::ALL.to_vec(), ..setup };
        assert!(text(&all).contains("--tokens") && text(&all).contains("sqlite:there/log.db"));
    }
}
