//! From files to a version: every file read, held against the artifact and against the others, all faults at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use economics::Prices;
use router::ArtifactInfo;
use sha2::{Digest, Sha256};
use strategy::{Budget, Inventory, Problem, Program, Severity};
use types::{ModelName, ModelPair};

use super::{Governing, Priced, Purse, Version, unsigned};
use crate::config::ProgramConfig;
use crate::intents::Intents;
use crate::record::now_us;
use crate::reload::Stamp;

/// Characters of a version: 64 bits of a sha256 in hexadecimal.
const VERSION_CHARS: usize = 16;

/// What a version would be read from now: the state of each file, and the artifact it would be held against.
pub(super) fn stamp(config: &ProgramConfig, info: &ArtifactInfo) -> Stamp {
    let files = [&config.policy, &config.catalogue, &config.prices];
    Stamp::of(files.into_iter().flatten()).with(&info.manifest_sha256)
}

/// Reads everything that is configured. The budget goes on from where it was `before`.
pub(super) fn version(
    config: &ProgramConfig,
    served: &BTreeSet<ModelName>,
    info: &ArtifactInfo,
    before: &Version,
) -> Result<Version, Vec<String>> {
    let mut problems = Vec::new();
    let mut refuse = |problem: String| problems.push(problem);
    let prices = config.prices.as_deref().and_then(|file| prices(file).map_err(&mut refuse).ok());
    let intents = config
        .catalogue
        .as_deref()
        .map(|file| Intents::read(file, before.intents.as_ref()).map_err(&mut refuse).ok());
    let governing = config.policy.as_deref().map(|file| {
        let inventory =
            inventory(served, info, prices.as_ref(), intents.as_ref().map(Option::as_deref), before);
        governing(file, &inventory, prices.as_ref(), before.governing.as_deref())
    });
    let governing = match governing.transpose() {
        Ok(governing) => governing.map(Arc::new),
        Err(found) => {
            problems.extend(found);
            None
        }
    };
    if problems.is_empty() {
        let costs_usd = prices.as_ref().map(|priced| Arc::clone(&priced.costs_usd)).unwrap_or_default();
        let (intents, prices, chains) = (intents.flatten(), prices.map(Arc::new), before.chains.clone());
        Ok(Version { governing, intents, prices, costs_usd, chains })
    } else {
        Err(problems)
    }
}

fn read(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}

fn prices(file: &Path) -> Result<Priced, String> {
    let text = read(file)?;
    let prices = Prices::parse(&file.display().to_string(), &text).map_err(|error| error.to_string())?;
    let costs_usd = Arc::new(costs(&prices)?);
    Ok(Priced { prices, version: hash(&text), costs_usd })
}

/// The version of a file that has none of its own.
fn hash(text: &str) -> String {
    let mut version = hex::encode(Sha256::digest(text));
    version.truncate(VERSION_CHARS);
    version
}

/// What a call of each model that has a price is expected to cost, US dollars.
fn costs(prices: &Prices) -> Result<BTreeMap<ModelName, f64>, String> {
    let named = prices.models().filter_map(|model| ModelName::new(model).ok());
    let cost = |model: ModelName| {
        let cost_usd = prices.call_usd(model.as_str(), 1.0).map_err(|error| error.to_string())?;
        Ok((model, cost_usd))
    };
    named.map(cost).collect()
}

/// What a policy may name. A catalogue that could not be read is not known; without one there is no intent.
fn inventory(
    served: &BTreeSet<ModelName>,
    info: &ArtifactInfo,
    prices: Option<&Priced>,
    intents: Option<Option<&Intents>>,
    before: &Version,
) -> Inventory {
    let cascades = before.chains.as_ref().map(|chains| chains.models()).unwrap_or_default();
    let priced: BTreeSet<ModelName> = prices
        .into_iter()
        .flat_map(|priced| priced.prices.models())
        .filter_map(|model| ModelName::new(model).ok())
        .collect();
    let staged = cascades.values().flatten();
    let models = info.models.iter().chain(served).chain(&priced).chain(staged).cloned().collect();
    let points = |pair: &ModelPair| {
        let of = info.operating_points.iter().filter(|point| point.pair == *pair);
        of.map(|point| point.name.clone()).collect()
    };
    let pairs = info.pairs.iter().map(|pair| (pair.clone(), points(pair))).collect();
    let intents = match intents {
        None => Some(BTreeMap::new()),
        Some(intents) => intents.map(Intents::models),
    };
    Inventory {
        models: Some(models),
        pairs: Some(pairs),
        default_pair: Some(info.default_pair.clone()),
        cascades: Some(cascades),
        priced: Some(priced),
        intents,
    }
}

fn governing(
    file: &Path,
    inventory: &Inventory,
    prices: Option<&Priced>,
    before: Option<&Governing>,
) -> Result<Governing, Vec<String>> {
    let text = read(file).map_err(|problem| vec![problem])?;
    let told = |problems: &[Problem]| problems.iter().map(ToString::to_string).collect::<Vec<_>>();
    let program = Program::parse(&file.display().to_string(), &text).map_err(|problems| told(&problems))?;
    let found = program.check(inventory);
    if found.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(told(&found));
    }
    let costs_usd = prices.map(|priced| Arc::clone(&priced.costs_usd)).unwrap_or_default();
    let version = hash(&text);
    let warnings = [told(program.warnings()), told(&found)].concat();
    let purse = program.budget().map(|budget| purse(budget, before));
    Ok(Governing { program, version, purse, costs_usd, warnings })
}

/// The purse of a budget. One whose limits stay the same is kept; another goes on from what was spent before.
fn purse(budget: &Budget, before: Option<&Governing>) -> Arc<Mutex<Purse>> {
    let limits = |budget: &Budget| (budget.cost_usd_per_day, budget.strong_calls_per_minute);
    let kept = before.and_then(|before| before.program.budget().zip(before.purse.as_ref()));
    if let Some((old, purse)) = kept
        && limits(old) == limits(budget)
    {
        return Arc::clone(purse);
    }
    let now_us = unsigned(now_us());
    let mut purse = Purse::new(budget, now_us);
    if let Some((_, old)) = kept {
        let spent = old.lock().unwrap_or_else(PoisonError::into_inner).standing(now_us);
        purse.carry_over(&spent, now_us);
    }
    Arc::new(Mutex::new(purse))
}
