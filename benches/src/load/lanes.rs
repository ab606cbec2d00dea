//! Streams: messages that wait for their turn are told apart by their order, as the server answers them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::{Bytes, BytesMut};
use h2::SendStream;
use h2::client::ResponseFuture;
use tonic::Code;

use super::bodies;
use super::drive::Engine;
use super::wire::{self, Failure, Link};

/// One open stream.
pub(crate) struct Lane {
    send: RefCell<SendStream<Bytes>>,
    /// When the messages that are not answered were due, oldest first.
    waiting: RefCell<VecDeque<Duration>>,
    /// Messages that were put and not sent: those of one tick travel in one frame.
    unsent: RefCell<BytesMut>,
    /// Whether an answer makes room for the next message.
    asks_again: Cell<bool>,
    /// Why there will be no more answers.
    over: RefCell<Option<Failure>>,
}

impl Lane {
    pub(crate) async fn open(engine: &Rc<Engine>, link: &Link) -> Result<Rc<Self>> {
        let mut send = link.up().await.ready().await.context("opening a stream")?;
        let (answer, send) = send.send_request(engine.request.clone(), false)?;
        let lane = Rc::new(Self {
            send: RefCell::new(send),
            waiting: RefCell::default(),
            unsent: RefCell::default(),
            asks_again: Cell::new(false),
            over: RefCell::default(),
        });
        let (reading, engine) = (Rc::clone(&lane), Rc::clone(engine));
        tokio::task::spawn_local(async move {
            let end = reading.read(&engine, answer).await;
            let failure = end.err().unwrap_or_else(|| Failure::new(Code::Unavailable, "the stream ended"));
            reading.over.replace(Some(failure.clone()));
            for due in reading.waiting.take() {
                engine.settle(due, Err(failure.clone()), 1);
                engine.ended();
            }
        });
        Ok(lane)
    }

    /// From now on each answer makes room for the next message.
    pub(crate) fn ask_again(&self) {
        self.asks_again.set(true);
    }

    /// Puts the next message, to be sent by [`Self::flush`].
    pub(crate) fn put(&self, engine: &Engine, due: Duration) {
        if let Some(failure) = &*self.over.borrow() {
            return engine.settle(due, Err(failure.clone()), 1);
        }
        engine.begun();
        self.waiting.borrow_mut().push_back(due);
        self.unsent.borrow_mut().extend_from_slice(&engine.frame());
    }

    /// Sends what was put.
    pub(crate) fn flush(&self) {
        let unsent = self.unsent.borrow_mut().split();
        if !unsent.is_empty() {
            // A stream that is gone is noticed by its reader, which fails what waits.
            let _ = self.send.borrow_mut().send_data(unsent.freeze(), false);
        }
    }

    /// Says that no more will come.
    pub(crate) fn close(&self) {
        let _ = self.send.borrow_mut().send_data(Bytes::new(), true);
    }

    async fn read(&self, engine: &Engine, answer: ResponseFuture) -> Result<(), Failure> {
        let broken = |error: h2::Error| Failure::new(Code::Unavailable, format!("connection: {error}"));
        let (head, mut body) = answer.await.map_err(broken)?.into_parts();
        if head.headers.contains_key("grpc-status") {
            return wire::status(&head.headers);
        }
        let mut arrived = BytesMut::new();
        while let Some(chunk) = wire::chunk(&mut body).await? {
            arrived.extend_from_slice(&chunk);
            while let Some(message) = bodies::next_message(&mut arrived) {
                let due = self.waiting.borrow_mut().pop_front();
                let due = due.ok_or_else(|| Failure::new(Code::Internal, "more answers than messages"))?;
                engine.settle(due, Ok(message), 1);
                engine.ended();
                if self.asks_again.get() && engine.goes_on() {
                    self.put(engine, engine.now());
                }
            }
            self.flush();
        }
        wire::status(&body.trailers().await.map_err(broken)?.unwrap_or_default())
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane").field("waiting", &self.waiting.borrow().len()).finish_non_exhaustive()
    }
}
