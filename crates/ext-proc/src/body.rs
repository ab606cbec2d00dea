//! The body of a call as OpenAI's clients send it: chat completions (`messages`), responses (`input`, `instructions`)
//! and completions (`prompt`). Text and roles are read, everything else is passed over; nothing is kept.

use std::fmt;
use std::ops::Range;

use api::v1::route_request::Input;
use api::v1::{Chat, Message};
use serde::de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::reason::{Reason, Unrouted};

/// A body that could be read.
#[derive(Debug, PartialEq)]
pub(crate) struct Call {
    /// Where it names its model.
    pub(crate) model: ModelPlace,
    /// What it asks, if anything.
    pub(crate) asked: Result<Asked, Unrouted>,
}

/// What a body asks.
#[derive(Debug, PartialEq)]
pub(crate) struct Asked {
    pub(crate) input: Input,
    pub(crate) system: Option<String>,
}

/// Where the value of `model` stands in a body, or would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ModelPlace {
    /// The bytes of the value.
    At(Range<usize>),
    /// The body names none; the first key begins here.
    Before(usize),
}

/// Reads a body; `whole` says that the data plane cut nothing off.
///
/// # Errors
/// When it is no JSON object of these kinds, or one that others may read in another way.
pub(crate) fn read(body: &[u8], whole: bool) -> Result<Call, Unrouted> {
    let text = std::str::from_utf8(body).map_err(|error| match (whole, error.error_len()) {
        (false, None) => cut(),
        _ => Unrouted::new(Reason::NotJson, "body: expected JSON in UTF-8"),
    })?;
    let start = text.len() - text.trim_ascii_start().len();
    if !text[start..].starts_with('{') && !text[start..].is_empty() {
        return Err(Unrouted::new(Reason::NotJson, "body: expected a JSON object"));
    }
    let fields: Fields<'_> = serde_json::from_str(text).map_err(|error| match error.classify() {
        Category::Eof if !whole => cut(),
        Category::Data => Unrouted::new(Reason::Invalid, format!("body: {error}")),
        _ => Unrouted::new(Reason::NotJson, format!("body: expected JSON: {error}")),
    })?;
    let model = match fields.model {
        Some(raw) => {
            let at = raw.get().as_ptr().addr() - text.as_ptr().addr();
            ModelPlace::At(at..at + raw.get().len())
        }
        None => ModelPlace::Before(start + 1),
    };
    Ok(Call { model, asked: fields.asked() })
}

/// The same body with another model.
pub(crate) fn with_model(body: &[u8], place: &ModelPlace, model: &str) -> Vec<u8> {
    let name = serde_json::Value::from(model).to_string();
    let (before, put, after) = match place {
        ModelPlace::At(range) => (&body[..range.start], name, &body[range.end..]),
        // An object that asks something has a key after this one.
        ModelPlace::Before(at) => (&body[..*at], format!("\"model\":{name},"), &body[*at..]),
    };
    [before, put.as_bytes(), after].concat()
}

fn cut() -> Unrouted {
    Unrouted::new(Reason::BodyTooLong, "body: longer than what is sent to the router")
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default, deserialize_with = "even_null")]
    model: Option<&'a RawValue>,
    messages: Option<Vec<Turn>>,
    input: Option<ResponsesInput>,
    instructions: Option<Text>,
    prompt: Option<Text>,
}

/// A `null` is a value too: a second `model` beside it would be read by some and not by others.
fn even_null<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

impl Fields<'_> {
    fn asked(self) -> Result<Asked, Unrouted> {
        let system = self.instructions.map(|text| text.0).filter(|text| !blank(text));
        let input = match (self.messages, self.input, self.prompt) {
            (Some(turns), None, None) => chat(turns.into_iter().map(Turn::into_message).collect())?,
            (None, Some(ResponsesInput::Text(text)), None) | (None, None, Some(Text(text))) => asking(text)?,
            (None, Some(ResponsesInput::Items(items)), None) => {
                chat(items.into_iter().filter_map(Item::into_message).collect())?
            }
            (None, None, None) => {
                return Err(Unrouted::new(Reason::NoText, "body: expected messages, input or prompt"));
            }
            _ => {
                let expected = "body: expected one of messages, input and prompt, found several";
                return Err(Unrouted::new(Reason::Invalid, expected));
            }
        };
        Ok(Asked { input, system })
    }
}

fn chat(messages: Vec<Message>) -> Result<Input, Unrouted> {
    let asks = |turn: &Message| turn.role == "user" && !blank(&turn.content);
    if messages.iter().any(asks) {
        return Ok(Input::Chat(Chat { messages }));
    }
    Err(Unrouted::new(Reason::NoText, "body: expected a turn of the user with text"))
}

fn asking(text: String) -> Result<Input, Unrouted> {
    if blank(&text) {
        return Err(Unrouted::new(Reason::NoText, "body: expected text"));
    }
    Ok(Input::Text(text))
}

fn blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// A turn of a chat.
#[derive(Deserialize)]
struct Turn {
    role: String,
    #[serde(default)]
    content: Text,
}

impl Turn {
    fn into_message(self) -> Message {
        Message { role: self.role, content: self.content.0 }
    }
}

/// An item of the responses API: a turn, what a tool gave back, or something without text.
#[derive(Deserialize)]
struct Item {
    role: Option<String>,
    #[serde(default)]
    content: Text,
    output: Option<Text>,
}

impl Item {
    fn into_message(self) -> Option<Message> {
        match (self.role, self.output) {
            (Some(role), _) => Some(Message { role, content: self.content.0 }),
            (None, Some(output)) => Some(Message { role: "tool".to_owned(), content: output.0 }),
            (None, None) => None,
        }
    }
}

/// `input` of the responses API.
enum ResponsesInput {
    Text(String),
    Items(Vec<Item>),
}

impl<'de> Deserialize<'de> for ResponsesInput {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = ResponsesInput;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text or a list of items")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(ResponsesInput::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut read = Vec::new();
                while let Some(item) = items.next_element()? {
                    read.push(item);
                }
                Ok(ResponsesInput::Items(read))
            }
        }
        from.deserialize_any(Either)
    }
}

/// The text of a string, of an object's `text`, or of a list of either, one a line; whatever else there is has none.
#[derive(Default)]
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(TextOf)
    }
}

struct TextOf;

impl<'de> Visitor<'de> for TextOf {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or parts with text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
        Ok(Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Text, A::Error> {
        let mut all = String::new();
        while let Some(Text(part)) = parts.next_element()? {
            if !all.is_empty() && !part.is_empty() {
                all.push('\n');
            }
            all.push_str(&part);
        }
        Ok(Text(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut part: A) -> Result<Text, A::Error> {
        let mut found = None;
        while let Some(key) = part.next_key::<String>()? {
            if key != "text" {
                part.next_value::<IgnoredAny>()?;
            } else if found.replace(part.next_value::<Text>()?).is_some() {
                return Err(de::Error::duplicate_field("text"));
            }
        }
        Ok(found.unwrap_or_default())
    }

    fn visit_unit<E: de::Error>(self) -> Result<Text, E> {
        Ok(Text::default())
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Text, E> {
        Ok(Text::default())
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Text, E> {
        Ok(Text::default())
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Text, E> {
        Ok(Text::default())
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Text, E> {
        Ok(Text::default())
    }
}

#[cfg(test)]
mod tests;
