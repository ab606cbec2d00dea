//! The artifact's folder as something that can be read again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Reloadable, Stamp};
use crate::program::Programs;
use crate::rollout::Rollouts;

/// Digits of a manifest's hash in a version.
const MANIFEST_CHARS: usize = 8;

/// The folder of the configuration. Whatever a rollout has put in charge, a change of this folder takes over.
#[derive(Debug)]
pub(crate) struct ArtifactFolder {
    pub(crate) folder: PathBuf,
    pub(crate) rollouts: Arc<Rollouts>,
    pub(crate) programs: Arc<Programs>,
}

/// The stamp of an artifact: its manifest holds the hashes of everything else.
pub(crate) fn artifact_stamp(folder: &Path) -> Stamp {
    Stamp::of([folder.join("manifest.json")])
}

impl Reloadable for ArtifactFolder {
    fn name(&self) -> &'static str {
        "artifact"
    }

    fn version(&self) -> String {
        let router = self.rollouts.incumbent();
        let (version, manifest) = (&router.info().version, &router.info().manifest_sha256);
        format!("{version}/{}", manifest.get(..MANIFEST_CHARS).unwrap_or(manifest))
    }

    fn stamp(&self) -> Stamp {
        artifact_stamp(&self.folder)
    }

    fn reload(&self) -> Result<String, Vec<String>> {
        let new = self.rollouts.replace_artifact(&self.folder, |router, now| {
            self.programs.beside(router.info(), &now.program).map_err(|problems| {
                let (folder, version) = (self.folder.display(), &router.info().version);
                let first = format!("{folder}: the policy does not hold beside artifact {version}");
                std::iter::once(first).chain(problems).collect()
            })
        })?;
        // The policy was read again with it, and found whole.
        if new {
            self.programs.accepted();
        }
        Ok(self.version())
    }
}
