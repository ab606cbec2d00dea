//! A catalogue ready to say what queries are about: read, fitted without an encoder, and looked over. The service that
//! answers with it is in `service`.

mod service;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use semantic::check::{Limits, check};
use semantic::{
    Ask, Candidate, Catalogue, FitOptions, Fitted, Match, MatchReason, Matcher, Scorer, Scratch,
    SemanticError, StaticEmbedder, Target, cross_fitted, off_topic,
};
use types::{ModelName, Query, Role};

pub(crate) use service::Matching;

/// A catalogue in force.
pub(crate) struct Intents {
    matcher: Matcher,
    /// What its author should know.
    findings: Vec<String>,
    /// Buffers not in use; as many as ever ran at once.
    idle: Mutex<Vec<Scratch>>,
}

/// What is known of a query's intent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct About {
    /// The best route, taken or not; empty where none has anything in common with the query.
    pub(crate) best: String,
    /// The model that the catalogue gives it.
    pub(crate) model: Option<ModelName>,
    pub(crate) score: f64,
    pub(crate) probability: f64,
    pub(crate) p_value: Option<f64>,
    pub(crate) reason: MatchReason,
}

impl fmt::Debug for Intents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intents").field("version", &self.matcher.version()).finish_non_exhaustive()
    }
}

impl Intents {
    /// Reads a catalogue and fits it, unless it says what the one `before` says; what is wrong comes with file, line and
    /// key.
    pub(crate) fn read(file: &Path, before: Option<&Arc<Self>>) -> Result<Arc<Self>, String> {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
        let lines = file.extension().is_some_and(|extension| extension == "jsonl");
        let read =
            if lines { Catalogue::from_jsonl(&text, &name) } else { Catalogue::from_toml(&text, &name) };
        let catalogue = read.map_err(|error| error.to_string())?;
        if let Some(before) =
            before.filter(|before| before.matcher.catalogue().version() == catalogue.version())
        {
            return Ok(Arc::clone(before));
        }
        Self::fit(Arc::new(catalogue)).map(Arc::new).map_err(|error| format!("{name}: {error}"))
    }

    fn fit(catalogue: Arc<Catalogue>) -> Result<Self, SemanticError> {
        let build = |catalogue: Arc<Catalogue>| {
            let embedder = Arc::new(StaticEmbedder::fit(&catalogue));
            Scorer::new(catalogue, embedder)
        };
        let held_out = cross_fitted(&catalogue, build)?;
        let scorer = build(catalogue)?;
        let findings = check(&scorer, &held_out, &Limits::default());
        let fitted =
            Fitted::new(scorer.catalogue(), &held_out, &off_topic(&scorer)?, &FitOptions::default())?;
        let findings = findings.iter().map(ToString::to_string).collect();
        Ok(Self { matcher: Matcher::new(scorer, fitted), findings, idle: Mutex::default() })
    }

    pub(crate) fn matcher(&self) -> &Matcher {
        &self.matcher
    }

    pub(crate) fn findings(&self) -> &[String] {
        &self.findings
    }

    /// Every intent with the model that the catalogue gives it.
    pub(crate) fn models(&self) -> BTreeMap<String, Option<ModelName>> {
        let routes = self.matcher.catalogue().routes().iter();
        routes.map(|route| (route.name.clone(), route.target.as_ref().and_then(model))).collect()
    }

    /// What a query is about.
    pub(crate) fn about(&self, query: &Query) -> Result<About, SemanticError> {
        self.with_scratch(|scratch| {
            let Match { best, score, probability, p_value, reason, .. } =
                self.matcher.match_query(Ask::Text(asks(query)), scratch)?;
            let best = best.map(|best| best.route);
            Ok(About {
                best: best.map(|route| route.name.clone()).unwrap_or_default(),
                model: best.and_then(|route| route.target.as_ref()).and_then(model),
                score,
                probability,
                p_value,
                reason,
            })
        })
    }

    /// The same with the best routes beside it.
    fn best(&self, query: &Query, most: usize) -> Result<(Match<'_>, Vec<Candidate<'_>>), SemanticError> {
        self.with_scratch(|scratch| self.matcher.match_best(Ask::Text(asks(query)), most, scratch))
    }

    fn with_scratch<T>(&self, work: impl FnOnce(&mut Scratch) -> T) -> T {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut scratch = idle().pop().unwrap_or_default();
        let done = work(&mut scratch);
        idle().push(scratch);
        done
    }
}

/// The turn that asks: the last one of the user.
fn asks(query: &Query) -> &str {
    let mut of_user = query.parts().rev().filter(|(role, _)| *role == Role::User);
    of_user.next().map_or("", |(_, text)| text)
}

fn model(target: &Target) -> Option<ModelName> {
    match target {
        Target::Model(name) => ModelName::new(name).ok(),
        Target::Handler(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::Message;

    #[test]
    fn the_last_turn_of_the_user_is_matched() {
        let turn = |role, content: &str| Message { role, content: content.into() };
        let chat = Query::chat(vec![
            turn(Role::User, "hello"),
            turn(Role::Assistant, "hi"),
            turn(Role::User, "my invoice is wrong"),
            turn(Role::Tool, "{}"),
        ]);
        assert_eq!(asks(&chat.unwrap().with_system("be brief")), "my invoice is wrong");
        assert_eq!(asks(&Query::text("")), "");
    }
}
