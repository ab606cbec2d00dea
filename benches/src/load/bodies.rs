//! What is sent: requests of a given length, encoded once, and what is looked at in the answers.

use anyhow::{Context, Result, bail, ensure};
use api::v1;
use api::v1::route_request::Input;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use clap::ValueEnum;
use prost::Message;

use crate::prose;

/// Bytes before a message of gRPC: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// How queries travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One query, one call.
    Unary,
    /// So many queries to a call, at least 1.
    Batch(u32),
    /// One query, one message of a stream that stays open.
    Stream,
}

impl Shape {
    /// As it is written on a command line.
    ///
    /// # Errors
    /// When it is none of `unary`, `stream` and `batch:N`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "unary" => Ok(Self::Unary),
            None if text == "stream" => Ok(Self::Stream),
            Some(("batch", n)) => match n.parse() {
                Ok(n) if (1..=1_024).contains(&n) => Ok(Self::Batch(n)),
                _ => Err(format!("batch: expected 1 to 1024 queries, found {n:?}")),
            },
            _ => Err(format!("expected unary, stream or batch:N, found {text:?}")),
        }
    }

    /// Queries of one message.
    pub(crate) fn queries(self) -> u32 {
        if let Self::Batch(n) = self { n } else { 1 }
    }

    /// The method that takes it.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Unary => "/rung.v1.RouterService/Route",
            Self::Batch(_) => "/rung.v1.RouterService/RouteBatch",
            Self::Stream => "/rung.v1.RouterService/RouteStream",
        }
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unary => f.write_str("unary"),
            Self::Batch(n) => write!(f, "batch:{n}"),
            Self::Stream => f.write_str("stream"),
        }
    }
}

/// Which tier of scorers is wished for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tier {
    /// The fast one alone.
    Fast,
    /// The deep one where its answer could change the decision.
    Auto,
    /// The deep one always.
    Deep,
}

impl Tier {
    fn to_wire(self) -> i32 {
        match self {
            Self::Fast => v1::TierWish::FastOnly.into(),
            Self::Auto => v1::TierWish::Auto.into(),
            Self::Deep => v1::TierWish::DeepAlways.into(),
        }
    }
}

/// What queries are like.
#[derive(Debug, Clone)]
pub(crate) struct Queries {
    /// Their lengths in tokens, taken in turn; at least one.
    pub(crate) lengths: Vec<usize>,
    /// How many different texts there are of each length, at least 1.
    pub(crate) distinct: usize,
    /// The tier that is wished for.
    pub(crate) tier: Tier,
    /// Labels of every query.
    pub(crate) labels: Vec<(String, String)>,
}

impl Queries {
    /// Queries of one length for the fast tier.
    pub(crate) fn of(tokens: usize) -> Self {
        Self { lengths: vec![tokens], distinct: 128, tier: Tier::Fast, labels: Vec::new() }
    }

    /// Every query once: the i-th text of a length begins i words later in the same prose.
    fn requests(&self) -> Vec<v1::RouteRequest> {
        let longest = self.lengths.iter().copied().max().unwrap_or_default();
        let words = prose(longest + self.distinct);
        let words: Vec<&str> = words.split(' ').collect();
        let mut requests = Vec::with_capacity(self.distinct * self.lengths.len());
        for at in 0..self.distinct {
            for &tokens in &self.lengths {
                requests.push(v1::RouteRequest {
                    request_id: format!("load-{}", requests.len()),
                    input: Some(Input::Text(words[at..at + tokens].join(" "))),
                    labels: self.labels.iter().cloned().collect(),
                    tier: self.tier.to_wire(),
                    ..Default::default()
                });
            }
        }
        requests
    }

    /// The messages that are sent over and over, framed for gRPC.
    pub(crate) fn frames(&self, shape: Shape) -> Vec<Bytes> {
        let requests = self.requests();
        let Shape::Batch(n) = shape else { return requests.iter().map(framed).collect() };
        let mut next = requests.iter().cycle();
        let messages = requests.len().div_ceil(n as usize).max(8);
        let batch = |_| {
            let requests = next.by_ref().take(n as usize).cloned().collect();
            framed(&v1::RouteBatchRequest { requests })
        };
        (0..messages).map(batch).collect()
    }
}

/// A message as gRPC frames it.
pub(crate) fn framed(message: &impl Message) -> Bytes {
    let mut frame = BytesMut::with_capacity(PREFIX + message.encoded_len());
    frame.put_u8(0);
    frame.put_u32(message.encoded_len() as u32);
    // A BytesMut grows: there is always room.
    let _ = message.encode(&mut frame);
    frame.freeze()
}

/// Takes the next whole message out of what has arrived.
pub(crate) fn next_message(arrived: &mut BytesMut) -> Option<Bytes> {
    let length = u32::from_be_bytes(arrived.get(1..PREFIX)?.try_into().ok()?) as usize;
    if arrived.len() < PREFIX + length {
        return None;
    }
    arrived.advance(PREFIX);
    Some(arrived.split_to(length).freeze())
}

/// Decisions and refusals of one answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) decisions: u32,
    /// Code of each query that was refused.
    pub(crate) refused: Vec<i32>,
}

/// Counts what an answer holds without decoding decisions: the tags of its items are enough.
pub(crate) fn count(shape: Shape, message: &[u8]) -> Result<Answered> {
    let mut answered = Answered::default();
    match shape {
        Shape::Unary => answered.decisions = u32::from(!message.is_empty()),
        Shape::Stream => count_item(message, &mut answered)?,
        Shape::Batch(_) => {
            let mut rest = message;
            while !rest.is_empty() {
                let (_, item) = field(&mut rest)?;
                count_item(item, &mut answered)?;
            }
        }
    }
    Ok(answered)
}

