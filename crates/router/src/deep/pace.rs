//! When a batch waits for company. What came while the engine was busy is taken without any wait, so batches grow
//! with the load by themselves; waiting pays only for queries that come together but not at the same instant, such
//! as those of callers who were answered together. A lone query never waits.

use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

/// How one worker collects its batches.
#[derive(Debug)]
pub(super) struct Pace {
    max_batch: usize,
    max_wait: Duration,
    /// Size of the batch before, and when it was answered.
    before: Option<(usize, Instant)>,
}

impl Pace {
    pub(super) fn new(max_batch: usize, max_wait: Duration) -> Self {
        Self { max_batch: max_batch.max(1), max_wait, before: None }
    }

    /// The next batch, at least one job; `None` when the queue has ended.
    pub(super) fn collect<T>(&self, queue: &Receiver<T>) -> Option<Vec<T>> {
        let (first, kept_waiting) = match queue.try_recv() {
            Ok(job) => (job, true),
            Err(_) => (queue.recv().ok()?, false),
        };
        let mut batch = vec![first];
        let take = |batch: &mut Vec<T>| batch.extend(queue.try_iter().take(self.max_batch - batch.len()));
        take(&mut batch);
        let now = Instant::now();
        let expected = self.expected(kept_waiting, now);
        let until = now + self.max_wait;
        while batch.len() < expected {
            match queue.recv_deadline(until) {
                Ok(job) => batch.push(job),
                Err(_) => break,
            }
        }
        take(&mut batch);
        Some(batch)
    }

    /// Jobs worth waiting for: as many as came together just before, two where the first of these came while
    /// another was at work, otherwise only the one that is there.
    fn expected(&self, kept_waiting: bool, now: Instant) -> usize {
        let just_before = match self.before {
            Some((size, answered)) if now.saturating_duration_since(answered) <= self.max_wait => size,
            _ => 1,
        };
        just_before.max(if kept_waiting { 2 } else { 1 }).min(self.max_batch)
    }

    /// Notes that a batch of this size was answered now.
    pub(super) fn answered(&mut self, size: usize) {
        self.before = Some((size, Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::unbounded;

    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    /// A queue of numbers whose sender stays open.
    fn queue(jobs: usize) -> (crossbeam_channel::Sender<usize>, Receiver<usize>) {
        let (sender, queue) = unbounded();
        (0..jobs).for_each(|job| sender.send(job).unwrap());
        (sender, queue)
    }

    #[test]
    fn company_is_waited_for_where_it_came_just_before() {
        let mut pace = Pace::new(32, Duration::from_micros(500));
        let now = Instant::now();
        assert_eq!(pace.expected(false, now), 1, "the first query ever");
        assert_eq!(pace.expected(true, now), 2, "it came while another was at work");
        pace.before = Some((7, now));
        let (soon, late) = (now + Duration::from_micros(400), now + Duration::from_micros(600));
        assert_eq!((pace.expected(false, soon), pace.expected(true, soon)), (7, 7));
        assert_eq!((pace.expected(false, late), pace.expected(true, late)), (1, 2));
        pace.before = Some((1, now));
        assert_eq!(pace.expected(false, soon), 1, "a lone caller is not company to itself");
        assert_eq!(Pace::new(1, LONG).expected(true, now), 1, "without batches nothing waits");
    }

    #[test]
    fn what_is_there_is_taken_up_to_a_full_batch() {
        // A wait of ten minutes would be noticed.
        let (sender, queue) = queue(6);
        let mut pace = Pace::new(4, LONG);
        assert_eq!(pace.collect(&queue), Some(vec![0, 1, 2, 3]));
        pace.answered(2);
        assert_eq!(pace.collect(&queue), Some(vec![4, 5]), "as many as came together before");
        drop(sender);
        assert_eq!(pace.collect(&queue), None);
    }

    #[test]
    fn a_wait_ends_with_the_company_it_was_for() {
        let (sender, queue) = queue(1);
        let mut pace = Pace::new(8, LONG);
        pace.answered(3);
        let waiting = std::thread::spawn(move || pace.collect(&queue));
        (1..3).for_each(|job| sender.send(job).unwrap());
        let batch = waiting.join().unwrap().unwrap();
        assert_eq!(batch, [0, 1, 2]);
    }
}
