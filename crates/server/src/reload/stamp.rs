//! What files are told apart by without being read: looked at again and again, on every kind of file system.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

/// The state of some files, and of what else they are held against. Links are followed: an exchanged link, such as
/// `..data` of a Kubernetes volume, is other files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Stamp {
    /// None where there is no such file.
    files: Vec<Option<File>>,
    beside: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    modified: Option<SystemTime>,
    len: u64,
    /// File system and number on it: another file under the same name.
    identity: (u64, u64),
}

impl Stamp {
    /// Of these files now.
    pub(crate) fn of(files: impl IntoIterator<Item = impl AsRef<Path>>) -> Self {
        let file = |file: &Path| {
            let metadata = std::fs::metadata(file).ok()?;
            let identity = (metadata.dev(), metadata.ino());
            Some(File { modified: metadata.modified().ok(), len: metadata.len(), identity })
        };
        Self { files: files.into_iter().map(|path| file(path.as_ref())).collect(), beside: Vec::new() }
    }

    /// Together with something else that matters to them.
    pub(crate) fn with(mut self, beside: &str) -> Self {
        self.beside.push(beside.to_owned());
        self
    }
}