fn count_item(mut item: &[u8], answered: &mut Answered) -> Result<()> {
    match field(&mut item)? {
        (1, _) => answered.decisions += 1,
        (_, error) => answered.refused.push(v1::RouteError::decode(error)?.code),
    }
    Ok(())
}

/// The next length-delimited field of a message.
fn field<'a>(rest: &mut &'a [u8]) -> Result<(u64, &'a [u8])> {
    let tag = prost::encoding::decode_varint(rest)?;
    ensure!(tag & 7 == 2, "a field of wire type {} where an item was expected", tag & 7);
    let length = prost::encoding::decode_varint(rest)? as usize;
    let (field, after) = rest.split_at_checked(length).context("an item is cut short")?;
    *rest = after;
    Ok((tag >> 3, field))
}

/// Decodes a whole answer and holds every decision against what a decision is.
pub(crate) fn check(shape: Shape, message: &[u8]) -> Result<()> {
    let items = match shape {
        Shape::Unary => return check_decision(&v1::RouteResponse::decode(message)?),
        Shape::Stream => vec![v1::RouteItem::decode(message)?],
        Shape::Batch(_) => v1::RouteBatchResponse::decode(message)?.items,
    };
    ensure!(items.len() == shape.queries() as usize, "{} items of {}", items.len(), shape.queries());
    for item in items {
        match item.result {
            Some(v1::route_item::Result::Response(decision)) => check_decision(&decision)?,
            // It is counted by its code.
            Some(v1::route_item::Result::Error(_)) => {}
            None => bail!("an item without a result"),
        }
    }
    Ok(())
}

fn check_decision(decision: &v1::RouteResponse) -> Result<()> {
    ensure!(decision.decision_id.len() == 36, "decision_id {:?}", decision.decision_id);
    ensure!(decision.request_id.starts_with("load-"), "request_id {:?}", decision.request_id);
    ensure!(!decision.model.is_empty(), "a decision without a model");
    ensure!((0.0..=1.0).contains(&decision.win_probability), "win_probability {}", decision.win_probability);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(n: usize) -> v1::RouteResponse {
        v1::RouteResponse {
            decision_id: "0190a000-0000-7000-8000-000000000000".into(),
            request_id: format!("load-{n}"),
            model: "small".into(),
            ..Default::default()
        }
    }

    fn answer() -> v1::RouteBatchResponse {
        use v1::route_item::Result as Item;
        let refused = v1::RouteError { code: 8, ..Default::default() };
        let items = [Item::Response(decision(0)), Item::Error(refused), Item::Response(decision(1))];
        let items = items.into_iter().map(|result| v1::RouteItem { result: Some(result) }).collect();
        v1::RouteBatchResponse { items }
    }

    #[test]
    fn an_answer_is_counted_without_decoding_it() {
        let answer = answer().encode_to_vec();
        let counted = count(Shape::Batch(3), &answer).unwrap();
        assert_eq!(counted, Answered { decisions: 2, refused: vec![8] });
        check(Shape::Batch(3), &answer).unwrap();
        assert!(check(Shape::Batch(4), &answer).is_err());
        assert!(count(Shape::Batch(3), &answer[..answer.len() - 1]).is_err());
    }

    #[test]
    fn a_wrong_decision_is_seen() {
        let right = decision(3);
        check(Shape::Unary, &right.encode_to_vec()).unwrap();
        let wrong = v1::RouteResponse { model: String::new(), ..right.clone() };
        assert!(check(Shape::Unary, &wrong.encode_to_vec()).is_err());
        let wrong = v1::RouteResponse { request_id: "other".into(), ..right };
        assert!(check(Shape::Unary, &wrong.encode_to_vec()).is_err());
    }

    #[test]
    fn texts_differ_and_have_the_length_that_was_asked_for() {
        let queries = Queries { lengths: vec![16, 64], distinct: 50, ..Queries::of(0) };
        let mut texts: Vec<String> = Vec::new();
        for request in queries.requests() {
            let Some(Input::Text(text)) = request.input else { panic!("a text") };
            texts.push(text);
        }
        assert!(texts.chunks(2).all(|c| c[0].split(' ').count() == 16 && c[1].split(' ').count() == 64));
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), 100);
    }

    #[test]
    fn messages_are_taken_whole() {
        let frames = Queries::of(8).frames(Shape::Batch(3));
        let both = [&frames[0][..], &frames[1][..]].concat();
        let mut arrived = BytesMut::new();
        let mut taken = Vec::new();
        for byte in both {
            arrived.put_u8(byte);
            taken.extend(next_message(&mut arrived));
        }
        let sizes = taken.iter().map(|m| v1::RouteBatchRequest::decode(&m[..]).unwrap().requests.len());
        assert_eq!((sizes.collect::<Vec<_>>(), arrived.len()), (vec![3, 3], 0));
    }

    #[test]
    fn shapes_are_read_as_they_are_written() {
        for shape in [Shape::Unary, Shape::Stream, Shape::Batch(32)] {
            assert_eq!(Shape::parse(&shape.to_string()), Ok(shape));
        }
        for bad in ["", "batch", "batch:0", "batch:x", "unary:3"] {
            assert!(Shape::parse(bad).is_err(), "{bad:?}");
        }
    }
}
