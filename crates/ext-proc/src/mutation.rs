//! What Envoy is told to change: headers, the body, the rest of the conversation, or that the caller gets an answer now.

use api::v1::{RouteResponse, Tier};
use serde_json::json;

use crate::head::names;
use crate::reason::{Reason, Unrouted};
use crate::wire::{
    BodyMutation, BodyResponse, BodySendMode, CommonResponse, HeaderAppendAction, HeaderMutation,
    HeaderSendMode, HeaderValue, HeaderValueOption, HeadersResponse, HttpStatus, ImmediateResponse,
    ProcessingMode, ProcessingResponse, body_mutation, processing_response,
};

/// Which message is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// `request_headers`.
    Headers,
    /// `request_body`.
    Body,
}

/// A body in the place of the one that was sent.
#[derive(Debug)]
pub(crate) struct NewBody {
    pub(crate) bytes: Vec<u8>,
    /// The request tells a length, which has to be the new one; a second framing beside chunks would be smuggling.
    pub(crate) has_length: bool,
}

/// Takes headers off and asks for the body, in the mode it is sent in; the answers of upstreams are nobody's business
/// here.
pub(crate) fn send_body(stripped: Vec<String>, mode: Option<BodySendMode>) -> ProcessingResponse {
    let skip = HeaderSendMode::Skip.into();
    let mode_override = mode.map(|mode| ProcessingMode {
        request_header_mode: HeaderSendMode::Default.into(),
        response_header_mode: skip,
        request_body_mode: mode.into(),
        response_body_mode: BodySendMode::None.into(),
        request_trailer_mode: skip,
        response_trailer_mode: skip,
    });
    let mutation = HeaderMutation { set_headers: Vec::new(), remove_headers: stripped };
    ProcessingResponse { mode_override, ..changed(Phase::Headers, mutation, None) }
}

/// The decision as headers, and as another body where there is one.
///
/// # Errors
/// When a header cannot carry the model's name.
pub(crate) fn decided(
    phase: Phase,
    response: &RouteResponse,
    body: Option<NewBody>,
) -> Result<ProcessingResponse, Unrouted> {
    if !fits_a_header(&response.model) {
        let message = "the router failed: a header cannot carry the name of the model";
        return Err(Unrouted::new(Reason::Failed, message));
    }
    let tier = match response.tier() {
        Tier::Strong => "strong",
        Tier::Weak => "weak",
        Tier::Unspecified => "unspecified",
    };
    let set_headers = vec![
        set(names::MODEL, &response.model),
        set(names::DECISION_ID, &response.decision_id),
        set(names::TIER, tier),
        set(names::WIN_PROBABILITY, &response.win_probability.to_string()),
    ];
    Ok(changed(phase, HeaderMutation { set_headers, remove_headers: Vec::new() }, body))
}

/// Lets the request pass without a decision, marked.
pub(crate) fn passed(
    phase: Phase,
    stripped: Vec<String>,
    model: &str,
    reason: Reason,
    body: Option<NewBody>,
) -> ProcessingResponse {
    let set_headers = vec![set(names::MODEL, model), set(names::FALLBACK, reason.as_str())];
    changed(phase, HeaderMutation { set_headers, remove_headers: stripped }, body)
}

/// Answers the caller at once, in the words of OpenAI's errors.
pub(crate) fn refused(unrouted: &Unrouted) -> ProcessingResponse {
    let reason = unrouted.reason;
    let mut set_headers = vec![set("content-type", "application/json"), set(names::REFUSED, reason.as_str())];
    if let Some(delay) = unrouted.retry_after {
        // Whole seconds are all that the header knows; too early would be refused again.
        let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
        set_headers.push(set("retry-after", &seconds.to_string()));
    }
    let body = json!({"error": {
        "message": unrouted.message,
        "type": reason.error_type(),
        "param": null,
        "code": format!("rung_{}", reason.as_str()),
    }});
    let response = ImmediateResponse {
        status: Some(HttpStatus { code: reason.http_status().into() }),
        headers: Some(HeaderMutation { set_headers, remove_headers: Vec::new() }),
        body: body.to_string().into_bytes(),
        grpc_status: None,
        details: format!("rung_{}", reason.as_str()),
    };
    ProcessingResponse {
        response: Some(processing_response::Response::ImmediateResponse(response)),
        ..ProcessingResponse::default()
    }
}

/// Whether HTTP takes it as the value of a header.
pub(crate) fn fits_a_header(text: &str) -> bool {
    !text.is_empty() && text == text.trim() && text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}

fn changed(phase: Phase, mut headers: HeaderMutation, body: Option<NewBody>) -> ProcessingResponse {
    if let Some(NewBody { bytes, has_length: true }) = &body {
        headers.set_headers.push(set("content-length", &bytes.len().to_string()));
    }
    // Envoy removes before it sets; a name on both lists would lean on that order.
    let is_set =
        |name: &String| headers.set_headers.iter().any(|h| h.header.as_ref().is_some_and(|h| h.key == *name));
    let remove_headers = headers.remove_headers.iter().filter(|name| !is_set(name)).cloned().collect();
    let common = CommonResponse {
        // Without it the route would be the one of the headers that the caller sent.
        clear_route_cache: true,
        header_mutation: Some(HeaderMutation { remove_headers, ..headers }),
        body_mutation: body
            .map(|body| BodyMutation { mutation: Some(body_mutation::Mutation::Body(body.bytes)) }),
        ..CommonResponse::default()
    };
    let response = Some(common);
    let response = match phase {
        Phase::Headers => processing_response::Response::RequestHeaders(HeadersResponse { response }),
        Phase::Body => processing_response::Response::RequestBody(BodyResponse { response }),
    };
    ProcessingResponse { response: Some(response), ..ProcessingResponse::default() }
}

fn set(name: &str, value: &str) -> HeaderValueOption {
    let raw_value = value.as_bytes().to_vec();
    HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), raw_value, ..HeaderValue::default() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..HeaderValueOption::default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_visible_ascii_becomes_a_header() {
        for good in ["gpt-4o", "meta/llama 3"] {
            assert!(fits_a_header(good), "{good:?}");
        }
        for bad in ["", " a", "a\r\nx-admin: 1", "größer", "a\u{7f}"] {
            assert!(!fits_a_header(bad), "{bad:?}");
        }
        let response = RouteResponse { model: "a\nb".into(), ..RouteResponse::default() };
        let unrouted = decided(Phase::Body, &response, None).unwrap_err();
        assert_eq!(unrouted.reason, Reason::Failed);
    }

    #[test]
    fn a_refusal_rounds_its_patience_up() {
        let retry_after = Some(Duration::from_millis(1_200));
        let unrouted = Unrouted { retry_after, ..Unrouted::new(Reason::Overloaded, "busy") };
        let Some(processing_response::Response::ImmediateResponse(answer)) = refused(&unrouted).response
        else {
            panic!("no answer");
        };
        assert_eq!(answer.status.unwrap().code, 429);
        let headers = answer.headers.unwrap().set_headers;
        let retry = headers.iter().filter_map(|h| h.header.as_ref()).find(|h| h.key == "retry-after");
        assert_eq!(retry.unwrap().raw_value, b"2");
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["error"]["code"], "rung_overloaded");
        assert_eq!(body["error"]["type"], "rate_limit_error");
    }
}
