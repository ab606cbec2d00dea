//! The writer: one thread between the hot path and the store. Callers hand a record over and go on; the thread gathers
//! batches, spools them while the store is away, and says what became of every record.
//!
//! Until a batch is synced, by the store or by the spool, its records are in memory: what a SIGKILL takes is at most
//! `queue + batch` records, and in practice those of the last flush interval and the commit that was under way.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use thiserror::Error;
use tokio::sync::mpsc::error::{TryRecvError, TrySendError};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::record::{DecisionRecord, OutcomeRecord};
use crate::spool::{Spool, SpoolError};
use crate::store::{Appended, Batch, Reported, Retention, Store, StoreError, open};

/// Pause before a store that was away is asked again: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How often old records are looked for.
const RETENTION_EVERY: Duration = Duration::from_secs(3_600);

/// What happens to a decision while the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// It is not logged, and counted.
    #[default]
    Drop,
    /// The caller waits for its answer until there is room.
    Block,
}

/// How a log is kept.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// The store, as [`open`] reads it.
    pub url: String,
    /// Folder of the spool, of this process alone.
    pub spool: PathBuf,
    /// Bytes that may wait there.
    pub spool_bytes: u64,
    /// Records that may wait in memory, at least 1.
    pub queue: usize,
    /// Records of a batch, at least 1.
    pub batch: usize,
    /// How long a record waits for others.
    pub flush_interval: Duration,
    /// How long the store may take for a batch before it counts as away. Meanwhile records wait in memory: the queue has
    /// to hold what is decided in that time.
    pub patience: Duration,
    /// What happens while the queue is full.
    pub overflow: Overflow,
    /// How long what is kept.
    pub retention: Retention,
    /// What is done to texts before they are kept.
    pub redact: Option<Redact>,
}

/// What is done to the text of a query before it is kept; by the writer's thread, not where decisions are made.
#[derive(Clone)]
pub struct Redact(Arc<dyn Fn(&str) -> String + Send + Sync>);

impl Redact {
    /// Any function of a text.
    pub fn new(function: Arc<dyn Fn(&str) -> String + Send + Sync>) -> Self {
        Self(function)
    }

    /// What is kept of a text.
    pub fn apply(&self, text: &str) -> String {
        (self.0)(text)
    }
}

impl std::fmt::Debug for Redact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redact")
    }
}

impl LogOptions {
    /// What suits a server that logs to `url` and spools in `spool`.
    pub fn new(url: impl Into<String>, spool: impl Into<PathBuf>) -> Self {
        Self {
            url: url.into(),
            spool: spool.into(),
            spool_bytes: 8 << 30,
            queue: 16_384,
            batch: 1_024,
            flush_interval: Duration::from_millis(20),
            patience: Duration::from_secs(2),
            overflow: Overflow::Drop,
            retention: Retention { records: None, prompts: None },
            redact: None,
        }
    }
}

/// Why a log could not be opened.
#[derive(Debug, Error)]
pub enum Refusal {
    /// The store.
    #[error("decision log: {0}")]
    Store(#[from] StoreError),
    /// The spool.
    #[error("spool of the decision log: {0}")]
    Spool(#[from] SpoolError),
    /// The system gave no thread.
    #[error("starting the thread of the decision log: {0}")]
    Thread(std::io::Error),
    /// The queue is full; the same report may be sent again later.
    #[error("the decision log's queue is full")]
    Overloaded,
    /// The log is closed.
    #[error("the decision log is closed")]
    Closed,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filed {
    /// The store has it.
    Stored(Reported),
    /// The spool has it: the store is away.
    Spooled,
    /// The store will never take it; it was put aside.
    Rejected,
}

/// What became of all records since the log was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Handed over.
    pub accepted: u64,
    /// In the store, those that were there already among them.
    pub stored: u64,
    /// Went to the spool; they are counted as stored once the store has them.
    pub spooled: u64,
    /// Not logged, because the queue was full or the log closed.
    pub dropped: u64,
    /// Put aside, because the store will never take them.
    pub rejected: u64,
    /// Lines of the spool that were no records.
    pub unreadable: u64,
    /// In memory now.
    pub queued: u64,
    /// Bytes in the spool now.
    pub spool_bytes: u64,
    /// The store answers.
    pub store_up: bool,
}

#[derive(Debug, Default)]
struct Counters {
    accepted: AtomicU64,
    stored: AtomicU64,
    spooled: AtomicU64,
    dropped: AtomicU64,
    rejected: AtomicU64,
    unreadable: AtomicU64,
    settled: AtomicU64,
    spool_bytes: AtomicU64,
    store_up: AtomicBool,
}

fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Ordering::Relaxed);
}

