//! One run: requests are sent when they are due, or as fast as callers are answered, and what comes of them is
//! counted. Each thread has its own connections and its own tally; nothing is shared while it runs.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use http::Request;
use tokio::sync::Notify;
use tokio::task::LocalSet;
use tonic::Code;

use super::bodies::{self, Queries, Shape};
use super::lanes::Lane;
use super::pace::{Arrivals, Schedule, Ticks};
use super::tally::{Report, Tally};
use super::wire::{Endpoint, Failure, Link};

/// Calls that may be without an answer at once, of one thread; what is due beyond them is not sent, and counted.
const MOST_IN_FLIGHT: usize = 20_000;
/// How long the last answers are waited for.
const GRACE: Duration = Duration::from_secs(10);
/// How long a client waits before it asks again.
const BACKOFF: Duration = Duration::from_millis(20);
/// Of so many answers one is decoded and checked.
const CHECK_ONE_OF: u64 = 256;
/// How long connections are waited for before the first request.
const CONNECT: Duration = Duration::from_secs(20);

/// What sets the pace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Load {
    /// The clock: so many queries a second, answered or not.
    Open {
        /// Queries, not calls.
        per_second: f64,
        /// How they arrive.
        arrivals: Arrivals,
    },
    /// So many callers, each waiting for its answer.
    Closed {
        /// How many.
        callers: usize,
    },
}

/// A run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// How queries travel.
    pub(crate) shape: Shape,
    /// What they are like.
    pub(crate) queries: Queries,
    /// What sets the pace.
    pub(crate) load: Load,
    /// At first nothing is counted for so long.
    pub(crate) warmup: Duration,
    /// Then it is, for so long.
    pub(crate) duration: Duration,
    /// Latencies are told apart by stretches of so long.
    pub(crate) window: Duration,
    /// Connections, at least one for each thread.
    pub(crate) connections: usize,
    /// Streams of each connection.
    pub(crate) streams: usize,
    /// Threads of the client.
    pub(crate) threads: usize,
    /// The deadline of a call.
    pub(crate) timeout: Option<Duration>,
    /// For how long a call that broke or was shed is made again; not at all where there is none.
    pub(crate) patience: Option<Duration>,
}

impl Plan {
    /// A plan with the usual connections.
    pub(crate) fn new(shape: Shape, queries: Queries, load: Load, duration: Duration) -> Self {
        Self {
            shape,
            queries,
            load,
            warmup: Duration::from_secs(1).min(duration),
            duration,
            window: Duration::from_secs(60),
            connections: 4,
            streams: 8,
            threads: 1,
            timeout: None,
            patience: None,
        }
    }

    /// Runs it now.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub(crate) fn run(&self, endpoint: &Endpoint) -> Result<Report> {
        self.run_from(endpoint, Instant::now() + Duration::from_millis(200))
    }

    /// Runs it with its first request, that of the warm-up, due at `begin`.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub(crate) fn run_from(&self, endpoint: &Endpoint, begin: Instant) -> Result<Report> {
        ensure!(self.threads > 0 && self.connections >= self.threads, "a thread without a connection");
        let frames = self.queries.frames(self.shape);
        let mut tally = Tally::new(self.window);
        std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for at in 0..self.threads {
                let frames = frames.clone();
                threads.push(scope.spawn(move || self.thread(at, endpoint, frames, begin)));
            }
            for thread in threads {
                tally.merge(thread.join().map_err(|_| anyhow!("a thread of the client panicked"))??)?;
            }
            anyhow::Ok(())
        })?;
        let asked = match self.load {
            Load::Open { per_second, .. } => Some(per_second),
            Load::Closed { .. } => None,
        };
        tally.report(asked, self.duration)
    }

    fn thread(&self, at: usize, endpoint: &Endpoint, frames: Vec<Bytes>, begin: Instant) -> Result<Tally> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let local = LocalSet::new();
        let engine = runtime.block_on(local.run_until(async {
            let engine = Rc::new(Engine::start(self, at, endpoint, frames, begin).await?);
            engine.drive(self, at).await?;
            anyhow::Ok(engine)
        }))?;
        // With the tasks go their hands on the engine.
        drop(local);
        let engine = Rc::into_inner(engine).context("a task outlived its set")?;
        match engine.fault.into_inner() {
            Some(fault) => Err(fault),
            None => Ok(engine.tally.into_inner()),
        }
    }

    /// What one thread does of a number.
    fn share(&self, at: usize, of: usize) -> usize {
        of / self.threads + usize::from(at < of % self.threads)
    }
}

