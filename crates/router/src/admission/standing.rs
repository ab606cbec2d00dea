//! What is known of slots and queue from outside: a moment of them, and what was counted since the start.

use std::time::Duration;

use super::{Priority, Refusal};

/// Upper ends of the buckets of [`QueueTimes`], microseconds; what waited longer is in one more.
pub const QUEUE_TIME_BOUNDS_US: [u64; 12] =
    [0, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000];

/// A moment of slots and queue, and what was counted since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Decisions at once.
    pub slots: usize,
    /// Slots that are taken.
    pub busy: usize,
    /// Requests that may wait.
    pub queue: usize,
    /// Requests that wait, in the order of [`Priority::ALL`]; batches that let others go first are among them.
    pub waiting: [usize; 3],
    /// Queries of those requests.
    pub queries_waiting: u64,
    /// How long a query is expected to hold a slot.
    pub service_time: Duration,
    /// Since the start.
    pub counts: Counts,
}

/// What was counted since the start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    admitted: [u64; 3],
    refused: [[u64; 4]; 3],
    queue_times: QueueTimes,
}

impl Counts {
    /// Requests that were given a slot; one that let others go first counts each time.
    pub fn of_admitted(&self, priority: Priority) -> u64 {
        self.admitted[priority as usize]
    }

    /// Requests that were refused for a reason.
    pub fn of_refused(&self, priority: Priority, refusal: Refusal) -> u64 {
        self.refused[priority as usize][refusal as usize]
    }

    /// How long those waited who were given a slot.
    pub fn queue_times(&self) -> &QueueTimes {
        &self.queue_times
    }

    pub(super) fn admitted(&mut self, priority: Priority, waited: Duration) {
        self.admitted[priority as usize] += 1;
        self.queue_times.add(waited);
    }

    pub(super) fn refused(&mut self, priority: Priority, refusal: Refusal) {
        self.refused[priority as usize][refusal as usize] += 1;
    }
}

/// A histogram of times in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueueTimes {
    /// How many waited at most as long as [`QUEUE_TIME_BOUNDS_US`] has it at the same place and longer than at the one
    /// before; the last waited longer than all of them.
    pub buckets: [u64; QUEUE_TIME_BOUNDS_US.len() + 1],
    /// All of them together.
    pub total: Duration,
}

impl QueueTimes {
    fn add(&mut self, waited: Duration) {
        let within = |bound: &u64| waited <= Duration::from_micros(*bound);
        let bucket = QUEUE_TIME_BOUNDS_US.iter().position(within).unwrap_or(QUEUE_TIME_BOUNDS_US.len());
        self.buckets[bucket] += 1;
        self.total = self.total.saturating_add(waited);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_first_bucket_that_holds_it() {
        let mut times = QueueTimes::default();
        for waited_us in [0, 1, 50, 51, 999_999, 1_000_000, 1_000_001, u64::MAX / 1_000] {
            times.add(Duration::from_micros(waited_us));
        }
        assert_eq!(times.buckets, [1, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2]);
    }
}
