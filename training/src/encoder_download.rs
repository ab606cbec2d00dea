//! An encoder's checkpoint from a server: whole, pinned, or not at all. Only `training fetch-encoder` comes here.

use std::env;
use std::io::{self, Read};

use encoder::EncoderFiles;
use indicatif::{ProgressBar, ProgressStyle};
use outbound::{Patience, agent, is_passing};
use ureq::{Agent, Error};

use crate::encoder_source::{FILES, MOST_BYTES, Pins, SourceError};

/// Where hub folders are unless `HF_ENDPOINT` names a mirror.
const HUB: &str = "https://huggingface.co";

/// Bytes that config.json and tokenizer.json may have: the largest published ones have a tenth.
const MOST_BYTES_OF_TEXT: u64 = 256 << 20;

/// sha256 of model.safetensors, by the encoder's name on the hub.
const KNOWN: [(&str, &str); 1] = [(
    "sentence-transformers/all-MiniLM-L6-v2",
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)];

/// A checkpoint on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// A folder of files, or an archive.
    url: String,
    is_archive: bool,
    /// The sha256 of its weights, where it is an encoder whose weights are known.
    known: Option<&'static str>,
}

impl Remote {
    /// Reads `http://` and `https://` addresses of a folder, or of an archive where they end in .zip or .whl, and
    /// `hf:OWNER/NAME@REVISION`, a folder of the hub; `None` for anything else, which is a path.
    ///
    /// # Errors
    /// [`SourceError::Address`] when it begins like one of these and goes on otherwise.
    pub fn parse(text: &str) -> Result<Option<Self>, SourceError> {
        let hub = env::var("HF_ENDPOINT").unwrap_or_else(|_| HUB.to_owned());
        Self::parse_with(text, &hub)
    }

    fn parse_with(text: &str, hub: &str) -> Result<Option<Self>, SourceError> {
        if let Some(name) = text.strip_prefix("hf:") {
            let plain = |part: &str| !part.is_empty() && !part.contains(['/', '@', '?', '#', ' ']);
            let parts = name.split_once('@').and_then(|(repository, revision)| {
                let (owner, model) = repository.split_once('/')?;
                (plain(owner) && plain(model) && plain(revision)).then_some((repository, revision))
            });
            let Some((repository, revision)) = parts else {
                return Err(SourceError::Address(text.to_owned()));
            };
            let url = format!("{}/{repository}/resolve/{revision}", hub.trim_end_matches('/'));
            let known = KNOWN.iter().find(|(name, _)| *name == repository).map(|(_, sha256)| *sha256);
            return Ok(Some(Self { url, is_archive: false, known }));
        }
        let Some((scheme, host)) = text.split_once("://") else { return Ok(None) };
        if !matches!(scheme, "http" | "https") || host.is_empty() || host.starts_with('/') {
            return Err(SourceError::Address(text.to_owned()));
        }
        let url = text.trim_end_matches('/').to_owned();
        let is_archive = url.ends_with(".zip") || url.ends_with(".whl");
        Ok(Some(Self { url, is_archive, known: None }))
    }

    /// Downloads the checkpoint. `pins.weights` is required unless the encoder is a known one.
    ///
    /// # Errors
    /// When nothing pins the weights: nothing is asked for then. When a file cannot be had whole, is too large or
    /// has another sha256 than its pin; the address and the file are named.
    pub fn read(&self, pins: &Pins, patience: &Patience) -> Result<EncoderFiles, SourceError> {
        let mut pins = pins.clone();
        pins.weights = pins.weights.or(self.known.map(str::to_owned));
        if pins.weights.is_none() {
            return Err(SourceError::NotPinned(self.url.clone()));
        }
        let agent = agent(patience);
        let get = |url: &str, most| download(&agent, url, most, patience);
        let files = if self.is_archive {
            crate::encoder_source::unpack(&self.url, io::Cursor::new(get(&self.url, MOST_BYTES)?))?
        } else {
            let [config, tokenizer, weights] = FILES.map(|name| format!("{}/{name}", self.url));
            // The weights last: what is small fails first.
            EncoderFiles {
                config: get(&config, MOST_BYTES_OF_TEXT)?,
                tokenizer: get(&tokenizer, MOST_BYTES_OF_TEXT)?,
                weights: get(&weights, MOST_BYTES)?,
            }
        };
        pins.check(&self.url, &files)?;
        Ok(files)
    }
}