/// One thread's connections and counts.
pub(crate) struct Engine {
    links: Vec<Rc<Link>>,
    next: Cell<usize>,
    pub(crate) request: Request<()>,
    frames: Vec<Bytes>,
    pub(crate) shape: Shape,
    begin: Instant,
    warmup: Duration,
    end: Duration,
    timeout: Option<Duration>,
    patience: Option<Duration>,
    tally: RefCell<Tally>,
    in_flight: Cell<usize>,
    idle: Notify,
    answers: Cell<u64>,
    /// What went wrong with the client itself.
    fault: RefCell<Option<anyhow::Error>>,
}

impl Engine {
    async fn start(
        plan: &Plan,
        at: usize,
        endpoint: &Endpoint,
        frames: Vec<Bytes>,
        begin: Instant,
    ) -> Result<Self> {
        let shared = Rc::new(endpoint.clone());
        let links: Vec<_> =
            (0..plan.share(at, plan.connections)).map(|_| Link::keep(Rc::clone(&shared))).collect();
        for link in &links {
            let up = tokio::time::timeout(CONNECT, link.up()).await;
            up.map(drop).with_context(|| format!("no connection to {endpoint:?} in {CONNECT:?}"))?;
        }
        Ok(Self {
            links,
            next: Cell::new(0),
            request: endpoint.request(plan.shape.path(), plan.timeout)?,
            frames,
            shape: plan.shape,
            begin,
            warmup: plan.warmup,
            end: plan.warmup + plan.duration,
            timeout: plan.timeout,
            patience: plan.patience,
            tally: RefCell::new(Tally::new(plan.window)),
            in_flight: Cell::new(0),
            idle: Notify::new(),
            answers: Cell::new(0),
            fault: RefCell::new(None),
        })
    }

    async fn drive(self: &Rc<Self>, plan: &Plan, at: usize) -> Result<()> {
        let mut lanes = Vec::new();
        if plan.shape == Shape::Stream {
            for link in &self.links {
                for _ in 0..plan.streams {
                    lanes.push(Lane::open(self, link).await?);
                }
            }
        }
        tokio::time::sleep_until(self.begin.into()).await;
        let measured = self.count_traffic_from(self.warmup);
        match plan.load {
            Load::Open { per_second, arrivals } => {
                let calls = per_second / f64::from(plan.shape.queries()) / plan.threads as f64;
                self.by_the_clock(Schedule::new(arrivals, calls, at as u64), &lanes).await?;
            }
            Load::Closed { callers } => self.by_answers(plan.share(at, callers).max(1), &lanes).await,
        }
        for lane in &lanes {
            lane.close();
        }
        // What is late is waited for, but not for good.
        let _ = tokio::time::timeout(GRACE, self.all_answered()).await;
        let missing = u32::try_from(self.in_flight.get())? * self.shape.queries();
        if missing > 0 {
            let failure = Failure::new(Code::DeadlineExceeded, "no answer when the run was over");
            self.settle(self.end, Err(failure), missing);
        }
        let (sent, received) = measured.await?;
        let mut tally = self.tally.borrow_mut();
        (tally.sent_bytes, tally.received_bytes) = (self.traffic().0 - sent, self.traffic().1 - received);
        Ok(())
    }

    /// Requests when they are due.
    async fn by_the_clock(self: &Rc<Self>, schedule: Schedule, lanes: &[Rc<Lane>]) -> Result<()> {
        let ticks = Ticks::start(self.begin)?;
        let end = self.end.as_secs_f64();
        let mut dues = schedule.take_while(|due| *due < end).map(Duration::from_secs_f64).peekable();
        while let Some(&next) = dues.peek() {
            ticks.wait(next).await;
            let now = self.now();
            while let Some(due) = dues.next_if(|due| *due <= now) {
                if self.in_flight.get() >= MOST_IN_FLIGHT {
                    self.tally.borrow_mut().unsent += u64::from(self.shape.queries());
                } else if lanes.is_empty() {
                    let engine = Rc::clone(self);
                    self.begun();
                    tokio::task::spawn_local(async move { engine.ask(due).await });
                } else {
                    lanes[self.turn() % lanes.len()].put(self, due);
                }
            }
            for lane in lanes {
                lane.flush();
            }
        }
        Ok(())
    }

