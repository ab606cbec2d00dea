//! What a caller asks: plain text, or a chat with roles. Validation of shape only;
//! how text becomes numbers is the business of `features`.

use thiserror::Error;

/// Who wrote a chat message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Instructions of the application.
    System,
    /// The person or program that asks.
    User,
    /// An earlier answer of a model.
    Assistant,
    /// The result of a tool call.
    Tool,
}

impl Role {
    /// The lower-case name used in every file and wire format.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }

    /// Parses the lower-case name; `None` for any other text.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "system" | "developer" => Some(Self::System),
            "user" => Some(Self::User),
            "assistant" => Some(Self::Assistant),
            "tool" | "function" => Some(Self::Tool),
            _ => None,
        }
    }
}

/// One turn of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Message {
    /// Who wrote it.
    pub role: Role,
    /// What was written; may be empty.
    pub content: String,
}

/// The part of a query that asks: either plain text or a chat.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Body {
    /// Plain text.
    Text(String),
    /// A chat, oldest turn first, with at least one user turn.
    Messages(Vec<Message>),
}

/// A query as routed: an optional system prompt and a body.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Query {
    system: Option<String>,
    body: Body,
}

/// Why a query was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QueryError {
    /// The chat holds no turn at all.
    #[error("messages is empty: expected at least one user message")]
    NoMessages,
    /// The chat holds turns, but none by the user.
    #[error("messages has no user turn: expected at least one message with role \"user\"")]
    NoUserMessage,
}

impl Query {
    /// A query of plain text. Empty text is a query too: it is short, not wrong.
    pub fn text(text: impl Into<String>) -> Self {
        Self { system: None, body: Body::Text(text.into()) }
    }

    /// A chat, oldest turn first.
    ///
    /// # Errors
    /// When there is no turn, or none by the user.
    pub fn chat(messages: Vec<Message>) -> Result<Self, QueryError> {
        if messages.is_empty() {
            return Err(QueryError::NoMessages);
        }
        if !messages.iter().any(|m| m.role == Role::User) {
            return Err(QueryError::NoUserMessage);
        }
        Ok(Self { system: None, body: Body::Messages(messages) })
    }

    /// The same query with a system prompt in front.
    #[must_use]
    pub fn with_system(mut self, system: impl Into<String>) -> Self {
        self.system = Some(system.into());
        self
    }

    /// The system prompt given beside the body, if any (not a system turn inside a chat).
    pub fn system(&self) -> Option<&str> {
        self.system.as_deref()
    }

    /// The part that asks.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Every piece of text with its role, in reading order: system prompt, then the turns.
    pub fn parts(&self) -> impl DoubleEndedIterator<Item = (Role, &str)> {
        let (text, messages) = match &self.body {
            Body::Text(text) => (Some((Role::User, text.as_str())), [].as_slice()),
            Body::Messages(messages) => (None, messages.as_slice()),
        };
        self.system
            .iter()
            .map(|s| (Role::System, s.as_str()))
            .chain(text)
            .chain(messages.iter().map(|m| (m.role, m.content.as_str())))
    }

    /// Total length of all parts in bytes.
    pub fn byte_len(&self) -> usize {
        self.parts().map(|(_, text)| text.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chat_needs_a_user_turn() {
        let turn = |role| Message { role, content: "hello".into() };
        assert_eq!(Query::chat(vec![]), Err(QueryError::NoMessages));
        assert_eq!(Query::chat(vec![turn(Role::Assistant)]), Err(QueryError::NoUserMessage));
        let query =
            Query::chat(vec![turn(Role::System), turn(Role::User)]).map(|q| q.with_system("be brief"));
        let roles: Vec<_> = query.iter().flat_map(Query::parts).map(|p| p.0).collect();
        assert_eq!(roles, [Role::System, Role::System, Role::User]);
    }
}
