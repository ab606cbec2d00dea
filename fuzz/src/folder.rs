//! Folders of artifacts in the making: a small whole one with one file replaced, and its hashes put right again, so
//! that what lies behind them is reached.

use std::path::Path;

use sha2::{Digest, Sha256};

/// The files of a folder, by name.
pub(crate) type Files = Vec<(&'static str, Vec<u8>)>;

/// The hash that manifests list.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// A manifest as it is written.
pub(crate) fn json(manifest: &impl serde::Serialize) -> Option<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(manifest).ok()?;
    bytes.push(b'\n');
    Some(bytes)
}

/// Writes the files of a folder.
pub(crate) fn write(folder: &Path, files: &Files) -> Option<()> {
    files.iter().try_for_each(|(name, bytes)| std::fs::write(folder.join(name), bytes).ok())
}

/// Puts a file in the place of that of its name.
pub(crate) fn replace(files: &mut Files, name: &str, bytes: &[u8]) {
    if let Some((_, old)) = files.iter_mut().find(|(known, _)| *known == name) {
        *old = bytes.to_vec();
    }
}
