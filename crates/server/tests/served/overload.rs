//! More work than can be done, over the wire: one slot, kept busy by long batches, and callers who want something all the
//! same. What is refused is refused at once, says why, and when to come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{Running, serve};
use api::v1;
use api::v1::route_request::Input;
use server::config::Settings;
use tokio::task::JoinHandle;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

/// Nothing here takes so long unless it hangs.
const BOUND: Duration = Duration::from_secs(60);

fn request(priority: &str) -> v1::RouteRequest {
    let labels = [("priority".to_owned(), priority.to_owned())].into();
    v1::RouteRequest { input: Some(Input::Text("what is this?".into())), labels, ..Default::default() }
}

/// One slot and a queue of eight.
async fn small() -> Running {
    let (decision_slots, queue) = (Some(1), Some(8));
    serve(Settings { decision_slots, queue, max_batch: Some(4_096), ..Settings::default() }).await
}

/// Callers who send long batches again and again, one after the other, until they are told to stop.
struct Pressure {
    stop: Arc<AtomicBool>,
    callers: Vec<JoinHandle<usize>>,
}

impl Pressure {
    async fn of(server: &Running, callers: usize, priority: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let long = "a question of many words, ".repeat(20);
        let batch: Vec<_> = (0..2_000)
            .map(|_| v1::RouteRequest { input: Some(Input::Text(long.clone())), ..request(priority) })
            .collect();
        let mut handles = Vec::new();
        for _ in 0..callers {
            let (mut client, stop, batch) = (server.client().await, Arc::clone(&stop), batch.clone());
            handles.push(tokio::spawn(async move {
                let mut answered = 0;
                while !stop.load(Ordering::Relaxed) {
                    let batch = v1::RouteBatchRequest { requests: batch.clone() };
                    match client.route_batch(batch).await {
                        Ok(answer) => answered += answer.into_inner().items.len(),
                        Err(refused) => assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}"),
                    }
                }
                answered
            }));
        }
        Self { stop, callers: handles }
    }

    /// How many queries were answered.
    async fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let mut answered = 0;
        for caller in self.callers {
            answered += caller.await.unwrap();
        }
        answered
    }
}

