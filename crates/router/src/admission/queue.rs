//! Who waits, and whose turn it is. A freed slot goes to the most important class that has anybody waiting, within it to
//! whoever came first; one of eight goes to whoever has waited longest of all, so that no class waits for ever.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::{Priority, Work};

/// Every so manieth freed slot goes to whoever has waited longest.
const PATIENCE: u64 = 8;

/// For so long a queue that was empty may fill up to the whole of its room. One that is still not empty then is no burst
/// but more than can be done: a part of the room is enough to keep the slots busy, and more would be mere waiting. After
/// the controlled delay of Maurer, Fail at Scale (ACM Queue 13(8), 2015).
const BURST: Duration = Duration::from_secs(1);

/// That part of the room.
const STANDING: usize = 4;

/// What may wait for a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueRoom {
    /// Requests, for a second after the queue was last empty; a quarter of them from then on.
    pub requests: usize,
    /// Bytes of those requests as they came; one that waits alone may have more.
    pub bytes: usize,
}

/// The share of a room that is filled when one more of a priority is let in: half of it by low, seven eighths by normal,
/// all of it by high.
fn share(room: usize, priority: Priority) -> usize {
    match priority {
        Priority::Low => room.div_ceil(2),
        Priority::Normal => room - room / 8,
        Priority::High => room,
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
    bytes: usize,
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
    /// Bytes that wait.
    bytes: usize,
    /// When it was last empty, where it is not now.
    since: Option<Instant>,
    next_id: u64,
    turns: u64,
}

impl<G> Default for Queue<G> {
    fn default() -> Self {
        Self { classes: Default::default(), queries: [0; 3], bytes: 0, since: None, next_id: 0, turns: 0 }
    }
}

impl<G> Queue<G> {
    /// Whether there is room for one more of this priority and size.
    pub(super) fn takes(&self, room: QueueRoom, priority: Priority, bytes: usize, now: Instant) -> bool {
        let Some(since) = self.since else { return room.requests > 0 };
        let burst = now.saturating_duration_since(since) < BURST;
        let requests = if burst { room.requests } else { room.requests.div_ceil(STANDING) };
        self.len() < share(requests, priority)
            && self.bytes.saturating_add(bytes) <= share(room.bytes, priority)
    }

    /// Lines up behind its class.
    pub(super) fn push(&mut self, work: Work, grant: G, now: Instant) -> Place {
        let (class, id) = (work.priority as usize, self.next_id);
        let (queries, bytes) = (work.queries, work.bytes);
        self.next_id += 1;
        self.queries[class] += u64::from(queries);
        self.bytes += bytes;
        self.since.get_or_insert(now);
        self.classes[class].push_back(Waiter { id, queries, bytes, grant });
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
        self.left(class, &waiter);
        Some(waiter)
    }

    /// Takes out whoever waits at a place; nobody, where their turn has come already.
    pub(super) fn remove(&mut self, place: Place) {
        let class = &mut self.classes[place.class];
        if let Ok(at) = class.binary_search_by_key(&place.id, |waiter| waiter.id)
            && let Some(waiter) = class.remove(at)
        {
            self.left(place.class, &waiter);
        }
    }

    /// Takes note of who waits no more.
    fn left(&mut self, class: usize, waiter: &Waiter<G>) {
        self.queries[class] -= u64::from(waiter.queries);
        self.bytes -= waiter.bytes;
        if self.len() == 0 {
            self.since = None;
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.classes.iter().map(VecDeque::len).sum()
    }

    /// Bytes of those who wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
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

    fn work(priority: Priority, queries: u32, bytes: usize) -> Work {
        Work { queries, ..Work::one(priority, bytes, None) }
    }

    #[test]
    fn the_less_important_has_less_of_the_queue() {
        let shares = |room| Priority::ALL.map(|priority| share(room, priority));
        assert_eq!(shares(256), [128, 224, 256]);
        assert_eq!(shares(8), [4, 7, 8]);
        assert_eq!(shares(1), [1, 1, 1]);
        assert_eq!(shares(0), [0, 0, 0]);
    }

    #[test]
    fn a_burst_has_all_of_the_room_and_what_stays_a_quarter() {
        let (mut queue, begin) = (Queue::default(), Instant::now());
        let room = QueueRoom { requests: 16, bytes: usize::MAX };
        let takes =
            |queue: &Queue<()>, ms| queue.takes(room, Priority::High, 1, begin + Duration::from_millis(ms));
        for _ in 0..15 {
            queue.push(work(Priority::High, 1, 1), (), begin);
        }
        assert!(takes(&queue, 999) && !takes(&queue, 1_000));
        assert_eq!(std::iter::from_fn(|| queue.next()).take(11).count(), 11);
        assert!(!takes(&queue, 1_000), "four wait");
        assert!(queue.next().is_some() && takes(&queue, 1_000));
        while queue.next().is_some() {}
        queue.push(work(Priority::High, 1, 1), (), begin + Duration::from_millis(1_200));
        for _ in 0..14 {
            queue.push(work(Priority::High, 1, 1), (), begin);
        }
        assert!(takes(&queue, 2_199), "it was empty in between");
    }

    #[test]
    fn bytes_fill_the_room_as_requests_do_and_one_alone_may_have_any() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let room = QueueRoom { requests: 100, bytes: 800 };
        assert!(queue.takes(room, Priority::Low, usize::MAX, now));
        let first = queue.push(work(Priority::Low, 1, 300), (), now);
        let most = |queue: &Queue<()>, priority| {
            (0..=800).rfind(|bytes| queue.takes(room, priority, *bytes, now)).unwrap()
        };
        assert_eq!(Priority::ALL.map(|priority| most(&queue, priority)), [100, 400, 500]);
        queue.push(work(Priority::High, 1, 500), (), now);
        queue.remove(first);
        assert_eq!((queue.bytes(), most(&queue, Priority::High)), (500, 300));
    }

    #[test]
    fn turns_go_by_class_then_by_time_and_one_of_eight_by_time_alone() {
        let mut queue = Queue::default();
        let now = Instant::now();
        queue.push(work(Priority::Low, 1, 0), "low", now);
        queue.push(work(Priority::Normal, 1, 0), "normal", now);
        for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i"] {
            queue.push(work(Priority::High, 1, 0), name, now);
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
                        let bytes = 10 * queries as usize;
                        places.push(queue.push(work(priority, queries, bytes), places.len(), Instant::now()));
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
                prop_assert_eq!(queue.bytes(), model.iter().map(|waiter| 10 * waiter.1 as usize).sum::<usize>());
                prop_assert_eq!(queue.since.is_none(), model.is_empty());
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
