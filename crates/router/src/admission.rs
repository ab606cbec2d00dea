//! Who may compute now, who waits, and who is told no: a bounded number of slots, a bounded queue in front of them, and
//! a measure of how long work takes, so that what cannot be done in time is refused before it starts. Overload is an
//! answer, not a hang.
//!
//! A free slot is taken under one short lock, without allocation. A freed slot is handed to the next in the queue (see
//! `queue` for whose turn it is) and never lies idle in between, so nobody overtakes.

mod estimate;
mod queue;
mod standing;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::oneshot;
use tokio::time::Instant;

use estimate::Estimate;
pub use queue::QueueRoom;
use queue::{Place, Queue};
pub use standing::{Counts, QUEUE_TIME_BOUNDS_US, QueueTimes, Standing};

/// The shortest and the longest delay that a refused caller is told: below, the way there and back is longer; above,
/// nobody knows.
const RETRY: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(30));

/// Who is refused first when there is more work than can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// Waits in the first half of the queue only.
    Low,
    /// Waits in the first seven eighths.
    #[default]
    Normal,
    /// Waits wherever there is room.
    High,
}

impl Priority {
    /// All, the first to be refused first.
    pub const ALL: [Self; 3] = [Self::Low, Self::Normal, Self::High];

    /// As a label has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// The priority of a label's value; anything unknown is normal.
    pub fn of_label(value: &str) -> Self {
        Self::ALL.into_iter().find(|priority| priority.as_str() == value).unwrap_or_default()
    }
}

/// What wants a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// How important it is.
    pub priority: Priority,
    /// How many queries it decides, one after the other.
    pub queries: u32,
    /// Bytes it takes while it waits, those of its message.
    pub bytes: usize,
    /// When its caller stops waiting.
    pub deadline: Option<Instant>,
}

impl Work {
    /// One query.
    pub fn one(priority: Priority, bytes: usize, deadline: Option<Instant>) -> Self {
        Self { priority, queries: 1, bytes, deadline }
    }
}

/// The kinds of refusal, for counting them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The queue is full.
    QueueFull,
    /// What is left of the queue is for more important work.
    Shed,
    /// It could not be done before its deadline.
    DeadlineCannotBeMet,
    /// The deadline had passed before it started.
    DeadlinePassed,
}

impl Refusal {
    /// All.
    pub const ALL: [Self; 4] = [Self::QueueFull, Self::Shed, Self::DeadlineCannotBeMet, Self::DeadlinePassed];

    /// As callers and metrics are told.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "QUEUE_FULL",
            Self::Shed => "SHED_PRIORITY",
            Self::DeadlineCannotBeMet => "DEADLINE_CANNOT_BE_MET",
            Self::DeadlinePassed => "DEADLINE_PASSED",
        }
    }
}

/// Why a request was turned away before any work was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AdmissionError {
    /// Every slot is busy and the queue is full.
    #[error("all {slots} decision slots are busy and {waiting} requests of {bytes} bytes wait already")]
    QueueFull {
        /// Decisions at once.
        slots: usize,
        /// Requests that wait.
        waiting: usize,
        /// Bytes of them.
        bytes: usize,
        /// When what waits now will have been done.
        retry_after: Duration,
    },
    /// Every slot is busy and what is left of the queue is for more important requests.
    #[error(
        "all {slots} decision slots are busy and {waiting} requests wait: of priority {}, no more are taken now",
        priority.as_str()
    )]
    Shed {
        /// Decisions at once.
        slots: usize,
        /// Requests that wait.
        waiting: usize,
        /// Of the request.
        priority: Priority,
        /// When what waits now will have been done.
        retry_after: Duration,
    },
    /// What waits before it and the work itself take longer than the caller will wait.
    #[error("it would take about {needed:?}, of which {wait:?} waiting, and {left:?} are left")]
    DeadlineCannotBeMet {
        /// Waiting and work.
        needed: Duration,
        /// Waiting alone.
        wait: Duration,
        /// Until the deadline.
        left: Duration,
    },
    /// The deadline passed while waiting, or before.
    #[error("the deadline passed before the decision could start")]
    DeadlineExceeded,
}

impl AdmissionError {
    /// Its kind.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::QueueFull { .. } => Refusal::QueueFull,
            Self::Shed { .. } => Refusal::Shed,
            Self::DeadlineCannotBeMet { .. } => Refusal::DeadlineCannotBeMet,
            Self::DeadlineExceeded => Refusal::DeadlinePassed,
        }
    }

    /// When trying again has a chance; `None` where the queue is not what is in the way.
    pub fn retry_after(&self) -> Option<Duration> {
        match *self {
            Self::QueueFull { retry_after, .. } | Self::Shed { retry_after, .. } => Some(retry_after),
            Self::DeadlineCannotBeMet { wait, .. } if !wait.is_zero() => Some(wait.clamp(RETRY.0, RETRY.1)),
            Self::DeadlineCannotBeMet { .. } | Self::DeadlineExceeded => None,
        }
    }
}

