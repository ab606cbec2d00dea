//! The files behind the door: what they are called, which state of them is in force, and how they are read again. A
//! task looks at them from time to time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;

use super::Access;

/// Something of the door that is read from files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// The server's certificate and the authorities of clients.
    Certificates,
    /// Who may call.
    Tokens,
}

impl Kept {
    const ALL: [Self; 2] = [Self::Certificates, Self::Tokens];

    /// What it is called by operators.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Certificates => "certificates",
            Self::Tokens => "tokens",
        }
    }

    /// Every file it is read from; none where it is not configured.
    pub(crate) fn files(self, access: &Access) -> Vec<PathBuf> {
        match self {
            Self::Certificates => access.certificate_files(),
            Self::Tokens => access.token_files(),
        }
    }

    /// Reads its files again and puts them in force.
    ///
    /// # Errors
    /// With everything that is wrong with them; what was in force stays.
    pub(crate) fn reload(self, access: &Access) -> Result<String, Vec<String>> {
        match self {
            Self::Certificates => access.reload_certificates(),
            Self::Tokens => access.reload_tokens(),
        }
    }
}

impl Access {
    /// Looks at the files until the task is aborted, and reads those again that have changed since the last look but
    /// one: what is still being written is left alone.
    pub(crate) fn watch(self: &Arc<Self>, every: Duration) -> JoinHandle<()> {
        let access = Arc::clone(self);
        let kept = |kept: Kept| {
            let stamps = stamps(&kept.files(&access));
            (kept, stamps.clone(), stamps)
        };
        let mut all: Vec<_> = Kept::ALL.into_iter().map(kept).collect();
        all.retain(|(_, _, stamps)| !stamps.is_empty());
        tokio::spawn(async move {
            while !all.is_empty() {
                tokio::time::sleep(every).await;
                for (kept, read, before) in &mut all {
                    let now = stamps(&kept.files(&access));
                    if now == *before && now != *read {
                        access.reload(*kept);
                        read.clone_from(&now);
                    }
                    *before = now;
                }
            }
        })
    }

    fn reload(&self, kept: Kept) {
        match kept.reload(self) {
            Ok(version) => tracing::info!(what = kept.name(), version, "read again and in force"),
            Err(problems) => {
                for problem in &problems {
                    tracing::error!(what = kept.name(), problem, "refused: what was in force stays");
                }
            }
        }
    }
}

/// What a change of files shows by.
fn stamps(files: &[PathBuf]) -> Vec<Option<(SystemTime, u64)>> {
    let stamp = |file: &Path| {
        let metadata = std::fs::metadata(file).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    files.iter().map(|file| stamp(file)).collect()
}
