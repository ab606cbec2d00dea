//! Looks at the files of the policy from time to time, and reads them again when they have changed.

use std::sync::{Arc, PoisonError};

use tokio::task::JoinHandle;

use super::Programs;
use super::load::Stamps;
use crate::rollout::Rollouts;

impl Programs {
    /// Watches until the task is aborted. An artifact that takes over is a change too: the policy may name what it does
    /// not have.
    pub(crate) fn watch(self: &Arc<Self>, rollouts: Arc<Rollouts>) -> JoinHandle<()> {
        let programs = Arc::clone(self);
        tokio::spawn(async move {
            if programs.config.policy.is_none() && programs.config.catalogue.is_none() {
                return;
            }
            let mut before = programs.read_from();
            loop {
                tokio::time::sleep(programs.config.reload).await;
                let (programs, info) = (Arc::clone(&programs), rollouts.info());
                let last = before.clone();
                // Files are read and a catalogue is fitted: not on the threads that answer.
                let look = tokio::task::spawn_blocking(move || {
                    let now = Stamps::of(&programs.config, &info);
                    // What is still being written changes from look to look.
                    if now == last && now != programs.read_from() {
                        programs.reload(&info, now.clone());
                    }
                    now
                });
                match look.await {
                    Ok(now) => before = now,
                    Err(error) => tracing::error!(%error, "reading the policy again was interrupted"),
                }
            }
        })
    }

    fn read_from(&self) -> Stamps {
        self.read_from.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
