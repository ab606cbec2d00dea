//! What answers under a model's name: the same weights behind another engine, version or precision are
//! another model as far as probabilities are concerned.

use std::fmt;

/// The identity of the backend behind a model.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BackendIdentity {
    /// Engine or vendor, such as `vllm`.
    pub name: String,
    /// Its version, or the vendor's model snapshot.
    pub version: String,
    /// Precision of the weights, such as `bf16` or `fp8`.
    pub precision: String,
}

impl BackendIdentity {
    /// Reads `name/version/precision`; `None` unless there are three parts, none of them empty.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/').map(str::trim).filter(|part| !part.is_empty());
        let (name, version, precision) = (parts.next()?, parts.next()?, parts.next()?);
        let whole = parts.next().is_none() && text.matches('/').count() == 2;
        whole.then(|| Self {
            name: name.to_owned(),
            version: version.to_owned(),
            precision: precision.to_owned(),
        })
    }
}

impl fmt::Display for BackendIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.name, self.version, self.precision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_has_three_parts() {
        let vllm = BackendIdentity::parse("vllm/0.11.2/fp8").unwrap();
        assert_eq!((vllm.precision.as_str(), vllm.to_string().as_str()), ("fp8", "vllm/0.11.2/fp8"));
        for bad in ["", "vllm", "vllm/0.11", "vllm//fp8", "a/b/c/d", "/a/b/c"] {
            assert_eq!(BackendIdentity::parse(bad), None, "{bad}");
        }
    }
}