enum Item {
    Decision(Box<DecisionRecord>),
    Outcomes(Vec<OutcomeRecord>, oneshot::Sender<Vec<Filed>>),
}

/// An open log. Dropped without [`DecisionLog::close`], its thread still writes what it was given, and nobody waits.
#[derive(Debug)]
pub struct DecisionLog {
    sender: mpsc::Sender<Item>,
    wake: Arc<Notify>,
    closing: Arc<AtomicBool>,
    counters: Arc<Counters>,
    overflow: Overflow,
    done: Mutex<Option<oneshot::Receiver<()>>>,
}

impl DecisionLog {
    /// Opens store and spool and starts the writer. A PostgreSQL that is away is no reason not to start: records are
    /// spooled until it is back.
    ///
    /// # Errors
    /// When the URL means no store, the store refuses, or the spool cannot be used.
    pub fn open(options: LogOptions) -> Result<Self, Refusal> {
        let spool = Spool::open(&options.spool, options.spool_bytes)?;
        let (sender, receiver) = mpsc::channel(options.queue.max(1));
        let (wake, closing, counters) = (Arc::new(Notify::new()), Arc::default(), Arc::<Counters>::default());
        let (ended, done) = oneshot::channel();
        let (opened, started) = std::sync::mpsc::channel();
        let overflow = options.overflow;
        let mut writer = Writer {
            receiver,
            wake: Arc::clone(&wake),
            closing: Arc::clone(&closing),
            counters: Arc::clone(&counters),
            store: None,
            spool,
            away: Away::default(),
            options,
        };
        let work = move || {
            match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Err(error) => _ = opened.send(Err(Refusal::Thread(error))),
                Ok(runtime) => runtime.block_on(async move {
                    match writer.connect().await {
                        Err(error) if !error.is_away() => {
                            // The spool is free again before anybody hears of it.
                            drop(writer);
                            let _ = opened.send(Err(Refusal::Store(error)));
                        }
                        _ => {
                            let _ = opened.send(Ok(()));
                            writer.run().await;
                        }
                    }
                }),
            }
            let _ = ended.send(());
        };
        let thread = std::thread::Builder::new().name("decision-log".to_owned());
        thread.spawn(work).map_err(Refusal::Thread)?;
        started.recv().map_err(|_| Refusal::Closed)??;
        Ok(Self { sender, wake, closing, counters, overflow, done: Mutex::new(Some(done)) })
    }

    /// Hands a decision over. Only with [`Overflow::Block`] and a full queue it waits.
    pub async fn decision(&self, record: DecisionRecord) {
        let refused = match self.sender.try_send(Item::Decision(Box::new(record))) {
            Ok(()) => None,
            Err(TrySendError::Full(item)) if self.overflow == Overflow::Block => {
                self.wake.notify_one();
                self.sender.send(item).await.err().map(|_| ())
            }
            Err(_) => Some(()),
        };
        if refused.is_some() {
            add(&self.counters.dropped, 1);
            return;
        }
        add(&self.counters.accepted, 1);
        if self.sender.capacity() < self.sender.max_capacity() / 2 {
            self.wake.notify_one();
        }
    }

    /// Files reports, which were checked, and says what became of each once it is synced.
    ///
    /// # Errors
    /// When the queue is full or the log is closed: nothing was filed.
    pub async fn outcomes(&self, reports: Vec<OutcomeRecord>) -> Result<Vec<Filed>, Refusal> {
        let (answer, filed) = oneshot::channel();
        let n = reports.len();
        match self.sender.try_send(Item::Outcomes(reports, answer)) {
            Ok(()) => add(&self.counters.accepted, n),
            Err(TrySendError::Full(_)) => return Err(Refusal::Overloaded),
            Err(TrySendError::Closed(_)) => return Err(Refusal::Closed),
        }
        self.wake.notify_one();
        filed.await.map_err(|_| Refusal::Closed)
    }

    /// What became of all records so far.
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let c = &self.counters;
        // Settled first: what is accepted in between is queued, never the reverse.
        let settled = read(&c.settled);
        Counts {
            accepted: read(&c.accepted),
            stored: read(&c.stored),
            spooled: read(&c.spooled),
            dropped: read(&c.dropped),
            rejected: read(&c.rejected),
            unreadable: read(&c.unreadable),
            queued: read(&c.accepted).saturating_sub(settled),
            spool_bytes: read(&c.spool_bytes),
            store_up: c.store_up.load(Ordering::Relaxed),
        }
    }

    /// Takes no more records and writes those it has, for `patience` at most. The counts say what was left.
    pub async fn close(&self, patience: Duration) -> Counts {
        self.closing.store(true, Ordering::Relaxed);
        self.wake.notify_one();
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(done) = done
            && tokio::time::timeout(patience, done).await.is_err()
        {
            tracing::error!(queued = self.counts().queued, "the decision log was not flushed in time");
        }
        self.counts()
    }
}