/// Slots and the queue before them.
#[derive(Debug)]
pub struct Admission(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    slots: usize,
    room: QueueRoom,
    state: Mutex<State>,
}

/// While a slot is free nobody waits.
#[derive(Debug, Default)]
struct State {
    busy: usize,
    /// Queries of those who hold a slot.
    running: u64,
    waiting: Queue<oneshot::Sender<Permit>>,
    estimate: Estimate,
    counts: Counts,
}

/// The right to compute; ends when dropped.
#[derive(Debug)]
pub struct Permit {
    shared: Arc<Shared>,
    /// Queries it was given for.
    queries: u32,
    /// Queries that were decided with it, where it was for several.
    decided: u32,
    /// When its work began; never, where nobody was there any more to take it.
    since: Option<Instant>,
}

impl Permit {
    /// Counts queries of a batch that were decided with it: what is measured is the time of one.
    pub fn decided(&mut self, queries: usize) {
        self.decided = self.decided.saturating_add(u32::try_from(queries).unwrap_or(u32::MAX));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let next = {
            let mut state = self.shared.state();
            if let Some(since) = self.since {
                state.estimate.add(since.elapsed(), self.decided);
            }
            state.running = state.running.saturating_sub(u64::from(self.queries));
            let next = state.waiting.next();
            match &next {
                Some(next) => state.running += u64::from(next.queries),
                None => state.busy -= 1,
            }
            next
        };
        if let Some(next) = next {
            let shared = Arc::clone(&self.shared);
            // One who has left by now hands the slot on: what comes back is a permit, and is dropped.
            drop(next.grant.send(Self { shared, queries: next.queries, decided: 0, since: None }));
        }
    }
}

/// Takes somebody out of the queue who leaves before it was their turn.
struct Leaving<'a> {
    shared: &'a Shared,
    place: Option<Place>,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.shared.state().waiting.remove(place);
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the work ahead of a priority will take: what waits at least as important, and half of what runs.
    fn wait(&self, state: &State, priority: Priority) -> Duration {
        let ahead = state.waiting.ahead_of(priority) + state.running / 2;
        state.estimate.of(ahead) / u32::try_from(self.slots).unwrap_or(u32::MAX)
    }

    /// Refuses work that the queue has no room for, or that could not be done in time.
    fn may_wait(&self, state: &State, work: Work, now: Instant) -> Result<(), AdmissionError> {
        let takes = |priority| state.waiting.takes(self.room, priority, work.bytes, now);
        if !takes(work.priority) {
            let retry_after = self.wait(state, Priority::Low).clamp(RETRY.0, RETRY.1);
            let (slots, waiting, bytes) = (self.slots, state.waiting.len(), state.waiting.bytes());
            return Err(if takes(Priority::High) {
                AdmissionError::Shed { slots, waiting, priority: work.priority, retry_after }
            } else {
                AdmissionError::QueueFull { slots, waiting, bytes, retry_after }
            });
        }
        in_time(state, work, self.wait(state, work.priority), left(work.deadline, now))
    }
}

/// Refuses work that would end after its deadline.
fn in_time(state: &State, work: Work, wait: Duration, left: Option<Duration>) -> Result<(), AdmissionError> {
    let needed = wait + state.estimate.of(u64::from(work.queries));
    match left {
        Some(left) if needed > left => Err(AdmissionError::DeadlineCannotBeMet { needed, wait, left }),
        _ => Ok(()),
    }
}

/// What is left until a deadline.
fn left(deadline: Option<Instant>, now: Instant) -> Option<Duration> {
    Some(deadline?.saturating_duration_since(now))
}

impl Admission {
    /// `slots` decisions at once (at least one), and room for those who wait.
    pub fn new(slots: usize, room: QueueRoom) -> Self {
        Self(Arc::new(Shared { slots: slots.max(1), room, state: Mutex::default() }))
    }

    /// A permit at once, after waiting, or a refusal.
    ///
    /// # Errors
    /// When there is no room for it in the queue, or it could not be done before its deadline.
    pub async fn admit(&self, work: Work) -> Result<Permit, AdmissionError> {
        let now = Instant::now();
        let granted = {
            let mut state = self.0.state();
            let entered = self.enter(&mut state, work, now);
            match entered {
                Ok(None) => return Ok(self.permit(work, now)),
                Ok(Some(granted)) => granted,
                Err(refused) => {
                    state.counts.refused(work.priority, refused.refusal());
                    return Err(refused);
                }
            }
        };
        self.turn(work, now, granted).await
    }

