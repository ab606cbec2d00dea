//! Reads a server's metrics again and again while it is under load, as Prometheus does.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// Fifteen times as often as Prometheus does by default.
const EVERY: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(5);

/// A thread that scrapes; dropped, it ends.
#[derive(Debug)]
pub(crate) struct Scraper {
    over: Arc<AtomicBool>,
    scraped: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Scraper {
    /// Scrapes `address` until it is dropped. The first scrape must succeed.
    pub(crate) fn start(address: &str) -> Result<Self> {
        let text = metrics(address).with_context(|| format!("metrics of {address}"))?;
        ensure!(text.contains("rung_"), "metrics of {address}: no metric of this server among them");
        let (over, scraped) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(1)));
        let (stop, count, address) = (Arc::clone(&over), Arc::clone(&scraped), address.to_owned());
        let thread = std::thread::Builder::new().name("scraper".into()).spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                std::thread::park_timeout(EVERY);
                // A server that is down for a moment is scraped when it is back.
                count.fetch_add(u64::from(metrics(&address).is_ok()), Ordering::Relaxed);
            }
        })?;
        Ok(Self { over, scraped, thread: Some(thread) })
    }

    /// How often it was scraped.
    pub(crate) fn scraped(&self) -> u64 {
        self.scraped.load(Ordering::Relaxed)
    }
}

impl Drop for Scraper {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It does not panic, and if it did there is nothing to clean up.
            let _ = thread.join();
        }
    }
}

/// The text of `/metrics`.
fn metrics(address: &str) -> Result<String> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    write!(socket, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{}", answer.lines().next().unwrap_or_default());
    Ok(answer)
}