impl Drop for DecisionLog {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }
}

/// Whether the store is away, and when it is asked again.
#[derive(Debug, Default)]
struct Away {
    until: Option<Instant>,
    pause: Duration,
}

impl Away {
    fn failed(&mut self) {
        self.pause = (2 * self.pause).clamp(PAUSES.0, PAUSES.1);
        self.until = Some(Instant::now() + self.pause);
    }

    fn is_over(&self) -> bool {
        self.until.is_none_or(|until| until <= Instant::now())
    }
}

struct Writer {
    receiver: mpsc::Receiver<Item>,
    wake: Arc<Notify>,
    closing: Arc<AtomicBool>,
    counters: Arc<Counters>,
    /// None while it could not be opened.
    store: Option<Box<dyn Store>>,
    spool: Spool,
    away: Away,
    options: LogOptions,
}

/// Whom to tell what became of the reports of a batch: each with how many of them are its own.
type Askers = Vec<(usize, oneshot::Sender<Vec<Filed>>)>;

impl Writer {
    async fn connect(&mut self) -> Result<(), StoreError> {
        match open(&self.options.url).await {
            Ok(store) => {
                self.store = Some(store);
                self.away = Away::default();
                self.counters.store_up.store(true, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => {
                self.is_away(&error);
                Err(error)
            }
        }
    }

    fn is_away(&mut self, error: &StoreError) {
        if self.counters.store_up.swap(false, Ordering::Relaxed) || self.away.until.is_none() {
            tracing::error!(%error, "the decision log's store is away: records are spooled");
        }
        self.away.failed();
    }

    fn is_back(&mut self) {
        self.away = Away::default();
        if !self.counters.store_up.swap(true, Ordering::Relaxed) {
            tracing::info!("the decision log's store is back");
        }
    }

    async fn run(&mut self) {
        let mut retained = Instant::now().checked_sub(RETENTION_EVERY);
        loop {
            let closing = self.closing.load(Ordering::Relaxed);
            if closing {
                self.receiver.close();
            } else {
                tokio::select! {
                    () = tokio::time::sleep(self.options.flush_interval) => {}
                    () = self.wake.notified() => {}
                }
            }
            while let (batch, askers, more) = self.gather()
                && !batch.is_empty()
            {
                self.write(batch, askers).await;
                if !more {
                    break;
                }
            }
            self.unspool().await;
            if closing {
                return;
            }
            if retained.is_none_or(|at| at.elapsed() >= RETENTION_EVERY) {
                retained = Some(Instant::now());
                self.retain();
            }
        }
    }

    /// What waits, at most a batch of it; whether there may be more.
    fn gather(&mut self) -> (Batch, Askers, bool) {
        let (mut batch, mut askers) = (Batch::default(), Askers::new());
        while batch.len() < self.options.batch {
            match self.receiver.try_recv() {
                Ok(Item::Decision(mut record)) => {
                    if let (Some(prompt), Some(redact)) = (&mut record.prompt, &self.options.redact) {
                        *prompt = redact.apply(prompt);
                    }
                    batch.decisions.push(*record);
                }
                Ok(Item::Outcomes(reports, asker)) => {
                    askers.push((reports.len(), asker));
                    batch.outcomes.extend(reports);
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return (batch, askers, false),
            }
        }
        (batch, askers, true)
    }

    /// Stores a batch or spools it; where neither works, tries again until one does or the log closes.
    async fn write(&mut self, batch: Batch, askers: Askers) {
        let n = batch.len();
        let filed = loop {
            if self.away.is_over()
                && let Some(filed) = self.store(&batch).await
            {
                break filed;
            }
            match self.spool.append(&batch) {
                Ok(()) => {
                    add(&self.counters.spooled, n);
                    break vec![Filed::Spooled; batch.outcomes.len()];
                }
                Err(error) if self.closing.load(Ordering::Relaxed) => {
                    tracing::error!(%error, records = n, "neither store nor spool takes records: they are lost");
                    add(&self.counters.dropped, n);
                    add(&self.counters.settled, n);
                    return;
                }
                Err(error) => {
                    tracing::error!(%error, "neither store nor spool takes records: they wait in memory");
                    tokio::time::sleep(PAUSES.0.max(self.away.pause)).await;
                }
            }
        };
        add(&self.counters.settled, n);
        self.counters.spool_bytes.store(self.spool.bytes(), Ordering::Relaxed);
        let mut filed = filed.into_iter();
        for (n, asker) in askers {
            // Who no longer waits does not mind.
            let _ = asker.send(filed.by_ref().take(n).collect());
        }
    }

    /// What became of the reports of a batch that the store has, or has refused for good; `None` while it is away.
    async fn store(&mut self, batch: &Batch) -> Option<Vec<Filed>> {
        if self.store.is_none() && self.connect().await.is_err() {
            return None;
        }
        match self.append(batch).await {
            Ok(appended) => Some(appended.outcomes.into_iter().map(Filed::Stored).collect()),
            Err(error) if error.is_transient() => {
                self.is_away(&error);
                None
            }
            Err(_) => self.one_by_one(batch).await,
        }
    }

    async fn append(&mut self, batch: &Batch) -> Result<Appended, StoreError> {
        let Some(store) = &self.store else { return Ok(Appended::default()) };
        let waited = self.options.patience;
        let Ok(appended) = tokio::time::timeout(waited, store.append(batch)).await else {
            return Err(StoreError::Slow { store: crate::redacted(&self.options.url), waited });
        };
        let appended = appended?;
        self.is_back();
        add(&self.counters.stored, batch.len());
        Ok(appended)
    }

    /// A batch that holds a record the store refuses: the others are stored, that one is put aside.
    async fn one_by_one(&mut self, batch: &Batch) -> Option<Vec<Filed>> {
        let singles = batch
            .decisions
            .iter()
            .map(|d| Batch { decisions: vec![d.clone()], outcomes: vec![] })
            .chain(batch.outcomes.iter().map(|o| Batch { decisions: vec![], outcomes: vec![o.clone()] }));
        let mut filed = Vec::new();
        for single in singles {
            match self.append(&single).await {
                Ok(appended) => filed.extend(appended.outcomes.into_iter().map(Filed::Stored)),
                // What is stored already is stored once more later, which changes nothing.
                Err(error) if error.is_transient() => {
                    self.is_away(&error);
                    return None;
                }
                Err(error) => {
                    tracing::error!(%error, "the store refuses a record: it is put aside beside the spool");
                    if let Err(error) = self.spool.reject(&single) {
                        tracing::error!(%error, "and could not be put aside");
                    }
                    add(&self.counters.rejected, 1);
                    filed.extend(single.outcomes.iter().map(|_| Filed::Rejected));
                }
            }
        }
        Some(filed)
    }

    /// Moves what waits in the spool to the store, a segment for each turn, so that new records are not kept waiting.
    async fn unspool(&mut self) {
        if self.spool.is_empty() || !self.away.is_over() {
            return;
        }
        let segment = match self.spool.oldest() {
            Ok(Some(segment)) => segment,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(%error, "the spool cannot be read");
                self.away.failed();
                return;
            }
        };
        if !segment.batch.is_empty() && self.store(&segment.batch).await.is_none() {
            return;
        }
        if segment.unreadable > 0 {
            tracing::error!(
                file = %segment.path.display(),
                lines = segment.unreadable,
                "a segment of the spool has lines that are no records: it is kept as .unreadable"
            );
            add(&self.counters.unreadable, segment.unreadable as usize);
        }
        if let Err(error) = self.spool.remove(&segment) {
            tracing::error!(%error, "a segment of the spool cannot be removed");
            self.away.failed();
        }
        self.counters.spool_bytes.store(self.spool.bytes(), Ordering::Relaxed);
    }

    /// Starts the removal of old records, beside the writing.
    fn retain(&self) {
        let (url, retention) = (self.options.url.clone(), self.options.retention);
        if retention.records.is_none() && retention.prompts.is_none() {
            return;
        }
        tokio::spawn(async move {
            let now_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros());
            let removed = match open(&url).await {
                Ok(store) => store.retain(&retention, i64::try_from(now_us).unwrap_or(i64::MAX)).await,
                Err(error) => Err(error),
            };
            match removed {
                Ok(removed) => tracing::info!(
                    days = removed.days,
                    days_of_prompts = removed.days_of_prompts,
                    "retention"
                ),
                Err(error) => tracing::error!(%error, "retention"),
            }
        });
    }
}
