//! What the headers of an HTTP request say about its decision, and which of them go no further.

use std::collections::HashMap;
use std::time::Duration;

use api::v1::route_request::At;

use crate::reason::{Reason, Unrouted};
use crate::wire::{HeaderValue, HttpHeaders};

/// Header names.
pub mod names {
    /// Every header of Rung's begins so; what a caller sends under such a name never reaches an upstream.
    pub const PREFIX: &str = "x-rung-";
    /// In: a label, `x-rung-label-KEY: VALUE`.
    pub const LABEL_PREFIX: &str = "x-rung-label-";
    /// In: the operating point.
    pub const OPERATING_POINT: &str = "x-rung-operating-point";
    /// In: the threshold.
    pub const THRESHOLD: &str = "x-rung-threshold";
    /// In: milliseconds that the decision may take.
    pub const DEADLINE_MS: &str = "x-rung-deadline-ms";
    /// In: the id of the request, which Envoy makes.
    pub const REQUEST_ID: &str = "x-request-id";
    /// Out: the model to call; what routes match.
    pub const MODEL: &str = "x-rung-model";
    /// Out: the id of the decision, for outcomes.
    pub const DECISION_ID: &str = "x-rung-decision-id";
    /// Out: weak or strong.
    pub const TIER: &str = "x-rung-tier";
    /// Out: calibrated odds that the strong model's answer is strictly better.
    pub const WIN_PROBABILITY: &str = "x-rung-win-probability";
    /// Out: why there is no decision, on a request that passes all the same.
    pub const FALLBACK: &str = "x-rung-fallback";
    /// Out, on an answer to the caller: why the request was refused.
    pub const REFUSED: &str = "x-rung-refused";
    /// What an upstream may see of Rung.
    pub const OUT: [&str; 5] = [MODEL, DECISION_ID, TIER, WIN_PROBABILITY, FALLBACK];
}

/// What the headers ask for.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Head {
    pub(crate) labels: HashMap<String, String>,
    pub(crate) at: Option<At>,
    pub(crate) request_id: String,
    pub(crate) deadline: Option<Duration>,
    /// The body is compressed.
    pub(crate) encoded: bool,
    /// The caller told the length of the body.
    pub(crate) has_length: bool,
}

impl Head {
    /// # Errors
    /// When a header of Rung's does not hold what it should, or comes twice: the next reader might take the other one.
    pub(crate) fn read(headers: &HttpHeaders) -> Result<Self, Unrouted> {
        let mut head = Self::default();
        for header in headers.headers.iter().flat_map(|map| &map.headers) {
            let name = header.key.to_ascii_lowercase();
            if name == "content-length" {
                head.has_length = true;
            } else if name == "content-encoding" {
                head.encoded |= !value(header)?.trim().eq_ignore_ascii_case("identity");
            } else if name == names::REQUEST_ID {
                // The id is Envoy's to vouch for; one that is no text is no id.
                head.request_id = value(header).map(str::to_owned).unwrap_or_default();
            } else if let Some(key) = name.strip_prefix(names::LABEL_PREFIX) {
                if head.labels.insert(key.to_owned(), value(header)?.to_owned()).is_some() {
                    return Err(invalid(&name, "given once"));
                }
            } else if name == names::OPERATING_POINT {
                let point = At::OperatingPoint(value(header)?.to_owned());
                only(&mut head.at, point, "one of operating point and threshold, once")?;
            } else if name == names::THRESHOLD {
                let threshold = value(header)?.trim().parse();
                let threshold = threshold.map_err(|_| invalid(&name, "a number in [0, 1]"))?;
                only(&mut head.at, At::Threshold(threshold), "one of operating point and threshold, once")?;
            } else if name == names::DEADLINE_MS {
                let milliseconds = value(header)?.trim().parse();
                let milliseconds = milliseconds.map_err(|_| invalid(&name, "whole milliseconds"))?;
                only(&mut head.deadline, Duration::from_millis(milliseconds), "given once")?;
            }
        }
        Ok(head)
    }
}

