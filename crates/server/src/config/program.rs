//! The policy, the catalogue of intents and the prices: where their files are, and how often they are looked at.

use std::path::PathBuf;
use std::time::Duration;

use super::{ConfigError, Settings};

/// Where the policy's files are.
#[derive(Debug, Clone, Default)]
pub struct ProgramConfig {
    /// The policy.
    pub policy: Option<PathBuf>,
    /// The catalogue of intents; JSONL where its name ends so, otherwise TOML.
    pub catalogue: Option<PathBuf>,
    /// The prices of calls.
    pub prices: Option<PathBuf>,
    /// How often the files are looked at.
    pub reload: Duration,
}

impl ProgramConfig {
    pub(super) fn of(settings: &Settings) -> Result<Self, ConfigError> {
        let embedding = settings.catalogue_embedding.as_deref();
        if let Some(found) = embedding.filter(|embedding| *embedding != "static") {
            let expected = match found {
                "encoder" => {
                    "static: a server matches without an encoder; programs that link semantic::Matcher::with_encoder may \
                     bring one"
                }
                _ => "static",
            };
            return Err(ConfigError::Value { key: "catalogue_embedding", expected, found: found.to_owned() });
        }
        let reload_ms = settings.reload_ms.unwrap_or(1_000);
        if reload_ms == 0 {
            let found = reload_ms.to_string();
            return Err(ConfigError::Value { key: "reload_ms", expected: "at least 1", found });
        }
        Ok(Self {
            policy: settings.policy.clone(),
            catalogue: settings.catalogue.clone(),
            prices: settings.prices.clone(),
            reload: Duration::from_millis(reload_ms),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_cannot_do_is_refused_by_name() {
        let with = |embedding: &str| Settings {
            catalogue_embedding: Some(embedding.to_owned()),
            ..Settings::default()
        };
        assert!(with("static").build().is_ok());
        let refused = with("encoder").build().unwrap_err().to_string();
        assert!(refused.starts_with("catalogue_embedding: expected static: a server"), "{refused}");
        assert!(with("words").build().is_err());
        let never = Settings { reload_ms: Some(0), ..Settings::default() }.build().unwrap_err();
        assert_eq!(never.to_string(), "reload_ms: expected at least 1, found 0");
    }
}
