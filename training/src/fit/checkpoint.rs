//! Where a fit can be taken up again: weights, optimiser state and position after each epoch.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::store::ModuleRecord;
use serde::{Deserialize, Serialize};

use super::error::FitError;

/// A folder that holds the newest checkpoint of a fit.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    folder: PathBuf,
}

/// Where a fit stood when it was saved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Position {
    /// Of rows, sizes and configuration: a checkpoint only fits the fit it came from.
    pub(crate) fingerprint: String,
    pub(crate) next_epoch: usize,
    pub(crate) best_epoch: usize,
    pub(crate) first_dev_loss: f64,
    pub(crate) best_dev_loss: f64,
}

impl Checkpoints {
    /// Uses a folder, which is made when the first checkpoint is written.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn error(&self, name: &str, reason: &dyn ToString) -> FitError {
        FitError::Checkpoint { file: self.file(name), reason: reason.to_string() }
    }

    /// Writes the state beside the old one, then swaps: a crash leaves the older checkpoint whole.
    pub(crate) fn save<M: Module + Clone>(
        &self,
        current: &M,
        best: &M,
        optimizer: &ModuleOptimizer,
        position: &Position,
    ) -> Result<(), FitError> {
        let slot = format!("epoch-{}", position.next_epoch);
        let folder = self.file(&slot);
        std::fs::create_dir_all(&folder).map_err(|e| self.error(&slot, &e))?;
        let save = |name: &str, record: ModuleRecord| {
            record.save(folder.join(name)).map_err(|e| self.error(name, &format!("{e:?}")))
        };
        save("current", current.clone().into_record())?;
        save("best", best.clone().into_record())?;
        optimizer.save(folder.join("optimizer")).map_err(|e| self.error("optimizer", &format!("{e:?}")))?;
        let text = serde_json::to_string_pretty(position).map_err(|e| self.error(&slot, &e))?;
        std::fs::write(folder.join("position.json"), text).map_err(|e| self.error(&slot, &e))?;
        std::fs::write(self.file("newest.tmp"), &slot).map_err(|e| self.error("newest", &e))?;
        std::fs::rename(self.file("newest.tmp"), self.file("newest"))
            .map_err(|e| self.error("newest", &e))?;
        self.remove_older_than(position.next_epoch)
    }

    fn remove_older_than(&self, epoch: usize) -> Result<(), FitError> {
        for older in (0..epoch).map(|e| self.file(&format!("epoch-{e}"))).filter(|p| p.exists()) {
            std::fs::remove_dir_all(&older).map_err(|e| self.error("epoch", &e))?;
        }
        Ok(())
    }

    /// The newest checkpoint, or `None` when the folder holds none.
    pub(crate) fn load<M: Module + Clone>(
        &self,
        fresh: M,
        optimizer: ModuleOptimizer,
    ) -> Result<Option<(M, M, ModuleOptimizer, Position)>, FitError> {
        let Ok(slot) = std::fs::read_to_string(self.file("newest")) else { return Ok(None) };
        let folder = self.file(slot.trim());
        let text =
            std::fs::read_to_string(folder.join("position.json")).map_err(|e| self.error(&slot, &e))?;
        let position = serde_json::from_str(&text).map_err(|e| self.error("position.json", &e))?;
        let load = |name: &str| {
            ModuleRecord::load(folder.join(name)).map_err(|e| self.error(name, &format!("{e:?}")))
        };
        let current = fresh.clone().load_record(load("current")?);
        let best = fresh.load_record(load("best")?);
        let optimizer = optimizer
            .load(folder.join("optimizer"))
            .map_err(|e| self.error("optimizer", &format!("{e:?}")))?;
        Ok(Some((current, best, optimizer, position)))
    }

    /// Removes the folder: the fit is done.
    pub(crate) fn clear(&self) -> Result<(), FitError> {
        if self.folder.exists() {
            std::fs::remove_dir_all(&self.folder).map_err(|e| self.error("", &e))?;
        }
        Ok(())
    }
}
