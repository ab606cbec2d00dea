//! Threads of their own for the encoder: a bounded queue before them, batches where the engine gains by them, and a
//! spare on the CPU for when a device is lost. Milliseconds of work must not sit on the threads that answer in
//! microseconds.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use artifact::{DeepTier, EncoderPlace, EncoderPrecision, read_encoder};
use classifier::Backend;
use crossbeam_channel::{Sender, TrySendError, bounded};
use encoder::{Encoder, EncoderError, EncoderOptions};
use tokio::sync::oneshot;
use types::TierReason;

use crate::RouterError;
use crate::counters::Counters;
use pace::Pace;

mod nursery;
mod pace;

pub use nursery::encoder_threads_begin_here;

/// How the deep tier is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeepOptions {
    /// Whether it is served at all, where the artifact has one.
    pub enabled: bool,
    /// Where the encoder runs; the classifiers stay where [`crate::RouterOptions`] says.
    pub backend: Backend,
    /// In which floats, where that is a GPU.
    pub precision: EncoderPrecision,
    /// Threads that run it, at least 1.
    pub workers: usize,
    /// Queries that may wait for it, at least 1.
    pub queue: usize,
    /// Queries of one batch at most, at least 1.
    pub max_batch: usize,
    /// How long a batch waits for more queries after its first, where queries come together; a lone one never
    /// waits.
    pub max_wait: Duration,
    /// How long a query waits for its vector before the fast tier decides alone.
    pub deadline: Duration,
}

impl Default for DeepOptions {
    fn default() -> Self {
        Self::on(Backend::default())
    }
}

impl DeepOptions {
    /// What suits a backend: query by query on a CPU, where batches gain nothing; batches on a GPU.
    pub fn on(backend: Backend) -> Self {
        let (queue, max_batch, max_wait_us) = if backend.is_gpu() { (256, 32, 500) } else { (8, 1, 0) };
        Self {
            enabled: true,
            backend,
            precision: EncoderPrecision::Auto,
            workers: 1,
            queue,
            max_batch,
            max_wait: Duration::from_micros(max_wait_us),
            deadline: Duration::from_millis(15),
        }
    }

    /// Where the encoder computes; `None` where the tier is not served and its encoder need not be read.
    pub(crate) fn place(&self) -> Option<EncoderPlace> {
        self.enabled.then_some(EncoderPlace { backend: self.backend, precision: self.precision })
    }
}

/// Time kept for the way back to a caller with a deadline of its own.
const WAY_BACK: Duration = Duration::from_millis(2);

/// What the threads run: an encoder, or a test's double of one.
pub(crate) trait Embed: Send + Sync {
    /// The token ids of a text.
    fn ids(&self, text: &str) -> Result<Vec<u32>, EncoderError>;
    /// The vectors of several texts' ids. May panic: a lost device does so deep inside.
    fn embed_batch(&self, rows: &[&[u32]]) -> Vec<Vec<f32>>;
    /// Gives memory that was kept for reuse back.
    fn release_memory(&self) {}
    /// Engine and size in a few words.
    fn describe(&self) -> String;
}

impl Embed for Encoder {
    fn ids(&self, text: &str) -> Result<Vec<u32>, EncoderError> {
        self.tokens().ids(text)
    }

    fn embed_batch(&self, rows: &[&[u32]]) -> Vec<Vec<f32>> {
        Self::embed_batch(self, rows)
    }

    fn release_memory(&self) {
        Self::release_memory(self);
    }

    fn describe(&self) -> String {
        Self::describe(self)
    }
}

/// Makes what takes the place of a lost engine; `None` when that fails too.
pub(crate) type Spare = Box<dyn Fn() -> Option<Arc<dyn Embed>> + Send + Sync>;

/// A query's vector.
#[derive(Debug, PartialEq)]
pub(crate) struct Embedded {
    pub(crate) vector: Vec<f32>,
    /// The device of the configuration is gone, and this came from its spare.
    pub(crate) device_lost: bool,
}

type Answer = Result<Embedded, TierReason>;

#[derive(Debug)]
struct Job {
    ids: Vec<u32>,
    since: Instant,
    until: Instant,
    reply: oneshot::Sender<Answer>,
}

/// The claim on a vector that is being made.
#[derive(Debug)]
pub(crate) struct Ticket {
    answer: oneshot::Receiver<Answer>,
    until: Instant,
}

impl Ticket {
    /// The vector, or why there is none in time.
    pub(crate) async fn wait(self) -> Answer {
        match tokio::time::timeout_at(self.until.into(), self.answer).await {
            Ok(Ok(answer)) => answer,
            // A worker drops what it is too late for.
            Ok(Err(_)) | Err(_) => Err(TierReason::DeadlineTooNear),
        }
    }
}

/// The engine in use and what stands in for it; shared by the workers.
struct Engine {
    current: Mutex<Arc<dyn Embed>>,
    spare: Spare,
    lost: AtomicBool,
    counters: Arc<Counters>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("lost", &self.lost).finish_non_exhaustive()
    }
}

impl Engine {
    fn current(&self) -> Arc<dyn Embed> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The vectors, from the spare if the engine fails now; `None` when both do.
    fn embed(&self, rows: &[&[u32]]) -> Option<Vec<Vec<f32>>> {
        let engine = self.current();
        caught(&*engine, rows).or_else(|| caught(&*self.instead_of(&engine)?, rows))
    }

