//! The policy in force with its catalogue and its budget: loaded and checked as a whole, exchanged as a whole. A
//! request keeps what it began with. The way of one query through it is in `walk`.

mod load;
mod purse;
mod walk;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::v1;
use arc_swap::ArcSwap;
use router::ArtifactInfo;
use strategy::Program;
use types::ModelName;
use uuid::Uuid;

use crate::cascade::Chains;
use crate::config::{Config, ConfigError, ProgramConfig};
use crate::intents::Intents;
use crate::record::now_us;

use purse::Purse;
pub(crate) use walk::{Paid, Told, Walk};

/// What is in force, and what was refused since.
#[derive(Debug)]
pub(crate) struct Programs {
    config: ProgramConfig,
    /// Models that are served under their names though the artifact may not know them.
    served: BTreeSet<ModelName>,
    current: ArcSwap<Version>,
    /// Why the newest state of the files is not in force; empty where it is.
    refused: ArcSwap<Vec<String>>,
    /// What the version in force, or the refused one, was read from.
    read_from: Mutex<load::Stamps>,
}

/// A state of the files that was found whole.
#[derive(Debug, Clone, Default)]
pub(crate) struct Version {
    pub(crate) governing: Option<Arc<Governing>>,
    pub(crate) intents: Option<Arc<Intents>>,
    /// What cascades begin with; the same in every version.
    pub(crate) chains: Option<Arc<Chains>>,
    /// What a call is expected to cost, US dollars, by model; empty without prices.
    pub(crate) costs_usd: Arc<BTreeMap<ModelName, f64>>,
}

/// A policy with what it needs to govern.
#[derive(Debug)]
pub(crate) struct Governing {
    pub(crate) program: Program,
    /// Hash prefix of its text.
    pub(crate) version: String,
    /// Where it has a budget.
    purse: Option<Arc<Mutex<Purse>>>,
    /// What a call is expected to cost, US dollars, by model.
    costs_usd: BTreeMap<ModelName, f64>,
    warnings: Vec<String>,
}

impl Programs {
    /// Reads the files that are configured and holds them against an artifact.
    ///
    /// # Errors
    /// With everything that is wrong with them, each with its file, line and key.
    pub(crate) fn load(
        config: &Config,
        info: &ArtifactInfo,
        chains: Option<Arc<Chains>>,
    ) -> Result<Self, ConfigError> {
        let served = config.backends.keys().cloned().collect();
        let files = config.program.clone();
        let stamps = load::Stamps::of(&files, info);
        let before = Version { chains, ..Version::default() };
        let version = load::version(&files, &served, info, &before).map_err(ConfigError::Refused)?;
        version.tell();
        Ok(Self {
            config: files,
            served,
            current: ArcSwap::from_pointee(version),
            refused: ArcSwap::default(),
            read_from: Mutex::new(stamps),
        })
    }

    /// The cascades, where there are any.
    pub(crate) fn chains(&self) -> Option<Arc<Chains>> {
        self.current.load().chains.clone()
    }

    /// What is in force.
    pub(crate) fn current(&self) -> Arc<Version> {
        self.current.load_full()
    }

    /// Why the newest state of the files is not in force; empty where it is.
    pub(crate) fn refused(&self) -> Vec<String> {
        self.refused.load().as_ref().clone()
    }

    /// The catalogue's file, as configured.
    pub(crate) fn catalogue_file(&self) -> String {
        self.config.catalogue.as_ref().map(|file| file.display().to_string()).unwrap_or_default()
    }

    /// Reads the files again beside what is in force and puts them in its place, or says what is wrong and does not.
    fn reload(&self, info: &ArtifactInfo, stamps: load::Stamps) {
        match load::version(&self.config, &self.served, info, &self.current.load()) {
            Ok(version) => {
                version.tell();
                self.current.store(Arc::new(version));
                self.refused.store(Arc::default());
                tracing::info!("policy, catalogue and prices were read again and are in force");
            }
            Err(problems) => {
                for problem in &problems {
                    tracing::error!(problem, "refused: what was in force stays");
                }
                self.refused.store(Arc::new(problems));
            }
        }
        *self.read_from.lock().unwrap_or_else(PoisonError::into_inner) = stamps;
    }

    /// Tells the budget what the call of a decision did cost, US dollars.
    pub(crate) fn charge(&self, decision_id: Uuid, cost_usd: f64) {
        let version = self.current.load();
        if let Some(mut purse) = version.governing.as_ref().and_then(|governing| governing.purse()) {
            purse.charge(decision_id, cost_usd);
        }
    }

    /// What `GetInfo` says of the policy.
    pub(crate) fn to_wire(&self) -> Option<v1::Policy> {
        let version = self.current();
        let governing = version.governing.as_ref()?;
        let program = &governing.program;
        let strategies = program.strategies().map(|(name, kind, leaf)| v1::Strategy {
            name: name.to_owned(),
            kind: kind.as_str().to_owned(),
            runs: leaf.map(|leaf| leaf.to_string()).unwrap_or_default(),
        });
        let over = program.expired(unsigned(now_us())).into_iter().map(|problem| problem.to_string());
        Some(v1::Policy {
            file: program.file().to_owned(),
            version: governing.version.clone(),
            strategies: strategies.collect(),
            warnings: governing.warnings.iter().cloned().chain(over).collect(),
            refused: self.refused(),
            budget: governing.budget_to_wire(),
        })
    }
}

impl Version {
    /// Says in the log what its authors should know.
    fn tell(&self) {
        if let Some(governing) = &self.governing {
            let (file, version) = (governing.program.file(), governing.version.as_str());
            tracing::info!(file, version, "policy");
            for warning in &governing.warnings {
                tracing::warn!(warning, "policy");
            }
            for over in governing.program.expired(unsigned(now_us())) {
                tracing::warn!(warning = %over, "policy");
            }
        }
        if let Some(intents) = &self.intents {
            let (version, exemplars) =
                (intents.matcher().version(), intents.matcher().catalogue().exemplar_count());
            tracing::info!(version, exemplars, "catalogue");
            for finding in intents.findings() {
                tracing::warn!(finding, "catalogue");
            }
        }
    }
}

impl Governing {
    fn purse(&self) -> Option<MutexGuard<'_, Purse>> {
        Some(self.purse.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn budget_to_wire(&self) -> Option<v1::Budget> {
        let standing = self.purse()?.standing(unsigned(now_us()));
        Some(v1::Budget {
            cost_usd_today: standing.cost_usd_today,
            cost_usd_per_day: standing.cost_usd_per_day,
            strong_calls_last_minute: standing.strong_calls_last_minute,
            strong_calls_per_minute: standing.strong_calls_per_minute,
            refused_for_cost: standing.refused_for_cost,
            refused_for_strong_calls: standing.refused_for_strong_calls,
        })
    }
}

/// A time as the policy counts it; one before 1970 is 1970.
fn unsigned(time_us: i64) -> u64 {
    u64::try_from(time_us).unwrap_or(0)
}