/// Asks until the answer is what is waited for.
async fn until<T>(
    server: &Running,
    ask: impl Fn() -> Request<v1::RouteRequest>,
    found: impl Fn(Result<v1::RouteResponse, Status>) -> Option<T>,
) -> T {
    let mut client = server.client().await;
    let asking = async {
        loop {
            let answer = client.route(ask()).await.map(tonic::Response::into_inner);
            if let Some(found) = found(answer) {
                return found;
            }
        }
    };
    tokio::time::timeout(BOUND, asking).await.expect("it happens")
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn low_is_shed_first_and_high_is_answered() {
    let server = small().await;
    // Six of normal priority: beyond what low may fill, within what normal may.
    let pressure = Pressure::of(&server, 6, "normal").await;
    let shed = until(&server, || Request::new(request("low")), Result::err).await;
    assert_eq!((shed.code(), reason(&shed).as_str()), (Code::ResourceExhausted, "SHED_PRIORITY"), "{shed:?}");
    let retry = shed.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!(retry > Duration::ZERO);
    let pushback = shed.metadata().get("grpc-retry-pushback-ms").unwrap().to_str().unwrap();
    assert!(pushback.parse::<u64>().unwrap() >= 1, "{pushback}");
    assert_eq!(shed.get_details_error_info().unwrap().domain, "rung");
    let mut client = server.client().await;
    for priority in ["normal", "high", "whatever"] {
        client.route(request(priority)).await.unwrap();
    }
    assert!(pressure.end().await > 0);
    client.route(request("low")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_says_when_to_come_back_in_every_kind_of_call() {
    let server = small().await;
    let pressure = Pressure::of(&server, 16, "high").await;
    let full = until(&server, || Request::new(request("high")), Result::err).await;
    assert_eq!((full.code(), reason(&full).as_str()), (Code::ResourceExhausted, "QUEUE_FULL"), "{full:?}");
    assert!(full.get_details_retry_info().unwrap().retry_delay.is_some());
    let mut client = server.client().await;
    // In a stream it is the answer to one message, and the stream goes on.
    let (send, messages) = tokio::sync::mpsc::channel(1);
    let messages = tokio_stream::wrappers::ReceiverStream::new(messages);
    let mut stream = client.route_stream(messages).await.unwrap().into_inner();
    let refused = loop {
        send.send(request("low")).await.unwrap();
        match stream.message().await.unwrap().unwrap().result.unwrap() {
            v1::route_item::Result::Error(refused) => break refused,
            v1::route_item::Result::Response(_) => {}
        }
    };
    assert_eq!(refused.code, i32::from(Code::ResourceExhausted));
    assert!(["QUEUE_FULL", "SHED_PRIORITY"].contains(&refused.reason.as_str()), "{refused:?}");
    assert!(refused.retry_delay_ms >= 1);
    assert!(pressure.end().await > 0);
    send.send(request("low")).await.unwrap();
    let answer = stream.message().await.unwrap().unwrap().result.unwrap();
    assert!(matches!(answer, v1::route_item::Result::Response(_)), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_done_in_time_is_refused_before_it_starts() {
    let server = small().await;
    let pressure = Pressure::of(&server, 5, "normal").await;
    // Ten thousand queries wait before it, and it has 20 milliseconds.
    let hurried = || {
        let mut hurried = Request::new(request("normal"));
        hurried.set_timeout(Duration::from_millis(20));
        hurried
    };
    let refused = until(&server, hurried, |answer| {
        answer.err().filter(|refused| reason(refused) == "DEADLINE_CANNOT_BE_MET")
    })
    .await;
    assert_eq!(refused.code(), Code::ResourceExhausted, "another replica may have the time: {refused:?}");
    assert!(refused.get_details_retry_info().unwrap().retry_delay.is_some());
    // Important work does not wait for what is less so.
    let important = || {
        let mut important = Request::new(request("high"));
        important.set_timeout(Duration::from_secs(30));
        important
    };
    until(&server, important, Result::ok).await;
    assert!(pressure.end().await > 0);
    until(&server, hurried, Result::ok).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_who_hang_or_leave_harm_nobody() {
    let server = small().await;
    // Some open streams, ask, and never read.
    let mut hung = Vec::new();
    for _ in 0..20 {
        let mut caller = server.client().await;
        let messages = tokio_stream::iter((0..1_000).map(|_| request("high")));
        hung.push((caller.route_stream(messages).await.unwrap(), caller));
    }
    // Some ask and leave while they wait.
    let pressure = Pressure::of(&server, 3, "normal").await;
    for _ in 0..50 {
        let mut caller = server.client().await;
        let left = tokio::spawn(async move { caller.route(request("normal")).await });
        tokio::task::yield_now().await;
        left.abort();
    }
    pressure.end().await;
    // What the hung ones had asked fills the window of their connection and no more; then everybody has their turn.
    for priority in ["low", "normal", "high"] {
        until(&server, || Request::new(request(priority)), Result::ok).await;
    }
    drop(hung);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_batch_is_not_waited_for() {
    let server = small().await;
    let pressure = Pressure::of(&server, 1, "normal").await;
    // A batch of 2,000 and single queries have their turns alternately: many are answered while one batch is.
    let mut client = server.client().await;
    for _ in 0..200 {
        tokio::time::timeout(BOUND, client.route(request("normal"))).await.unwrap().unwrap();
    }
    let mut stream = client
        .route_stream(tokio_stream::iter((0..200).map(|_| request("normal"))))
        .await
        .unwrap()
        .into_inner();
    let mut answers = 0;
    while let Some(answer) = tokio::time::timeout(BOUND, stream.message()).await.unwrap().unwrap() {
        assert!(matches!(answer.result, Some(v1::route_item::Result::Response(_))), "{answer:?}");
        answers += 1;
    }
    assert_eq!(answers, 200);
    assert!(pressure.end().await > 0);
}