    /// Requests as earlier ones are answered.
    async fn by_answers(self: &Rc<Self>, callers: usize, lanes: &[Rc<Lane>]) {
        if lanes.is_empty() {
            for _ in 0..callers {
                let engine = Rc::clone(self);
                tokio::task::spawn_local(async move {
                    while engine.now() < engine.end {
                        engine.begun();
                        engine.ask(engine.now()).await;
                    }
                });
            }
        }
        for lane in lanes {
            lane.ask_again();
            for _ in 0..(callers / lanes.len()).max(1) {
                lane.put(self, self.now());
            }
            lane.flush();
        }
        tokio::time::sleep_until((self.begin + self.end).into()).await;
    }

    /// One call, made again as long as there is patience.
    async fn ask(&self, due: Duration) {
        let frame = self.frame();
        let answer = loop {
            let link = &self.links[self.turn() % self.links.len()];
            let call = link.call(self.request.clone(), frame.clone());
            let answer = match self.timeout {
                None => call.await,
                Some(limit) => tokio::time::timeout(limit, call).await.unwrap_or_else(|_| {
                    Err(Failure::new(Code::DeadlineExceeded, format!("no answer in {limit:?}")))
                }),
            };
            match answer {
                Err(failure) if failure.passes() && self.patient(due) => {
                    self.tally.borrow_mut().retried += 1;
                    tokio::time::sleep(BACKOFF).await;
                    // While nobody listens there is nothing to ask; how that ends is seen by the next call.
                    let _ = tokio::time::timeout(self.patience.unwrap_or_default(), link.up()).await;
                }
                answer => break answer,
            }
        };
        self.settle(due, answer, self.shape.queries());
        self.ended();
    }

    /// Counts what came of a request.
    pub(crate) fn settle(&self, due: Duration, answer: Result<Bytes, Failure>, queries: u32) {
        if due < self.warmup {
            return;
        }
        let (latency, due) = (self.now().saturating_sub(due), due - self.warmup);
        let mut tally = self.tally.borrow_mut();
        tally.calls += 1;
        let counted = answer.and_then(|message| self.looked_at(&message, &mut tally));
        let recorded = match counted {
            Ok(answered) => {
                let refused = answered.refused.iter().try_for_each(|code| {
                    let failure = Failure::new(Code::from_i32(*code), "a query of several was refused");
                    tally.failed(due, &failure, 1)
                });
                refused.and_then(|()| tally.answered(due, latency, answered.decisions))
            }
            Err(failure) => tally.failed(due, &failure, queries),
        };
        if let Err(fault) = recorded {
            self.fault.borrow_mut().get_or_insert(fault);
        }
    }

    /// Counts an answer, and checks one of many.
    fn looked_at(&self, message: &[u8], tally: &mut Tally) -> Result<bodies::Answered, Failure> {
        let wrong = |error: anyhow::Error| Failure::new(Code::DataLoss, format!("a wrong answer: {error}"));
        self.answers.set(self.answers.get() + 1);
        if self.answers.get() % CHECK_ONE_OF == 1 {
            bodies::check(self.shape, message).map_err(wrong)?;
            tally.checked += 1;
        }
        bodies::count(self.shape, message).map_err(wrong)
    }

    /// The next of the messages that are sent over and over.
    pub(crate) fn frame(&self) -> Bytes {
        self.frames[self.turn() % self.frames.len()].clone()
    }

    /// Since the first request was due.
    pub(crate) fn now(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Whether requests are still to be made.
    pub(crate) fn goes_on(&self) -> bool {
        self.now() < self.end
    }

    pub(crate) fn begun(&self) {
        self.in_flight.set(self.in_flight.get() + 1);
    }

    pub(crate) fn ended(&self) {
        self.in_flight.set(self.in_flight.get() - 1);
        if self.in_flight.get() == 0 {
            self.idle.notify_one();
        }
    }

    fn patient(&self, due: Duration) -> bool {
        self.patience.is_some_and(|patience| self.now().saturating_sub(due) < patience)
    }

    fn turn(&self) -> usize {
        self.next.replace(self.next.get().wrapping_add(1))
    }

    async fn all_answered(&self) {
        while self.in_flight.get() > 0 {
            self.idle.notified().await;
        }
    }

    fn traffic(&self) -> (u64, u64) {
        let sum = |of: fn(&Link) -> u64| self.links.iter().map(|link| of(link)).sum();
        (sum(|link| link.traffic.sent.get()), sum(|link| link.traffic.received.get()))
    }

    /// What the wire had carried when the warm-up was over.
    fn count_traffic_from(self: &Rc<Self>, warmup: Duration) -> tokio::task::JoinHandle<(u64, u64)> {
        let engine = Rc::clone(self);
        tokio::task::spawn_local(async move {
            tokio::time::sleep_until((engine.begin + warmup).into()).await;
            engine.traffic()
        })
    }
}
