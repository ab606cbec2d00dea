//! The policy in force with its catalogue, its prices and its budget: loaded and checked as a whole, exchanged as a
//! whole. A request keeps what it began with. The way of one query through it is in `walk`; that it decides together
//! with an artifact is in `rollout`.

mod load;
mod purse;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::v1;
use arc_swap::ArcSwap;
use economics::Prices;
use router::ArtifactInfo;
use strategy::Program;
use types::ModelName;
use uuid::Uuid;

use crate::cascade::Chains;
use crate::config::{Config, ConfigError, ProgramConfig};
use crate::intents::Intents;
use crate::record::now_us;
use crate::reload::{Part, Reloadable, Stamp};
use crate::rollout::Rollouts;

use purse::Purse;
pub(crate) use walk::{Paid, Told, Walk};

/// Where a policy and what it needs are read from.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    config: ProgramConfig,
    /// Models that are served under their names though the artifact may not know them.
    served: BTreeSet<ModelName>,
}

/// Files that were read and found whole.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) version: Arc<Version>,
    sources: Sources,
    /// Of the files before they were read.
    stamp: Stamp,
}

/// What is in force, and what was refused since.
#[derive(Debug)]
pub(crate) struct Programs {
    sources: Sources,
    /// Where the version in force is, beside the artifact that it was held against.
    rollouts: Arc<Rollouts>,
    /// Why the newest state of the files is not in force; empty where it is.
    refused: ArcSwap<Vec<String>>,
}

/// A state of the files that was found whole.
#[derive(Debug, Clone, Default)]
pub(crate) struct Version {
    pub(crate) governing: Option<Arc<Governing>>,
    pub(crate) intents: Option<Arc<Intents>>,
    pub(crate) prices: Option<Arc<Priced>>,
    /// What cascades begin with.
    pub(crate) chains: Option<Arc<Chains>>,
    /// What a call is expected to cost, US dollars, by model; empty without prices.
    pub(crate) costs_usd: Arc<BTreeMap<ModelName, f64>>,
}

/// Prices, and which.
#[derive(Debug)]
pub(crate) struct Priced {
    pub(crate) prices: Prices,
    /// Hash prefix of their text.
    pub(crate) version: String,
    /// What a call is expected to cost, US dollars, by model.
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
    costs_usd: Arc<BTreeMap<ModelName, f64>>,
    warnings: Vec<String>,
}

impl Loaded {
    /// Reads the files that are configured and holds them against an artifact.
    ///
    /// # Errors
    /// With everything that is wrong with them, each with its file, line and key.
    pub(crate) fn read(
        config: &Config,
        info: &ArtifactInfo,
        chains: Option<Arc<Chains>>,
    ) -> Result<Self, ConfigError> {
        let served = config.backends.keys().cloned().collect();
        let sources = Sources { config: config.program.clone(), served };
        let stamp = load::stamp(&sources.config, info);
        let before = Version { chains, ..Version::default() };
        let version = sources.read(info, &before).map_err(ConfigError::Refused)?;
        version.tell();
        Ok(Self { version: Arc::new(version), sources, stamp })
    }
}

impl Sources {
    /// Reads the files again beside what is in force.
    fn read(&self, info: &ArtifactInfo, before: &Version) -> Result<Version, Vec<String>> {
        load::version(&self.config, &self.served, info, before)
    }
}

impl Programs {
    /// What was loaded, in force beside an artifact, and the stamp of its files.
    pub(crate) fn new(loaded: Loaded, rollouts: Arc<Rollouts>) -> (Self, Stamp) {
        let Loaded { sources, stamp, .. } = loaded;
        (Self { sources, rollouts, refused: ArcSwap::default() }, stamp)
    }

    /// What is in force.
    pub(crate) fn current(&self) -> Arc<Version> {
        Arc::clone(&self.rollouts.now().program)
    }

    /// Why the newest state of the files is not in force; empty where it is.
    pub(crate) fn refused(&self) -> Vec<String> {
        self.refused.load().as_ref().clone()
    }

    /// The files as they are now, held against an artifact that is about to take over.
    pub(crate) fn beside(&self, info: &ArtifactInfo, before: &Version) -> Result<Version, Vec<String>> {
        self.sources.read(info, before)
    }

    /// Says that the newest state of the files is in force.
    pub(crate) fn accepted(&self) {
        self.refused.store(Arc::default());
    }

    /// The catalogue's file, as configured.
    pub(crate) fn catalogue_file(&self) -> String {
        self.sources.config.catalogue.as_ref().map(|file| file.display().to_string()).unwrap_or_default()
    }

    /// Tells the budget what the call of a decision did cost, US dollars.
    pub(crate) fn charge(&self, decision_id: Uuid, cost_usd: f64) {
        let version = self.current();
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

impl Reloadable for Programs {
    fn name(&self) -> &'static str {
        "policy"
    }

    fn version(&self) -> String {
        self.current().governing.as_ref().map(|governing| governing.version.clone()).unwrap_or_default()
    }

    /// Policy, catalogue and prices hold or fail together.
    fn parts(&self) -> Vec<Part> {
        let (now, config) = (self.current(), &self.sources.config);
        let policy = config.policy.as_ref().map(|_| Part { name: self.name(), version: self.version() });
        let catalogue = now.intents.as_ref().map(|intents| intents.matcher().version().to_owned());
        let catalogue = catalogue.map(|version| Part { name: "catalogue", version });
        let prices = now.prices.as_ref().map(|prices| prices.version.clone());
        let prices = prices.map(|version| Part { name: "prices", version });
        [policy, catalogue, prices].into_iter().flatten().collect()
    }

    fn stamp(&self) -> Stamp {
        load::stamp(&self.sources.config, self.rollouts.incumbent().info())
    }

    fn reload(&self) -> Result<String, Vec<String>> {
        let read = self.rollouts.replace_program(|now| self.sources.read(now.incumbent.info(), &now.program));
        match read {
            Ok(version) => {
                version.tell();
                self.accepted();
                Ok(self.version())
            }
            Err(problems) => {
                self.refused.store(Arc::new(problems.clone()));
                Err(problems)
            }
        }
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