    /// A permit for work that had one and gave it back while it waited for something else: it takes its turn, but
    /// is not refused for a full queue.
    ///
    /// # Errors
    /// When the deadline passes first.
    pub async fn resume(&self, work: Work) -> Result<Permit, AdmissionError> {
        let now = Instant::now();
        let granted = {
            let mut state = self.0.state();
            if left(work.deadline, now).is_some_and(|left| left.is_zero()) {
                state.counts.refused(work.priority, Refusal::DeadlinePassed);
                return Err(AdmissionError::DeadlineExceeded);
            }
            if state.busy < self.0.slots {
                take(&mut state, work);
                state.counts.admitted(work.priority, Duration::ZERO);
                return Ok(self.permit(work, now));
            }
            line_up(&mut state, work, now)
        };
        self.turn(work, now, granted).await
    }

    /// Lets those who wait and are no less important go first, between two queries of a long batch; where nobody
    /// does, this costs a look.
    ///
    /// # Errors
    /// When the deadline passes while the others have their turn.
    pub async fn alternate(&self, permit: Permit, work: Work) -> Result<Permit, AdmissionError> {
        if self.0.state().waiting.ahead_of(work.priority) == 0 {
            return Ok(permit);
        }
        drop(permit);
        self.resume(work).await
    }

    /// Where it stands.
    pub fn standing(&self) -> Standing {
        let state = self.0.state();
        Standing {
            slots: self.0.slots,
            busy: state.busy,
            queue: self.0.room.requests,
            waiting: Priority::ALL.map(|priority| state.waiting.of(priority)),
            queries_waiting: state.waiting.ahead_of(Priority::Low),
            service_time: state.estimate.of(1),
            counts: state.counts.clone(),
        }
    }

    /// Takes a free slot (none), or a place in the queue.
    fn enter(
        &self,
        state: &mut State,
        work: Work,
        now: Instant,
    ) -> Result<Option<(Place, oneshot::Receiver<Permit>)>, AdmissionError> {
        let left = left(work.deadline, now);
        if left.is_some_and(|left| left.is_zero()) {
            return Err(AdmissionError::DeadlineExceeded);
        }
        if state.busy == self.0.slots {
            self.0.may_wait(state, work, now)?;
            return Ok(Some(line_up(state, work, now)));
        }
        // With nothing running there is nobody to protect, and what runs then keeps the estimate true: without it one
        // slow moment could turn everybody away for good.
        if state.busy > 0 {
            in_time(state, work, Duration::ZERO, left)?;
        }
        take(state, work);
        state.counts.admitted(work.priority, Duration::ZERO);
        Ok(None)
    }

    fn permit(&self, work: Work, now: Instant) -> Permit {
        Permit { shared: Arc::clone(&self.0), queries: work.queries, decided: 0, since: Some(now) }
    }

    /// Waits for its turn.
    async fn turn(
        &self,
        work: Work,
        came: Instant,
        (place, granted): (Place, oneshot::Receiver<Permit>),
    ) -> Result<Permit, AdmissionError> {
        let mut leaving = Leaving { shared: &self.0, place: Some(place) };
        let granted = match work.deadline {
            Some(deadline) => tokio::time::timeout_at(deadline, granted).await.ok(),
            None => Some(granted.await),
        };
        // A place in the queue is given up by its holder alone, so what is missing here is time.
        let Some(Ok(mut permit)) = granted else {
            self.0.state().counts.refused(work.priority, Refusal::DeadlinePassed);
            return Err(AdmissionError::DeadlineExceeded);
        };
        leaving.place = None;
        let now = Instant::now();
        let late = {
            let mut state = self.0.state();
            let late = in_time(&state, work, Duration::ZERO, left(work.deadline, now));
            match &late {
                Ok(()) => state.counts.admitted(work.priority, now - came),
                Err(refused) => state.counts.refused(work.priority, refused.refusal()),
            }
            late
        };
        late?;
        permit.since = Some(now);
        Ok(permit)
    }
}

/// Takes a free slot.
fn take(state: &mut State, work: Work) {
    state.busy += 1;
    state.running += u64::from(work.queries);
}

/// Takes a place in the queue.
fn line_up(state: &mut State, work: Work, now: Instant) -> (Place, oneshot::Receiver<Permit>) {
    let (grant, granted) = oneshot::channel();
    (state.waiting.push(work, grant, now), granted)
}

#[cfg(test)]
mod tests;
