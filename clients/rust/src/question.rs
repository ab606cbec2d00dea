//! What is asked. A text alone is a question; everything else that a request can say is said with the message
//! itself.

use api::v1::RouteRequest;
use api::v1::route_request::Input;

/// Who is turned away first when Rung has more to do than it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Before everybody else.
    Low,
    /// As if nothing were said.
    Normal,
    /// After everybody else.
    High,
}

impl Priority {
    /// The label of a request that says so.
    #[must_use]
    pub fn label(self) -> (String, String) {
        let value = match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        };
        ("priority".to_owned(), value.to_owned())
    }
}

/// A request to route, made of a text or of the message.
#[derive(Debug, Clone, PartialEq)]
pub struct Question(pub(crate) RouteRequest);

impl Question {
    /// The same with a priority.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.0.labels.extend([priority.label()]);
        self
    }

    /// The same with a label.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.labels.insert(key.into(), value.into());
        self
    }
}

impl From<RouteRequest> for Question {
    fn from(request: RouteRequest) -> Self {
        Self(request)
    }
}

impl From<String> for Question {
    fn from(text: String) -> Self {
        Self(RouteRequest { input: Some(Input::Text(text)), ..Default::default() })
    }
}

impl From<&str> for Question {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_priority_is_a_label() {
        let question = Question::from("hello").label("team", "support").priority(Priority::Low);
        assert_eq!(question.0.labels["priority"], "low");
        assert_eq!(question.0.labels["team"], "support");
        assert_eq!(question.priority(Priority::High).0.labels["priority"], "high");
        assert_eq!(Priority::Normal.label().1, "normal");
    }
}
