//! `SemanticService`: matches and the catalogue over the wire.

use std::sync::Arc;

use api::v1;
use api::v1::match_request::Input as Asked;
use api::v1::route_request::Input;
use api::v1::semantic_service_server::{SemanticService, SemanticServiceServer};
use prost::Message;
use router::{Admission, Priority, Work};
use semantic::{Candidate, Match, MatchReason, Settings, Target};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::Intents;
use crate::convert;
use crate::program::Programs;
use crate::service::deadline;
use crate::status::RequestError;

/// Candidates of one match at most.
const MOST_CANDIDATES: u32 = 100;

/// Answers `rung.v1.SemanticService`.
#[derive(Debug, Clone)]
pub(crate) struct Matching {
    pub(crate) programs: Arc<Programs>,
    /// A match computes where it arrives, as a decision does: both take the same slots.
    pub(crate) admission: Arc<Admission>,
}

impl Matching {
    /// The service for requests of so many bytes.
    pub(crate) fn server(self, max_request_bytes: usize) -> SemanticServiceServer<Self> {
        SemanticServiceServer::new(self).max_decoding_message_size(max_request_bytes)
    }

    fn intents(&self) -> Result<Arc<Intents>, Status> {
        let none = || Status::not_found("there is no catalogue: set `catalogue`");
        self.programs.current().intents.clone().ok_or_else(none)
    }
}

fn target(target: Option<&Target>) -> (String, String) {
    match target {
        Some(Target::Model(model)) => (model.clone(), String::new()),
        Some(Target::Handler(handler)) => (String::new(), handler.clone()),
        None => (String::new(), String::new()),
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn matched(
    intents: &Intents,
    request: v1::MatchRequest,
    start: Instant,
) -> Result<v1::MatchResponse, RequestError> {
    let v1::MatchRequest { request_id, input, system, top_k } = request;
    if top_k > MOST_CANDIDATES {
        return Err(RequestError::invalid(
            "top_k",
            format!("expected 0 to {MOST_CANDIDATES}, found {top_k}"),
        ));
    }
    let input = input.map(|input| match input {
        Asked::Text(text) => Input::Text(text),
        Asked::Chat(chat) => Input::Chat(chat),
    });
    let query = convert::query(input, system)?;
    let found = intents.best(&query, top_k as usize);
    let (Match { route, score, probability, p_value, reason, .. }, candidates) =
        found.map_err(|error| RequestError::invalid("input", error.to_string()))?;
    let settings = intents.matcher().catalogue().settings();
    let (model, handler) = match route {
        Some(route) => target(route.target.as_ref()),
        None => (settings.fallback.clone().unwrap_or_default(), String::new()),
    };
    let candidates = candidates.into_iter().map(|Candidate { route, score }| {
        let (model, handler) = target(route.target.as_ref());
        v1::MatchCandidate { route: route.name.clone(), score, model, handler }
    });
    Ok(v1::MatchResponse {
        request_id,
        route: route.map(|route| route.name.clone()).unwrap_or_default(),
        model,
        handler,
        score,
        probability,
        p_value,
        reason: MatchReason::as_str(reason).to_owned(),
        candidates: candidates.collect(),
        catalogue_version: intents.matcher().version().to_owned(),
        decision_time_us: start.elapsed().as_secs_f64() * 1e6,
    })
}

fn catalogue(intents: &Intents, programs: &Programs) -> v1::GetCatalogueResponse {
    let catalogue = intents.matcher().catalogue();
    let Settings { mode, floor_alpha, fallback, .. } = catalogue.settings();
    let thresholds = intents.matcher().fitted().thresholds.iter();
    let routes = catalogue.routes().iter().zip(thresholds).map(|(route, threshold)| {
        let (model, handler) = target(route.target.as_ref());
        v1::CatalogueRoute {
            name: route.name.clone(),
            model,
            handler,
            exemplars: count(route.utterances.len()),
            negatives: count(route.negatives.len()),
            threshold: Some(*threshold).filter(|threshold| threshold.is_finite()),
            slices: route.slices.clone(),
        }
    });
    v1::GetCatalogueResponse {
        file: programs.catalogue_file(),
        version: catalogue.version().to_owned(),
        mode: mode.as_str().to_owned(),
        floor_alpha: *floor_alpha,
        fallback: fallback.clone().unwrap_or_default(),
        routes: routes.collect(),
        off_topic: count(catalogue.off_topic().len()),
        findings: intents.findings().to_vec(),
        refused: programs.refused(),
    }
}

#[tonic::async_trait]
impl SemanticService for Matching {
    async fn r#match(
        &self,
        request: Request<v1::MatchRequest>,
    ) -> Result<Response<v1::MatchResponse>, Status> {
        let intents = self.intents()?;
        let deadline = deadline(request.metadata());
        let work = Work::one(Priority::Normal, request.get_ref().encoded_len(), deadline);
        let _permit = self.admission.admit(work).await.map_err(RequestError::from)?;
        Ok(Response::new(matched(&intents, request.into_inner(), Instant::now())?))
    }

    async fn get_catalogue(
        &self,
        _: Request<v1::GetCatalogueRequest>,
    ) -> Result<Response<v1::GetCatalogueResponse>, Status> {
        Ok(Response::new(catalogue(&*self.intents()?, &self.programs)))
    }
}
