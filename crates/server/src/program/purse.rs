//! A budget's ledger with the calls that it was not told the cost of yet.

use std::collections::{HashMap, VecDeque};

use strategy::{Admitted, Budget, Call, Ledger, Spent, Standing};
use uuid::Uuid;

/// Calls that are remembered until somebody reports their cost; of older ones the expected cost stands.
const MOST_OPEN: usize = 65_536;

/// What was spent of a budget, and on which decisions the last word is not spoken.
#[derive(Debug)]
pub(super) struct Purse {
    ledger: Ledger,
    open: HashMap<Uuid, Admitted>,
    /// The same by age; may name some that are closed.
    by_age: VecDeque<Uuid>,
}

impl Purse {
    pub(super) fn new(budget: &Budget, now_us: u64) -> Self {
        Self { ledger: Ledger::new(budget, now_us), open: HashMap::new(), by_age: VecDeque::new() }
    }

    /// Goes on from what was spent under another budget: its cost of the day, and its strong calls of the last minute
    /// as if they were made now.
    pub(super) fn carry_over(&mut self, spent: &Standing, now_us: u64) {
        // None of these is charged: what they cost is known, or was all that ever will be.
        let _ = self.count(now_us, Call { is_strong: false, expected_cost_usd: spent.cost_usd_today });
        for _ in 0..spent.strong_calls_last_minute {
            let _ = self.count(now_us, Call { is_strong: true, expected_cost_usd: 0.0 });
        }
    }

    pub(super) fn admit(&mut self, now_us: u64, call: Call) -> Result<Admitted, Spent> {
        self.ledger.admit(now_us, call)
    }

    pub(super) fn count(&mut self, now_us: u64, call: Call) -> Admitted {
        self.ledger.count(now_us, call)
    }

    pub(super) fn spent(&mut self, now_us: u64, call: Call) -> Option<Spent> {
        self.ledger.spent(now_us, call)
    }

    pub(super) fn standing(&mut self, now_us: u64) -> Standing {
        self.ledger.standing(now_us)
    }

    /// Remembers whose call was admitted.
    pub(super) fn remember(&mut self, decision_id: Uuid, admitted: Admitted) {
        while self.by_age.len() >= MOST_OPEN {
            if let Some(oldest) = self.by_age.pop_front() {
                self.open.remove(&oldest);
            }
        }
        self.by_age.push_back(decision_id);
        self.open.insert(decision_id, admitted);
    }

    /// Puts what a decision's call did cost, US dollars, in the place of what was expected: once, and for those that
    /// are remembered.
    pub(super) fn charge(&mut self, decision_id: Uuid, cost_usd: f64) {
        if let Some(admitted) = self.open.remove(&decision_id) {
            self.ledger.charge(admitted, cost_usd);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: Call = Call { is_strong: false, expected_cost_usd: 1.0 };

    fn purse() -> Purse {
        let text = "version = 1\ndefault = \"a\"\n[strategy.a]\nkind = \"model\"\ntier = \"weak\"\n\
                    [budget]\ncost_usd_per_day = 1e9\nwhen_spent = \"a\"\n";
        let program = strategy::Program::parse("policy.toml", text).unwrap();
        Purse::new(program.budget().unwrap(), 1)
    }

    #[test]
    fn a_cost_is_charged_once_and_to_calls_that_are_known() {
        let mut purse = purse();
        let (one, other) = (Uuid::now_v7(), Uuid::now_v7());
        let admitted = purse.admit(2, CALL).unwrap();
        purse.remember(one, admitted);
        purse.charge(other, 100.0);
        assert_eq!(purse.standing(3).cost_usd_today, 1.0);
        purse.charge(one, 0.25);
        purse.charge(one, 0.75);
        assert_eq!(purse.standing(4).cost_usd_today, 0.25);
    }

    #[test]
    fn as_many_are_remembered_as_was_said() {
        let mut purse = purse();
        let ids: Vec<Uuid> = (0..=MOST_OPEN).map(|_| Uuid::now_v7()).collect();
        for id in &ids {
            let admitted = purse.count(2, CALL);
            purse.remember(*id, admitted);
        }
        assert_eq!((purse.open.len(), purse.by_age.len()), (MOST_OPEN, MOST_OPEN));
        let before = purse.standing(3).cost_usd_today;
        purse.charge(ids[0], 0.0);
        assert_eq!(purse.standing(3).cost_usd_today, before, "the oldest is forgotten");
        purse.charge(ids[MOST_OPEN], 0.0);
        assert_eq!(purse.standing(3).cost_usd_today, before - 1.0);
    }
}
