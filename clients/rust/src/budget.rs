//! How many retries all calls of a client may make together: gRPC's throttling of retries (its proposal A6). A
//! server that fails most calls is not asked twice as often for it.

use std::sync::atomic::{AtomicU32, Ordering};

/// In thousandths of a token.
const FULL: u32 = 10_000;
const FAILURE: u32 = 1_000;
const SUCCESS: u32 = 100;

/// Ten tokens: a failure takes one, a success gives a tenth, above half of them there are retries.
#[derive(Debug)]
pub(crate) struct Budget(AtomicU32);

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicU32::new(FULL))
    }
}

impl Budget {
    pub(crate) fn succeeded(&self) {
        self.change(|tokens| (tokens + SUCCESS).min(FULL));
    }

    pub(crate) fn failed(&self) {
        self.change(|tokens| tokens.saturating_sub(FAILURE));
    }

    /// Whether another request may be made than the one that the caller asked for.
    pub(crate) fn allows(&self) -> bool {
        self.0.load(Ordering::Relaxed) > FULL / 2
    }

    fn change(&self, change: impl Fn(u32) -> u32) {
        // The closure always gives a number, so there is no failure to see.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tokens| Some(change(tokens)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_keeps_failing_is_not_asked_again() {
        let budget = Budget::default();
        let retries = (0..100).filter(|_| {
            budget.failed();
            budget.allows()
        });
        assert_eq!(retries.count(), 4);
        for _ in 0..50 {
            budget.succeeded();
        }
        assert!(!budget.allows());
        budget.succeeded();
        assert!(budget.allows());
    }
}
