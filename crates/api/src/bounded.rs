//! The codec of every method: prost's, which for requests counts fields before it makes anything of them.
//!
//! An empty element of a repeated field takes two bytes on the wire and a hundred times that in memory; the bound on a
//! message's bytes alone would let 4 MiB become 400.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::LazyLock;

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost::{DecodeError, Message, Name};
use prost_types::FileDescriptorSet;
use prost_types::field_descriptor_proto::Type;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstDecoder, ProstEncoder};

/// Fields that a request may hold, those of all messages within it together.
pub const MOST_FIELDS: usize = 1 << 18;

/// As deep as prost follows messages within messages.
const DEEPEST: usize = 100;

/// Which fields of a message hold messages, by number, and of which kind.
type Nested = HashMap<u32, String>;

static NESTED: LazyLock<HashMap<String, Nested>> = LazyLock::new(|| {
    let files = FileDescriptorSet::decode(crate::v1::FILE_DESCRIPTOR_SET).unwrap_or_default();
    let mut all = HashMap::new();
    for file in files.file {
        let mut within: Vec<_> = file
            .message_type
            .into_iter()
            .map(|message| (file.package.clone().unwrap_or_default(), message))
            .collect();
        while let Some((scope, message)) = within.pop() {
            let name = format!("{scope}.{}", message.name());
            let holds = |field: &prost_types::FieldDescriptorProto| {
                let kind =
                    (field.r#type() == Type::Message).then(|| field.type_name().trim_start_matches('.'))?;
                Some((u32::try_from(field.number()).ok()?, kind.to_owned()))
            };
            let nested: Nested = message.field.iter().filter_map(holds).collect();
            within.extend(message.nested_type.into_iter().map(|message| (name.clone(), message)));
            all.insert(name, nested);
        }
    }
    all
});

/// Takes the fields of a message of this kind, and of those within it, from those that are left; false where that is
/// not enough. What is no message is prost's to refuse.
fn enough(mut bytes: &[u8], kind: &str, left: &mut usize, depth: usize) -> Result<bool, DecodeError> {
    let nested = NESTED.get(kind);
    while !bytes.is_empty() {
        let Some(fewer) = left.checked_sub(1) else { return Ok(false) };
        *left = fewer;
        let (number, wire) = decode_key(&mut bytes)?;
        let kind = nested.and_then(|nested| nested.get(&number)).filter(|_| depth < DEEPEST);
        let (WireType::LengthDelimited, Some(kind)) = (wire, kind) else {
            skip_field(wire, number, &mut bytes, DecodeContext::default())?;
            continue;
        };
        let length = usize::try_from(decode_varint(&mut bytes)?).unwrap_or(usize::MAX);
        let Some((message, rest)) = bytes.split_at_checked(length) else { return Ok(true) };
        if !enough(message, kind, left, depth + 1)? {
            return Ok(false);
        }
        bytes = rest;
    }
    Ok(true)
}

/// prost's codec, within [`MOST_FIELDS`] for requests: those come from strangers, answers from a server that was chosen.
#[derive(Debug)]
pub struct BoundedCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for BoundedCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for BoundedCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Name + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = BoundedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder {
            prost: ProstDecoder::default(),
            kind: U::NAME.ends_with("Request").then(U::full_name),
        }
    }
}

/// Decodes one side of a call.
#[derive(Debug)]
pub struct BoundedDecoder<U> {
    prost: ProstDecoder<U>,
    /// Full name of the message, where it is a request.
    kind: Option<String>,
}

impl<U: Message + Default> Decoder for BoundedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        if let Some(kind) = &self.kind {
            // One message lies in one piece; of another only the first piece would be counted.
            let within = enough(bytes::Buf::chunk(buffer), kind, &mut { MOST_FIELDS }, 0);
            if within.is_ok_and(|within| !within) {
                return Err(Status::invalid_argument(format!(
                    "expected at most {MOST_FIELDS} fields in a request"
                )));
            }
        }
        self.prost.decode(buffer)
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.prost.buffer_settings()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::v1;

    fn fields(bytes: &[u8], kind: &str) -> usize {
        let mut left = MOST_FIELDS;
        let _ = enough(bytes, kind, &mut left, 0);
        MOST_FIELDS - left
    }

    #[test]
    fn every_field_counts_wherever_it_is() {
        let text = v1::RouteRequest {
            input: Some(v1::route_request::Input::Text("\u{8}\u{8}\u{8}\u{8}".into())),
            request_id: "x".into(),
            labels: [("tenant".to_owned(), "a".to_owned())].into(),
            ..Default::default()
        };
        // Text is not looked into; a label is a field with a key and a value.
        assert_eq!(fields(&text.encode_to_vec(), "rung.v1.RouteRequest"), 5);
        let batch = v1::RouteBatchRequest { requests: vec![text; 3] };
        assert_eq!(fields(&batch.encode_to_vec(), "rung.v1.RouteBatchRequest"), 3 * 6);
    }

    #[test]
    fn too_many_are_too_many_at_any_depth() {
        let empty = [0x0a, 0x00].repeat(MOST_FIELDS);
        assert!(enough(&empty, "rung.v1.RouteBatchRequest", &mut { MOST_FIELDS }, 0).unwrap());
        let more = [0x0a, 0x00].repeat(MOST_FIELDS + 1);
        assert!(!enough(&more, "rung.v1.RouteBatchRequest", &mut { MOST_FIELDS }, 0).unwrap());
        let turn = v1::Message::default();
        let chat = v1::Chat { messages: vec![turn; MOST_FIELDS] };
        let request =
            v1::RouteRequest { input: Some(v1::route_request::Input::Chat(chat)), ..Default::default() };
        assert!(!enough(&request.encode_to_vec(), "rung.v1.RouteRequest", &mut { MOST_FIELDS }, 0).unwrap());
    }

    proptest! {
        #[test]
        fn garbage_is_read_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            prop_assert!(fields(&bytes, "rung.v1.RouteBatchRequest") <= bytes.len());
        }
    }
}
