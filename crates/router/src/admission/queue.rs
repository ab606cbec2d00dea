//! Who waits, and whose turn it is. A freed slot goes to the most important class that has anybody waiting, within it to
//! whoever came first; one of eight goes to whoever has waited longest of all, so that no class waits for ever.

use std::collections::VecDeque;

use super::Priority;

/// Every so manieth freed slot goes to whoever has waited longest.
const PATIENCE: u64 = 8;

/// How many may wait altogether for one more of a priority to be let in: low fills half of the queue, normal seven
/// eighths, high all of it.
pub(super) fn limit(queue: usize, priority: Priority) -> usize {
    match priority {
        Priority::Low => queue.div_ceil(2),
        Priority::Normal => queue - queue / 8,
        Priority::High => queue,
    }
}

/// Where somebody waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    class: usize,
    id: u64,
}

/// Somebody who waits.
#[derive(Debug)]
pub(super) struct Waiter<G> {
    /// Counts upwards over all classes.
    id: u64,
    pub(super) queries: u32,
    /// How they hear that it is their turn.
    pub(super) grant: G,
}

/// Everybody who waits.
#[derive(Debug)]
pub(super) struct Queue<G> {
    /// By class, the least important first; within each the first to come first.
    classes: [VecDeque<Waiter<G>>; 3],
    /// Queries that wait, by class.
    queries: [u64; 3],
    next_id: u64,
    turns: u64,
}

impl<G> Default for Queue<G> {
    fn default() -> Self {
        Self { classes: Default::default(), queries: [0; 3], next_id: 0, turns: 0 }
    }
}

impl<G> Queue<G> {
    /// Lines up behind its class.
    pub(super) fn push(&mut self, priority: Priority, queries: u32, grant: G) -> Place {
        let (class, id) = (priority as usize, self.next_id);
        self.next_id += 1;
        self.queries[class] += u64::from(queries);
        self.classes[class].push_back(Waiter { id, queries, grant });
        Place { class, id }
    }

    /// Whoever's turn it is.
    pub(super) fn next(&mut self) -> Option<Waiter<G>> {
        let front = |class: &usize| self.classes[*class].front().map(|waiter| waiter.id);
        let waiting = (0..self.classes.len()).filter(|class| front(class).is_some());
        let longest = (self.turns + 1).is_multiple_of(PATIENCE);
        let class = if longest { waiting.min_by_key(front) } else { waiting.max() };
        let class = class?;
        self.turns += 1;
        let waiter = self.classes[class].pop_front()?;
        self.queries[class] -= u64::from(waiter.queries);
        Some(waiter)
    }

    /// Takes out whoever waits at a place; nobody, where their turn has come already.
    pub(super) fn remove(&mut self, place: Place) {
        let class = &mut self.classes[place.class];
        if let Ok(at) = class.binary_search_by_key(&place.id, |waiter| waiter.id)
            && let Some(waiter) = class.remove(at)
        {
            self.queries[place.class] -= u64::from(waiter.queries);
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.classes.iter().map(VecDeque::len).sum()
    }

    /// How many wait of a priority.
    pub(super) fn of(&self, priority: Priority) -> usize {
        self.classes[priority as usize].len()
    }

    /// Queries that wait and are at least as important as a priority.
    pub(super) fn ahead_of(&self, priority: Priority) -> u64 {
        self.queries[priority as usize..].iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_less_important_has_less_of_the_queue() {
        let limits = |queue| Priority::ALL.map(|priority| limit(queue, priority));
        assert_eq!(limits(256), [128, 224, 256]);
        assert_eq!(limits(8), [4, 7, 8]);
        assert_eq!(limits(1), [1, 1, 1]);
        assert_eq!(limits(0), [0, 0, 0]);
    }

    #[test]
    fn turns_go_by_class_then_by_time_and_one_of_eight_by_time_alone() {
        let mut queue = Queue::default();
        queue.push(Priority::Low, 1, "low");
        queue.push(Priority::Normal, 1, "normal");
        for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i"] {
            queue.push(Priority::High, 1, name);
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.next()).map(|waiter| waiter.grant).collect();
        assert_eq!(order, ["a", "b", "c", "d", "e", "f", "g", "low", "h", "i", "normal"]);
    }

    /// What happens to a queue.
    #[derive(Debug, Clone)]
    enum Happens {
        Comes(Priority, u32),
        Turn,
        /// One of those who ever came leaves; they may be gone already.
        Leaves(usize),
    }

    fn happens() -> impl Strategy<Value = Happens> {
        let priority = prop::sample::select(Priority::ALL.to_vec());
        prop_oneof![
            4 => (priority, 1u32..40).prop_map(|(priority, queries)| Happens::Comes(priority, queries)),
            3 => Just(Happens::Turn),
            1 => (0usize..64).prop_map(Happens::Leaves),
        ]
    }

    proptest! {
        /// Against a list that is searched from end to end.
        #[test]
        fn it_is_a_list_ordered_by_class_and_time(all in prop::collection::vec(happens(), 0..200)) {
            let mut queue = Queue::default();
            let mut model: Vec<(Priority, u32, usize)> = Vec::new();
            let (mut places, mut turns) = (Vec::new(), 0);
            for happens in all {
                match happens {
                    Happens::Comes(priority, queries) => {
                        model.push((priority, queries, places.len()));
                        places.push(queue.push(priority, queries, places.len()));
                    }
                    Happens::Turn => {
                        let longest = (turns + 1) % 8 == 0;
                        let first = |&(priority, _, came): &(Priority, u32, usize)| {
                            (if longest { 0 } else { 2 - priority as usize }, came)
                        };
                        let expected = model.iter().copied().min_by_key(first);
                        let found = queue.next().map(|waiter| waiter.grant);
                        prop_assert_eq!(found, expected.map(|(_, _, came)| came));
                        turns += usize::from(found.is_some());
                        model.retain(|waiter| Some(waiter.2) != found);
                    }
                    Happens::Leaves(who) => {
                        if let Some(place) = places.get(who) {
                            queue.remove(*place);
                            model.retain(|waiter| waiter.2 != who);
                        }
                    }
                }
                prop_assert_eq!(queue.len(), model.len());
                for priority in Priority::ALL {
                    let of = model.iter().filter(|waiter| waiter.0 == priority).count();
                    let ahead = model.iter().filter(|waiter| waiter.0 >= priority);
                    let ahead: u64 = ahead.map(|waiter| u64::from(waiter.1)).sum();
                    prop_assert_eq!((queue.of(priority), queue.ahead_of(priority)), (of, ahead));
                }
            }
        }
    }
}
