//! Who may compute now, who waits, and who is told no: a bounded number of slots and a bounded
//! queue in front of them. Overload is an answer, not a hang.

use std::sync::atomic::{AtomicUsize, Ordering};

use thiserror::Error;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// Why a request was turned away before any work was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AdmissionError {
    /// Every slot is busy and the queue is full.
    #[error("all {slots} decision slots are busy and {queue} requests wait already")]
    QueueFull {
        /// Decisions at once.
        slots: usize,
        /// Requests that may wait.
        queue: usize,
    },
    /// The deadline passed while waiting, or before.
    #[error("the deadline passed before the decision could start")]
    DeadlineExceeded,
}

/// The right to compute; ends when dropped.
#[derive(Debug)]
pub struct Permit<'a>(#[expect(dead_code, reason = "held for its drop")] SemaphorePermit<'a>);

/// Slots and the queue before them.
#[derive(Debug)]
pub struct Admission {
    slots: usize,
    queue: usize,
    free: Semaphore,
    waiting: AtomicUsize,
}

/// Counts a waiting request for as long as it waits, also when its caller goes away.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Admission {
    /// `slots` decisions at once (at least one), `queue` more may wait.
    pub fn new(slots: usize, queue: usize) -> Self {
        let slots = slots.max(1);
        Self { slots, queue, free: Semaphore::new(slots), waiting: AtomicUsize::new(0) }
    }

    /// A permit at once, after waiting, or a refusal.
    ///
    /// # Errors
    /// When the queue is full or the deadline passes first.
    pub async fn admit(&self, deadline: Option<Instant>) -> Result<Permit<'_>, AdmissionError> {
        if deadline.is_some_and(|d| d <= Instant::now()) {
            return Err(AdmissionError::DeadlineExceeded);
        }
        if let Ok(permit) = self.free.try_acquire() {
            return Ok(Permit(permit));
        }
        let _waiting = self.enqueue()?;
        self.resume(deadline).await
    }

    /// A permit for work that had one and gave it back while it waited for something else: it takes its turn, but
    /// is not refused for a full queue.
    ///
    /// # Errors
    /// When the deadline passes first.
    pub async fn resume(&self, deadline: Option<Instant>) -> Result<Permit<'_>, AdmissionError> {
        let acquire = self.free.acquire();
        let permit = match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline, acquire).await,
            None => Ok(acquire.await),
        };
        match permit {
            Ok(Ok(permit)) => Ok(Permit(permit)),
            // The semaphore is never closed, so what remains is the deadline.
            Ok(Err(_)) | Err(_) => Err(AdmissionError::DeadlineExceeded),
        }
    }

    fn enqueue(&self) -> Result<Waiting<'_>, AdmissionError> {
        let full = AdmissionError::QueueFull { slots: self.slots, queue: self.queue };
        self.waiting
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < self.queue).then_some(n + 1))
            .map(|_| Waiting(&self.waiting))
            .map_err(|_| full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn beyond_slots_and_queue_the_answer_is_no() {
        let admission = Admission::new(1, 1);
        let first = admission.admit(None).await.unwrap();
        let mut second = Box::pin(admission.admit(None));
        // One poll puts it into the queue; the slot frees only after the third was refused.
        assert!(is_pending(&mut second).await);
        let third = admission.admit(None).await;
        assert_eq!(third.err(), Some(AdmissionError::QueueFull { slots: 1, queue: 1 }));
        drop(first);
        assert!(second.await.is_ok());
        assert!(admission.admit(None).await.is_ok(), "every slot is free again");
    }

    /// Polls once.
    async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
        std::future::poll_fn(|cx| {
            std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending())
        })
        .await
    }

    #[tokio::test(start_paused = true)]
    async fn paused_work_takes_its_turn_whatever_the_queue() {
        let admission = Admission::new(1, 0);
        let first = admission.admit(None).await.unwrap();
        let mut paused = Box::pin(admission.resume(None));
        assert!(is_pending(&mut paused).await);
        drop(first);
        assert!(paused.await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_ends_the_wait_and_leaves_no_trace() {
        let admission = Admission::new(1, 4);
        let held = admission.admit(None).await.unwrap();
        let soon = Instant::now() + Duration::from_millis(5);
        assert_eq!(admission.admit(Some(soon)).await.err(), Some(AdmissionError::DeadlineExceeded));
        assert_eq!(admission.waiting.load(Ordering::Acquire), 0);
        drop(held);
        assert_eq!(admission.admit(Some(Instant::now())).await.err(), Some(AdmissionError::DeadlineExceeded));
    }
}
