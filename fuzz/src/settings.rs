//! The server's settings file: what is built of it is within its bounds, and a refusal names file or key.

use std::path::Path;
use std::time::Duration;

use server::config::{ConfigError, Settings};

/// Reads the bytes as a settings file and builds it.
pub fn decode(bytes: &[u8]) {
    let Ok(folder) = tempfile::tempdir() else { return };
    let file = folder.path().join("rung.toml");
    if std::fs::write(&file, bytes).is_err() {
        return;
    }
    match Settings::from_file(&file) {
        Ok(settings) => built(settings),
        Err(error) => is_told(&error, &file),
    }
}

fn is_told(error: &ConfigError, file: &Path) {
    let text = error.to_string();
    let reason = text.strip_prefix(&file.display().to_string());
    assert!(reason.is_some_and(|reason| reason.len() > 2), "{text}");
}

fn built(settings: Settings) {
    let flags = Settings::default();
    let over = format!("{:?}", flags.over(settings.clone()));
    assert_eq!(over, format!("{settings:?}"), "flags that are not set change nothing");
    match settings.build() {
        Ok(config) => {
            assert!(config.decision_slots > 0 && config.max_batch > 0 && config.max_request_bytes >= 1 << 10);
            assert!(config.deep.workers > 0 && config.deep.queue > 0 && config.deep.max_batch > 0);
            assert!(config.token_ttl > Duration::ZERO && config.token_ttl <= Duration::from_secs(86_400));
            assert!(config.program.reload > Duration::ZERO);
        }
        Err(error) => {
            let text = error.to_string();
            assert!(
                text.split_once(": ").is_some_and(|(key, expected)| !key.is_empty() && !expected.is_empty()),
                "{text}"
            );
        }
    }
}