/// What is taken off a request before anybody else reads it: every name that Rung answers with, whether or not it was
/// shown to us, and whatever else carries the prefix.
pub(crate) fn stripped(headers: &HttpHeaders) -> Vec<String> {
    let sent =
        headers.headers.iter().flat_map(|map| &map.headers).map(|header| header.key.to_ascii_lowercase());
    let sent = sent.filter(|name| name.starts_with(names::PREFIX));
    let mut stripped: Vec<String> = names::OUT.map(str::to_owned).into_iter().chain(sent).collect();
    stripped.sort_unstable();
    stripped.dedup();
    stripped
}

/// Envoy sends either field.
fn value(header: &HeaderValue) -> Result<&str, Unrouted> {
    if header.raw_value.is_empty() {
        return Ok(&header.value);
    }
    std::str::from_utf8(&header.raw_value).map_err(|_| invalid(&header.key, "text in UTF-8"))
}

fn only<T>(place: &mut Option<T>, value: T, expected: &str) -> Result<(), Unrouted> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Unrouted::new(Reason::Invalid, format!("headers: expected {expected}"))),
    }
}

fn invalid(name: &str, expected: &str) -> Unrouted {
    Unrouted::new(Reason::Invalid, format!("header {name}: expected {expected}"))
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::core::v3::HeaderMap;

    use super::*;

    fn headers(given: &[(&str, &str)]) -> HttpHeaders {
        let header = |(key, value): &(&str, &str)| HeaderValue {
            key: (*key).to_owned(),
            raw_value: value.as_bytes().to_vec(),
            ..HeaderValue::default()
        };
        let headers = Some(HeaderMap { headers: given.iter().map(header).collect() });
        HttpHeaders { headers, ..HttpHeaders::default() }
    }

    #[test]
    fn headers_become_fields() {
        let given = [
            ("X-Rung-Label-Tenant", "acme"),
            ("x-rung-label-priority", "high"),
            ("x-rung-threshold", " 0.4"),
            ("x-request-id", "r-1"),
            ("x-rung-deadline-ms", "20"),
            ("content-encoding", "identity"),
        ];
        let head = Head::read(&headers(&given)).unwrap();
        assert_eq!(head.labels.len(), 2);
        assert_eq!(head.labels["tenant"], "acme");
        assert_eq!(head.at, Some(At::Threshold(0.4)));
        assert_eq!((head.request_id.as_str(), head.encoded), ("r-1", false));
        assert_eq!(head.deadline, Some(Duration::from_millis(20)));
        assert!(Head::read(&headers(&[("content-encoding", "gzip")])).unwrap().encoded);
    }

    #[test]
    fn what_is_ambiguous_or_wrong_is_refused() {
        let bad: [&[(&str, &str)]; 6] = [
            &[("x-rung-threshold", "half")],
            &[("x-rung-threshold", "0.5"), ("x-rung-operating-point", "default")],
            &[("x-rung-operating-point", "a"), ("x-rung-operating-point", "b")],
            &[("x-rung-label-tenant", "a"), ("X-RUNG-LABEL-TENANT", "b")],
            &[("x-rung-deadline-ms", "-1")],
            &[("x-rung-deadline-ms", "1"), ("x-rung-deadline-ms", "2")],
        ];
        for given in bad {
            let refused = Head::read(&headers(given)).unwrap_err();
            assert_eq!(refused.reason, Reason::Invalid, "{given:?}");
            assert!(refused.message.contains("expected"), "{refused}");
        }
        let raw_value = vec![0xff, 0xfe];
        let mut broken = headers(&[("x-rung-label-tenant", "")]);
        broken.headers.as_mut().unwrap().headers[0].raw_value = raw_value;
        assert_eq!(Head::read(&broken).unwrap_err().reason, Reason::Invalid);
    }

    #[test]
    fn everything_that_looks_like_rung_is_stripped() {
        let given = [("X-Rung-Model", "cheap"), ("x-rung-else", "1"), ("authorization", "Bearer k")];
        let stripped = stripped(&headers(&given));
        for name in names::OUT.iter().chain(&["x-rung-else"]) {
            assert!(stripped.iter().any(|s| s == name), "{name}");
        }
        assert_eq!(stripped.len(), names::OUT.len() + 1);
    }
}
