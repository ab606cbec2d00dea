//! Slots and queue under a clock that the tests turn.

use std::pin::Pin;
use std::task::Poll;

use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn work(priority: Priority) -> Work {
    Work::one(priority, 0, None)
}

fn normal() -> Work {
    work(Priority::Normal)
}

fn until(left: Duration) -> Work {
    Work::one(Priority::Normal, 0, Some(Instant::now() + left))
}

/// Polls once.
async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx).is_pending())).await
}

/// Slots and room for so many requests.
fn admission(slots: usize, requests: usize) -> Admission {
    Admission::new(slots, QueueRoom { requests, bytes: 1_000 })
}

/// Slots whose queries take 10 ms each.
async fn measured(slots: usize, queue: usize) -> Admission {
    let admission = admission(slots, queue);
    let permit = admission.admit(normal()).await.unwrap();
    tokio::time::advance(MS * 10).await;
    drop(permit);
    assert_eq!(admission.standing().service_time, MS * 10);
    admission
}

#[tokio::test(start_paused = true)]
async fn beyond_slots_and_queue_the_answer_is_no() {
    let admission = admission(1, 1);
    let first = admission.admit(normal()).await.unwrap();
    let mut second = Box::pin(admission.admit(normal()));
    // One poll puts it into the queue; the slot frees only after the third was refused.
    assert!(is_pending(&mut second).await);
    let third = admission.admit(normal()).await;
    assert!(matches!(third, Err(AdmissionError::QueueFull { slots: 1, waiting: 1, .. })), "{third:?}");
    drop(first);
    assert!(second.await.is_ok());
    assert!(admission.admit(normal()).await.is_ok(), "every slot is free again");
    let counts = admission.standing().counts;
    assert_eq!(counts.of_admitted(Priority::Normal), 3);
    assert_eq!(counts.of_refused(Priority::Normal, Refusal::QueueFull), 1);
}

