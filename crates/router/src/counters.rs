//! What the tiers did since the router was loaded: atomics made once, read as a snapshot.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use types::TierReason;

/// Counted since the router was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierCounts {
    /// Decisions by reason; the reason says which tier.
    pub decisions: Vec<(TierReason, u64)>,
    /// Batches the encoder ran.
    pub batches: u64,
    /// Queries in them.
    pub batched_rows: u64,
    /// How long these waited for it, summed over queries.
    pub queued: Duration,
    /// How long it computed, summed over batches.
    pub computed: Duration,
    /// Queries that were dropped before the encoder saw them: their deadline was over or their caller gone.
    pub skipped: u64,
    /// How often the encoder's device was lost.
    pub device_lost: u64,
}

impl TierCounts {
    /// Decisions for a reason.
    pub fn of(&self, reason: TierReason) -> u64 {
        self.decisions.iter().find(|(r, _)| *r == reason).map_or(0, |(_, count)| *count)
    }
}

/// The counters themselves.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    decisions: [AtomicU64; TierReason::ALL.len()],
    batches: AtomicU64,
    batched_rows: AtomicU64,
    queued_us: AtomicU64,
    computed_us: AtomicU64,
    skipped: AtomicU64,
    device_lost: AtomicU64,
}

fn add(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn decided(&self, reason: TierReason) {
        add(&self.decisions[reason as usize], 1);
    }

    /// A batch of so many rows that waited so long altogether.
    pub(crate) fn batch(&self, rows: usize, queued: Duration, computed: Duration) {
        add(&self.batches, 1);
        add(&self.batched_rows, rows);
        for (counter, time) in [(&self.queued_us, queued), (&self.computed_us, computed)] {
            counter.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    pub(crate) fn skipped(&self, rows: usize) {
        add(&self.skipped, rows);
    }

    pub(crate) fn lost(&self) {
        add(&self.device_lost, 1);
    }

    pub(crate) fn snapshot(&self) -> TierCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TierCounts {
            decisions: TierReason::ALL.into_iter().zip(self.decisions.iter().map(read)).collect(),
            batches: read(&self.batches),
            batched_rows: read(&self.batched_rows),
            queued: Duration::from_micros(read(&self.queued_us)),
            computed: Duration::from_micros(read(&self.computed_us)),
            skipped: read(&self.skipped),
            device_lost: read(&self.device_lost),
        }
    }
}
