//! What happened at the door, counted: made once, read by whoever exports it.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that other threads read; it orders nothing else.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn take(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts since the start, over all listeners; `connections_open` alone goes down again.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) connections_open: Count,
    pub(crate) connections_accepted: Count,
    /// Closed at once: too many in all, of one address, or in a handshake.
    pub(crate) connections_refused: Count,
    /// TLS handshakes that went wrong.
    pub(crate) handshakes_failed: Count,
    /// TLS handshakes that were not over in time.
    pub(crate) handshakes_timed_out: Count,
    /// Calls without a token that holds.
    pub(crate) unauthenticated: Count,
    /// Calls whose token lacks a scope or may not speak for the tenant.
    pub(crate) permission: Count,
    /// Calls and queries over a rate.
    pub(crate) rate: Count,
    /// Calls over a concurrency.
    pub(crate) concurrency: Count,
    /// Calls that were sent too much at once for all unread requests together.
    pub(crate) unread: Count,
    /// Handlers that panicked.
    pub(crate) panics: Count,
}

impl Counts {
    /// Every count that only grows, by the name of its event.
    pub(crate) fn events(&self) -> Vec<(&'static str, u64)> {
        let events = [
            ("connection_accepted", &self.connections_accepted),
            ("connection_refused", &self.connections_refused),
            ("handshake_failed", &self.handshakes_failed),
            ("handshake_timed_out", &self.handshakes_timed_out),
            ("unauthenticated", &self.unauthenticated),
            ("permission", &self.permission),
            ("rate", &self.rate),
            ("concurrency", &self.concurrency),
            ("unread", &self.unread),
            ("panic", &self.panics),
        ];
        events.into_iter().map(|(event, count)| (event, count.get())).collect()
    }
}