    /// What takes the place of an engine that failed. It is made once: a spare has none of its own.
    fn instead_of(&self, failed: &Arc<dyn Embed>) -> Option<Arc<dyn Embed>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&current, failed) {
            return Some(current.clone());
        }
        if self.lost.swap(true, Ordering::AcqRel) {
            return None;
        }
        self.counters.lost();
        let spare = catch_unwind(AssertUnwindSafe(&self.spare)).ok()??;
        *current = spare.clone();
        Some(spare)
    }

    /// One text of each of a few lengths, alone and as a full batch, the largest last: shaders are compiled, pages
    /// are touched, and of the memory that grew on the way only what the largest batch needs is asked for again.
    fn warm_up(&self, max_batch: usize) -> Result<(), TierReason> {
        for words in [16, 64, 256] {
            let ids = self.current().ids(&"word ".repeat(words)).map_err(|_| TierReason::EncoderFailed)?;
            for rows in [1, max_batch] {
                self.embed(&vec![ids.as_slice(); rows]).ok_or(TierReason::DeviceLost)?;
            }
        }
        self.current().release_memory();
        Ok(())
    }

    fn answer(&self, mut batch: Vec<Job>) {
        let (now, taken) = (Instant::now(), batch.len());
        batch.retain(|job| now < job.until && !job.reply.is_closed());
        self.counters.skipped(taken - batch.len());
        if batch.is_empty() {
            return;
        }
        let rows: Vec<&[u32]> = batch.iter().map(|job| job.ids.as_slice()).collect();
        let vectors = self.embed(&rows);
        let computed = now.elapsed();
        let device_lost = self.lost.load(Ordering::Acquire);
        let Some(vectors) = vectors else {
            for job in batch {
                // A caller that has gone needs no answer.
                let _ = job.reply.send(Err(TierReason::DeviceLost));
            }
            return;
        };
        let queued = batch.iter().map(|job| now.saturating_duration_since(job.since)).sum();
        self.counters.batch(vectors.len(), queued, computed);
        for (job, vector) in batch.into_iter().zip(vectors) {
            let _ = job.reply.send(Ok(Embedded { vector, device_lost }));
        }
    }
}

/// One vector per row, or `None` when the engine panics.
fn caught(engine: &dyn Embed, rows: &[&[u32]]) -> Option<Vec<Vec<f32>>> {
    let vectors = catch_unwind(AssertUnwindSafe(|| engine.embed_batch(rows))).ok()?;
    (vectors.len() == rows.len()).then_some(vectors)
}

/// The queue and the threads behind it; they end when this is dropped.
#[derive(Debug)]
pub(crate) struct DeepWorkers {
    jobs: Sender<Job>,
    engine: Arc<Engine>,
    options: DeepOptions,
}

impl DeepWorkers {
    /// Threads for the encoder of a tier, warm when this returns.
    pub(crate) fn of(
        tier: &DeepTier,
        options: &DeepOptions,
        counters: Arc<Counters>,
    ) -> Result<Self, RouterError> {
        let files = tier.files().clone();
        let spare = move || {
            let encoder = read_encoder(&files, &EncoderOptions::default(), Backend::Flex.into()).ok()?;
            Some(Arc::new(encoder) as Arc<dyn Embed>)
        };
        Self::start(tier.encoder().clone(), Box::new(spare), options, counters)
    }

    /// The same for any engine.
    pub(crate) fn start(
        engine: Arc<dyn Embed>,
        spare: Spare,
        options: &DeepOptions,
        counters: Arc<Counters>,
    ) -> Result<Self, RouterError> {
        let lost = AtomicBool::new(false);
        let engine = Arc::new(Engine { current: Mutex::new(engine), spare, lost, counters });
        let (jobs, queue) = bounded(options.queue.max(1));
        let (ready, warm) = mpsc::channel();
        for worker in 0..options.workers.max(1) {
            let (engine, queue, ready) = (engine.clone(), queue.clone(), ready.clone());
            let (max_batch, max_wait) = (options.max_batch.max(1), options.max_wait);
            let work = move || {
                let _ = ready.send(engine.warm_up(max_batch));
                drop(ready);
                let mut pace = Pace::new(max_batch, max_wait);
                while let Some(batch) = pace.collect(&queue) {
                    let size = batch.len();
                    engine.answer(batch);
                    pace.answered(size);
                }
            };
            nursery::spawn(format!("encoder-{worker}"), || encoder::on_this_thread(work))
                .map_err(RouterError::EncoderThread)?;
        }
        drop(ready);
        warm.iter().collect::<Result<(), _>>().map_err(RouterError::EncoderWarmUp)?;
        Ok(Self { jobs, engine, options: options.clone() })
    }

    /// Queues a text for the encoder.
    ///
    /// # Errors
    /// The reason for which the fast tier decides alone: the deadline, the queue, the encoder.
    pub(crate) fn submit(&self, text: &str, deadline: Option<Instant>) -> Result<Ticket, TierReason> {
        let now = Instant::now();
        let own = now + self.options.deadline;
        let until = deadline.map_or(own, |d| own.min(d.checked_sub(WAY_BACK).unwrap_or(now)));
        if until <= now {
            return Err(TierReason::DeadlineTooNear);
        }
        if self.jobs.is_full() {
            return Err(TierReason::QueueFull);
        }
        let ids = self.engine.current().ids(text).map_err(|_| TierReason::EncoderFailed)?;
        let (reply, answer) = oneshot::channel();
        self.jobs.try_send(Job { ids, since: now, until, reply }).map_err(|e| match e {
            TrySendError::Full(_) => TierReason::QueueFull,
            TrySendError::Disconnected(_) => TierReason::DeviceLost,
        })?;
        Ok(Ticket { answer, until })
    }

    /// The engine in use, in a few words.
    pub(crate) fn describe(&self) -> String {
        self.engine.current().describe()
    }

    /// Queries that run at the same time.
    pub(crate) fn at_once(&self) -> usize {
        (self.options.workers.max(1) * self.options.max_batch.max(1)).min(self.options.queue.max(1))
    }
}

#[cfg(test)]
mod tests;