/// A file, in as many attempts as it takes.
fn download(agent: &Agent, url: &str, most: u64, patience: &Patience) -> Result<Vec<u8>, SourceError> {
    let is_passing = |failure: &Failure| matches!(failure, Failure::Passing(_));
    patience.attempts(is_passing, || attempt(agent, url, most)).map_err(|failure| failure.of(url))
}

/// Why an attempt failed.
enum Failure {
    /// Another may succeed.
    Passing(String),
    /// No other will.
    Final(String),
}

impl Failure {
    fn of(self, url: &str) -> SourceError {
        let (Self::Passing(reason) | Self::Final(reason)) = self;
        SourceError::Download { url: url.to_owned(), reason }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let reason = error.to_string();
        if is_passing(&error) { Self::Passing(reason) } else { Self::Final(reason) }
    }
}

fn attempt(agent: &Agent, url: &str, most: u64) -> Result<Vec<u8>, Failure> {
    let mut response = agent.get(url).call()?;
    let length = response.body().content_length();
    let too_large = || Failure::Final(format!("larger than {most} bytes"));
    if length.is_some_and(|length| length > most) {
        return Err(too_large());
    }
    let bar = progress(url, length);
    let body = response.body_mut().with_config().limit(u64::MAX).reader();
    let mut bytes = Vec::new();
    let read = bar.wrap_read(body).take(most.saturating_add(1)).read_to_end(&mut bytes);
    bar.finish_and_clear();
    let short = |found: usize, of: u64| Failure::Passing(format!("ended after {found} of {of} bytes"));
    match (read, length) {
        (Ok(_), _) if bytes.len() as u64 > most => Err(too_large()),
        (Ok(_), Some(length)) if bytes.len() as u64 != length => Err(short(bytes.len(), length)),
        (Ok(_), _) => Ok(bytes),
        (Err(e), Some(length)) if e.kind() == io::ErrorKind::UnexpectedEof => Err(short(bytes.len(), length)),
        (Err(e), _) => Err(Failure::Passing(format!("after {} bytes: {e}", bytes.len()))),
    }
}

/// Bytes so far, on a terminal.
fn progress(url: &str, length: Option<u64>) -> ProgressBar {
    let bar = length.map_or_else(ProgressBar::no_length, ProgressBar::new);
    let name = url.rsplit('/').next().unwrap_or(url).to_owned();
    let style = ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes}, {bytes_per_sec}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.with_message(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_paths() {
        let parse = |text: &str| Remote::parse_with(text, "https://mirror.example/");
        let minilm = parse("hf:sentence-transformers/all-MiniLM-L6-v2@abc123").unwrap().unwrap();
        assert_eq!(
            minilm.url,
            "https://mirror.example/sentence-transformers/all-MiniLM-L6-v2/resolve/abc123"
        );
        assert!(minilm.known.is_some() && !minilm.is_archive);
        assert_eq!(parse("hf:someone/else@main").unwrap().unwrap().known, None);
        let wheel = parse("https://host/a/b.whl").unwrap().unwrap();
        assert!(wheel.is_archive);
        assert_eq!(parse("http://host/folder/").unwrap().unwrap().url, "http://host/folder");
        for path in ["encoder", "/a/b.whl", "C:\\encoder", "./hf"] {
            assert_eq!(parse(path).unwrap(), None, "{path}");
        }
        for wrong in ["hf:", "hf:name@main", "hf:a/b", "hf:a/b@", "hf:a/b/c@d", "ftp://host/x", "https://"] {
            assert!(matches!(parse(wrong), Err(SourceError::Address(_))), "{wrong}");
        }
    }

    #[test]
    fn nothing_is_asked_for_unpinned() {
        let remote = Remote::parse("http://127.0.0.1:1/folder").unwrap().unwrap();
        let refused = remote.read(&Pins::default(), &Patience::default()).unwrap_err();
        assert!(matches!(refused, SourceError::NotPinned(_)));
        assert!(refused.to_string().contains("--sha256"), "{refused}");
    }
}