#[tokio::test(start_paused = true)]
async fn bytes_beyond_the_room_are_refused_however_few_wait() {
    let admission = admission(1, 100);
    let large = Work { bytes: 700, ..normal() };
    let running = admission.admit(large).await.unwrap();
    let mut waits = Box::pin(admission.admit(large));
    assert!(is_pending(&mut waits).await);
    let refused = admission.admit(large).await.unwrap_err();
    assert!(matches!(refused, AdmissionError::QueueFull { waiting: 1, bytes: 700, .. }), "{refused}");
    let refused = admission.admit(Work { bytes: 200, ..normal() }).await.unwrap_err();
    assert_eq!(refused.refusal(), Refusal::Shed, "what is left is for what is more important");
    drop(running);
    assert!(waits.await.is_ok());
    assert!(admission.admit(large).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_does_not_empty_is_held_to_a_quarter() {
    let admission = admission(1, 8);
    let running = admission.admit(normal()).await.unwrap();
    let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(admission.admit(normal()))).collect();
    for one in &mut waiting {
        assert!(is_pending(one).await);
    }
    tokio::time::advance(MS * 1_000).await;
    let refused = admission.admit(normal()).await.unwrap_err();
    assert!(matches!(refused, AdmissionError::QueueFull { waiting: 3, .. }), "{refused}");
    drop(running);
    for one in waiting {
        drop(one.await.unwrap());
    }
    let _running = admission.admit(normal()).await.unwrap();
    let mut waiting: Vec<_> = (0..7).map(|_| Box::pin(admission.admit(normal()))).collect();
    for one in &mut waiting {
        assert!(is_pending(one).await, "a burst has all of the room");
    }
}

#[tokio::test(start_paused = true)]
async fn paused_work_takes_its_turn_whatever_the_queue() {
    let admission = admission(1, 0);
    let first = admission.admit(normal()).await.unwrap();
    let mut paused = Box::pin(admission.resume(normal()));
    assert!(is_pending(&mut paused).await);
    drop(first);
    assert!(paused.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_wait_and_leaves_no_trace() {
    let admission = admission(1, 4);
    let held = admission.admit(normal()).await.unwrap();
    let waited = admission.admit(until(MS * 5)).await;
    assert_eq!(waited.err(), Some(AdmissionError::DeadlineExceeded));
    assert_eq!(admission.standing().waiting, [0, 0, 0]);
    drop(held);
    assert_eq!(admission.admit(until(Duration::ZERO)).await.err(), Some(AdmissionError::DeadlineExceeded));
    let counts = admission.standing().counts;
    assert_eq!(counts.of_refused(Priority::Normal, Refusal::DeadlinePassed), 2);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_done_in_time_is_refused_at_once() {
    let admission = measured(1, 8).await;
    let running = admission.admit(Work { queries: 4, ..normal() }).await.unwrap();
    // Half of what runs, and itself: 30 ms.
    let mut first = Box::pin(admission.admit(until(MS * 30)));
    assert!(is_pending(&mut first).await);
    let start = Instant::now();
    let refused = admission.admit(until(MS * 30)).await.unwrap_err();
    assert_eq!(Instant::now(), start, "without any wait");
    let (needed, wait, left) = (MS * 40, MS * 30, MS * 30);
    assert_eq!(refused, AdmissionError::DeadlineCannotBeMet { needed, wait, left });
    assert_eq!(refused.retry_after(), Some(wait));
    let important = Work { priority: Priority::High, ..until(MS * 30) };
    let mut important = Box::pin(admission.admit(important));
    assert!(is_pending(&mut important).await, "only what is at least as important is before it");
    drop(running);
    assert!(important.await.is_ok());
    assert!(first.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_comes_too_late_is_passed_on() {
    let admission = measured(1, 8).await;
    let running = admission.admit(normal()).await.unwrap();
    let mut late = Box::pin(admission.admit(until(MS * 20)));
    let mut next = Box::pin(admission.admit(normal()));
    assert!(is_pending(&mut late).await && is_pending(&mut next).await);
    tokio::time::advance(MS * 15).await;
    drop(running);
    let refused = late.await.unwrap_err();
    assert_eq!(refused.refusal(), Refusal::DeadlineCannotBeMet);
    assert_eq!(refused.retry_after(), None, "the queue is not what is in the way");
    assert!(next.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_idle_server_tries_whatever_its_estimate_says() {
    let admission = measured(2, 8).await;
    let tried = admission.admit(until(MS)).await.unwrap();
    let refused = admission.admit(until(MS)).await.unwrap_err();
    assert_eq!(refused.refusal(), Refusal::DeadlineCannotBeMet, "another one runs");
    tokio::time::advance(MS / 2).await;
    drop(tried);
    assert!(admission.standing().service_time < MS * 10, "and learns from it");
}

#[tokio::test(start_paused = true)]
async fn low_is_refused_first_and_high_is_served_first() {
    let admission = admission(1, 8);
    let running = admission.admit(normal()).await.unwrap();
    let mut waiting = Vec::new();
    for (priority, fits) in [(Priority::Low, 4), (Priority::Normal, 3), (Priority::High, 1)] {
        for _ in 0..fits {
            let mut one = Box::pin(admission.admit(work(priority)));
            assert!(is_pending(&mut one).await, "{priority:?}");
            waiting.push((priority, one));
        }
        let refused = admission.admit(work(priority)).await.unwrap_err();
        let full = priority == Priority::High;
        assert_eq!(refused.refusal(), if full { Refusal::QueueFull } else { Refusal::Shed }, "{refused}");
        assert!(refused.retry_after().is_some());
    }
    assert_eq!(admission.standing().waiting, [4, 3, 1]);
    drop(running);
    let mut order = Vec::new();
    while !waiting.is_empty() {
        for (priority, mut one) in std::mem::take(&mut waiting) {
            match std::future::poll_fn(|cx| Poll::Ready(one.as_mut().poll(cx))).await {
                Poll::Ready(permit) => {
                    drop(permit.unwrap());
                    order.push(priority);
                }
                Poll::Pending => waiting.push((priority, one)),
            }
        }
    }
    let expected = [(Priority::High, 1), (Priority::Normal, 3), (Priority::Low, 4)];
    let expected = expected.iter().flat_map(|(priority, n)| std::iter::repeat_n(*priority, *n));
    assert_eq!(order, expected.collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_long_batch_lets_others_go_first() {
    let admission = admission(1, 4);
    let long = Work { queries: 1_000, ..normal() };
    let mut permit = admission.admit(long).await.unwrap();
    permit.decided(32);
    permit = admission.alternate(permit, long).await.unwrap();
    let mut less = Box::pin(admission.admit(work(Priority::Low)));
    assert!(is_pending(&mut less).await);
    permit = admission.alternate(permit, long).await.unwrap();
    assert!(is_pending(&mut less).await, "what is less important waits for its end");
    let mut one = Box::pin(admission.admit(normal()));
    assert!(is_pending(&mut one).await);
    let mut batch = Box::pin(admission.alternate(permit, long));
    assert!(is_pending(&mut batch).await);
    drop(one.await.unwrap());
    let batch = batch.await.unwrap();
    assert!(is_pending(&mut less).await);
    drop(batch);
    assert!(less.await.is_ok());
}

proptest! {
    /// Whatever comes, goes and leaves: no slot is lost, none is given twice, and nobody waits while one is free.
    #[test]
    fn slots_are_neither_lost_nor_doubled(
        slots in 1usize..4, queue in 0usize..10,
        all in prop::collection::vec((0u8..4, 0usize..3, 0usize..16), 1..150),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let admission = admission(slots, queue);
            let (mut held, mut waiting) = (Vec::new(), Vec::new());
            for (what, class, which) in all {
                let work = work(Priority::ALL[class]);
                match what {
                    0 | 1 => {
                        let mut one = if what == 0 { admit(&admission, work) } else { resume(&admission, work) };
                        match std::future::poll_fn(|cx| Poll::Ready(one.as_mut().poll(cx))).await {
                            Poll::Ready(Ok(permit)) => held.push(permit),
                            Poll::Ready(Err(_)) => assert!(admission.standing().waiting.iter().sum::<usize>() >= queue.div_ceil(2)),
                            Poll::Pending => waiting.push(one),
                        }
                    }
                    2 if !held.is_empty() => drop(held.swap_remove(which % held.len())),
                    3 if !waiting.is_empty() => drop(waiting.swap_remove(which % waiting.len())),
                    _ => {}
                }
                let mut still = Vec::new();
                for mut one in waiting {
                    match std::future::poll_fn(|cx| Poll::Ready(one.as_mut().poll(cx))).await {
                        Poll::Ready(permit) => held.push(permit.unwrap()),
                        Poll::Pending => still.push(one),
                    }
                }
                waiting = still;
                let standing = admission.standing();
                assert_eq!(standing.busy, held.len());
                assert!(standing.busy <= slots);
                assert_eq!(standing.waiting.iter().sum::<usize>(), waiting.len());
                assert!(waiting.is_empty() || standing.busy == slots);
            }
            held.clear();
            for one in waiting {
                // Each hands its slot to the next.
                drop(one);
            }
            let standing = admission.standing();
            assert_eq!((standing.busy, standing.waiting, standing.queries_waiting), (0, [0; 3], 0));
        });
    }
}

type Asking<'a> = Pin<Box<dyn Future<Output = Result<Permit, AdmissionError>> + 'a>>;

fn admit(admission: &Admission, work: Work) -> Asking<'_> {
    Box::pin(admission.admit(work))
}

fn resume(admission: &Admission, work: Work) -> Asking<'_> {
    Box::pin(admission.resume(work))
}
