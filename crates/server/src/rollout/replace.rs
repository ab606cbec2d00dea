//! Exchanging what decides outside a rollout: an artifact or a policy whose files have changed. What was in force goes once
//! the last request that began with it has ended.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use router::Router;
use tokio::runtime::Handle;

use super::{Deployment, Rollouts};
use crate::behind;
use crate::program::Version;

/// How often it is looked whether the last request has ended.
const LOOK: Duration = Duration::from_millis(20);

impl Rollouts {
    /// Puts a policy in force that `read` makes from what is in force now. Blocks.
    pub(crate) fn replace_program(
        &self,
        read: impl FnOnce(&Deployment) -> Result<Version, Vec<String>>,
    ) -> Result<Arc<Version>, Vec<String>> {
        let _one = self.changing.blocking_lock();
        let program = Arc::new(read(&self.now())?);
        let put = Arc::clone(&program);
        self.change(|now| Deployment { program: put, ..now });
        Ok(program)
    }

    /// Loads an artifact beside the one in charge, holds the policy against it (`read`), and puts both in force as one. While
    /// a candidate is introduced nothing is exchanged: what the candidate is compared with would be gone. Whether there was
    /// anything new. Blocks.
    pub(crate) fn replace_artifact(
        &self,
        folder: &Path,
        read: impl FnOnce(&Router, &Deployment) -> Result<Version, Vec<String>>,
    ) -> Result<bool, Vec<String>> {
        let _one = self.changing.blocking_lock();
        let now = self.now();
        if let Some(candidate) = &now.candidate {
            let version = &candidate.router.info().version;
            return Err(vec![format!("{version} is being introduced: promote it or roll it back first")]);
        }
        let router = Router::load(folder, &self.options).map_err(|error| vec![error.to_string()])?;
        if router.info().manifest_sha256 == now.incumbent.info().manifest_sha256 {
            return Ok(false);
        }
        let program = Arc::new(read(&router, &now)?);
        let router = Arc::new(router);
        for warning in &router.info().warnings {
            tracing::warn!(warning);
        }
        self.change(|_| Deployment { incumbent: router, program, candidate: None, ended: None });
        let runtime = Handle::current();
        runtime.spawn(retired(Arc::clone(&now.incumbent)));
        drop(now);
        let standing = api::v1::Rollout { reason: "its files have changed".to_owned(), ..self.standing() };
        runtime.block_on(self.write("RELOADED", &standing));
        Ok(true)
    }
}

/// Waits for the last request of an artifact and gives its memory back where no request waits for that.
async fn retired(router: Arc<Router>) {
    while Arc::strong_count(&router) > 1 {
        tokio::time::sleep(LOOK).await;
    }
    let version = router.info().version.clone();
    behind::callers(move || drop(router)).await;
    tracing::info!(version, "the artifact before has answered its last request");
}
