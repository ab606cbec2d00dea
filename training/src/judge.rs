//! A judge: a model that says which of two answers is better, asked in both orders, within a budget.

use std::time::Duration;

use outbound::{JsonPost, Patience, PostError};
use serde::Deserialize;
use serde_json::json;
use thiserror::Error;

const INSTRUCTIONS: &str = "You compare two answers to a query. Judge whether they are right and useful, not how long \
                            they are or in which order they stand. Answer with one JSON object and nothing else: \
                            {\"winner\": \"A\"}, {\"winner\": \"B\"} or {\"winner\": \"tie\"}.";

/// Why there is no verdict.
#[derive(Debug, Error)]
pub enum JudgeError {
    /// The endpoint is away or refuses.
    #[error(transparent)]
    Post(#[from] PostError),
    /// It answered something else.
    #[error("expected a verdict such as {{\"winner\": \"A\"}}, found {0:?}")]
    NoVerdict(String),
}

/// A model behind an OpenAI-compatible endpoint.
#[derive(Debug)]
pub struct Judge {
    post: JsonPost,
    model: String,
}

/// What a verdict took.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Spent {
    /// Calls.
    pub calls: u64,
    /// Tokens of the prompts.
    pub input_tokens: u64,
    /// Tokens of the answers.
    pub output_tokens: u64,
}

#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Usage,
}

#[derive(Deserialize)]
struct Choice {
    message: Content,
}

#[derive(Deserialize)]
struct Content {
    content: String,
}

#[derive(Deserialize, Default)]
struct Usage {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
}

#[derive(Deserialize)]
struct Verdict {
    winner: String,
}

impl Judge {
    /// `endpoint`: up to and without `/chat/completions`; `key`: a bearer token, where one is asked for.
    pub fn new(endpoint: &str, model: &str, key: Option<String>) -> Self {
        let url = format!("{}/chat/completions", endpoint.trim_end_matches('/'));
        let patience = Patience { stall: Duration::from_secs(120), ..Patience::default() };
        Self { post: JsonPost::to(url, key, patience), model: model.to_owned() }
    }

    /// Strong's share over both orders: 1 where its answer won both times, 0.5 where the orders disagree or tie.
    ///
    /// # Errors
    /// When the endpoint is away, or what it says is no verdict; what was spent is counted all the same.
    pub fn compare(
        &self,
        query: &str,
        strong: &str,
        weak: &str,
        spent: &mut Spent,
    ) -> Result<f64, JudgeError> {
        let first = self.ask(query, strong, weak, spent)?;
        let second = self.ask(query, weak, strong, spent)?;
        Ok(0.5 * (first + 1.0 - second))
    }

    /// A's share: 1, 0.5 or 0.
    fn ask(&self, query: &str, a: &str, b: &str, spent: &mut Spent) -> Result<f64, JudgeError> {
        let question = format!("[Query]\n{query}\n\n[Answer A]\n{a}\n\n[Answer B]\n{b}");
        let body = json!({
            "model": self.model,
            "temperature": 0,
            "messages": [{"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": question}],
        });
        spent.calls += 1;
        let answer = self.post.post(&body)?;
        let Ok(Completion { choices, usage }) = serde_json::from_str(&answer) else {
            return Err(JudgeError::NoVerdict(shortened(&answer)));
        };
        spent.input_tokens += usage.prompt_tokens;
        spent.output_tokens += usage.completion_tokens;
        let said = choices.into_iter().next().map(|choice| choice.message.content).unwrap_or_default();
        verdict(&said).ok_or_else(|| JudgeError::NoVerdict(shortened(&said)))
    }
}

/// The verdict, which models like to wrap in a code fence.
fn verdict(said: &str) -> Option<f64> {
    let object = said.get(said.find('{')?..=said.rfind('}')?)?;
    match serde_json::from_str::<Verdict>(object).ok()?.winner.as_str() {
        "A" => Some(1.0),
        "B" => Some(0.0),
        "tie" => Some(0.5),
        _ => None,
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_a_verdict_or_nothing() {
        assert_eq!(verdict("{\"winner\": \"A\"}"), Some(1.0));
        assert_eq!(verdict("```json\n{\"winner\": \"tie\"}\n```"), Some(0.5));
        for none in ["", "A", "{\"winner\": \"C\"}", "}{", "{\"winner\": 1}", "I prefer {A}"] {
            assert_eq!(verdict(none), None, "{none}");
        }
    }
}
