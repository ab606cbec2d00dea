//! Room for what is half received. A message is decoded once it is there as a whole; until then its bytes lie in
//! memory, and a caller may begin as many as it has streams. So the bytes of all unfinished messages together have a
//! bound: whoever goes on sending beyond it is refused, whoever sends whole messages does not notice.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use http_body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

use super::counts::Counts;
use super::refusal::Refusal;

/// Bytes of unfinished messages.
#[derive(Debug)]
pub(crate) struct Room {
    taken: AtomicUsize,
    most: usize,
}

impl Room {
    pub(crate) fn new(most: usize) -> Self {
        Self { taken: AtomicUsize::new(0), most }
    }
}

/// Where a body stands in the frames of gRPC: a byte that says whether it is compressed, four of length, the message.
#[derive(Debug, Default)]
struct Framing {
    /// Bytes of the five that came, and the length so far.
    prefix: u8,
    len: u32,
    /// Bytes of the message that are still to come.
    rest: usize,
    /// Bytes that came of a message that is not whole.
    held: usize,
}

impl Framing {
    fn read(&mut self, mut bytes: &[u8]) {
        while let Some((first, after)) = bytes.split_first() {
            if self.rest == 0 && self.prefix < 5 {
                self.len = if self.prefix == 0 { 0 } else { self.len << 8 | u32::from(*first) };
                self.prefix += 1;
                self.held += 1;
                bytes = after;
                if self.prefix == 5 {
                    self.rest = self.len as usize;
                }
            } else {
                let take = self.rest.min(bytes.len());
                self.rest -= take;
                self.held += take;
                bytes = &bytes[take..];
            }
            if self.prefix == 5 && self.rest == 0 {
                *self = Self::default();
            }
        }
    }
}

/// A request's body that takes room while a message of it is unfinished.
pub(crate) struct Metered {
    inner: Body,
    framing: Framing,
    taken: usize,
    room: Arc<Room>,
    counts: Arc<Counts>,
}

impl Metered {
    pub(crate) fn new(inner: Body, room: Arc<Room>, counts: Arc<Counts>) -> Self {
        Self { inner, framing: Framing::default(), taken: 0, room, counts }
    }

    /// Takes or gives back what changed; most messages are whole at once and change nothing.
    fn settle(&mut self) -> Result<(), Refusal> {
        let held = self.framing.held;
        if held > self.taken {
            let more = held - self.taken;
            let before = self.room.taken.fetch_add(more, Ordering::Relaxed);
            self.taken = held;
            if before + more > self.room.most {
                self.counts.unread.add();
                return Err(Refusal::Unread);
            }
        } else if held < self.taken {
            self.room.taken.fetch_sub(self.taken - held, Ordering::Relaxed);
            self.taken = held;
        }
        Ok(())
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        if self.taken > 0 {
            self.room.taken.fetch_sub(self.taken, Ordering::Relaxed);
        }
    }
}

impl http_body::Body for Metered {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            other => return Poll::Ready(other),
        };
        if let Some(data) = frame.data_ref() {
            self.framing.read(data);
            if let Err(refused) = self.settle() {
                return Poll::Ready(Some(Err(refused.into())));
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_held_is_what_is_not_whole(lens in prop::collection::vec(0_usize..600, 0..6), cut in 1_usize..50, end in 0_usize..4_000) {
            let mut wire = Vec::new();
            let mut ends = vec![0];
            for len in &lens {
                wire.push(0);
                wire.extend_from_slice(&(*len as u32).to_be_bytes());
                wire.extend(std::iter::repeat_n(7, *len));
                ends.push(wire.len());
            }
            let end = end.min(wire.len());
            let mut framing = Framing::default();
            for chunk in wire[..end].chunks(cut) {
                framing.read(chunk);
            }
            let whole = ends.into_iter().filter(|at| *at <= end).max().unwrap();
            prop_assert_eq!(framing.held, end - whole);
        }
    }
}
