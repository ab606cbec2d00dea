//! `training reproduce`: the command of a model card run again, and every figure held against the card's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use artifact::{Artifact, Manifest};
use clap::{Args, Parser};
use classifier::Backend;
use serde_json::Value;

use super::fit::FitArgs;

/// Train an artifact again by the command its card names and compare every figure.
///
/// Run it where that command was run, or say with --root where the data lies. Nothing of the artifact is touched.
#[derive(Debug, Clone, Args)]
pub struct ReproduceArgs {
    /// Folder of the artifact.
    #[arg(long, short = 'a', default_value = "models/default", value_name = "FOLDER")]
    artifact: PathBuf,
    /// Folder that holds the data the command names, each by the last part of its path.
    #[arg(long, value_name = "FOLDER")]
    root: Option<PathBuf>,
    /// The encoder's checkpoint, where it lies elsewhere than the command says.
    #[arg(long, value_name = "PATH")]
    encoder: Option<PathBuf>,
    /// Where to write what is trained.
    #[arg(long, short = 'o', default_value = "target/reproduced", value_name = "FOLDER")]
    out: PathBuf,
    /// How far a figure may lie from the card's: processors round differently.
    #[arg(long, default_value_t = 0.001)]
    tolerance: f64,
}

/// The command of a card, parsed as `training fit` parses it.
#[derive(Debug, Parser)]
struct Recorded {
    #[command(flatten)]
    fit: FitArgs,
}

impl ReproduceArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// When the artifact or its command cannot be read, training fails, or a figure is not met.
    pub fn run(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        let card = Artifact::load(&self.artifact, Backend::Flex)?.manifest().clone();
        let mut fit = recorded(&card)?;
        if let Some(root) = &self.root {
            fit.data.data.iter_mut().chain(&mut fit.zero_shot).for_each(|path| *path = below(root, path));
        }
        if let Some(encoder) = &self.encoder {
            fit.encoder = Some(encoder.clone());
        }
        fit.out.clone_from(&self.out);
        fit.run(say)?;
        let again = Artifact::load(&self.out, Backend::Flex)?.manifest().clone();
        if again.data.fingerprint != card.data.fingerprint {
            bail!("these are not the rows of the card: their fingerprints differ");
        }
        let (card, again) = (figures(&card)?, figures(&again)?);
        let strayed = strayed(&card, &again, self.tolerance);
        for line in &strayed {
            say(line);
        }
        let exact = card.iter().filter(|(name, value)| again.get(*name) == Some(value)).count();
        say(&format!(
            "{} figures of the card, {exact} met to the last bit, {} more within {}, {} not",
            card.len(),
            card.len().saturating_sub(exact + strayed.len()),
            self.tolerance,
            strayed.len()
        ));
        if strayed.is_empty() { Ok(()) } else { bail!("{} figures were not met", strayed.len()) }
    }
}

/// The fit that the manifest's command asks for.
fn recorded(card: &Manifest) -> Result<FitArgs> {
    let command = card.training["command"].as_str().context("the manifest names no command")?;
    let words = shell_words::split(command).with_context(|| format!("the manifest's command: {command}"))?;
    let arguments = words.iter().skip_while(|word| *word != "--").skip(1).filter(|word| *word != "fit");
    let arguments = std::iter::once("fit").chain(arguments.map(String::as_str));
    let parsed = Recorded::try_parse_from(arguments);
    Ok(parsed
        .with_context(|| format!("this build does not understand the manifest's command: {command}"))?
        .fit)
}

fn below(root: &Path, path: &Path) -> PathBuf {
    path.file_name().map_or_else(|| root.to_owned(), |name| root.join(name))
}

/// Every number of the manifest that the card shows, by its path.
fn figures(manifest: &Manifest) -> Result<BTreeMap<String, f64>> {
    let mut found = BTreeMap::new();
    flatten("measured", &serde_json::to_value(&manifest.metrics)?, &mut found);
    flatten("operating points", &serde_json::to_value(&manifest.operating_points)?, &mut found);
    flatten("tiers", &serde_json::to_value(manifest.deep.as_ref().map(|deep| &deep.choices))?, &mut found);
    Ok(found)
}

fn flatten(path: &str, value: &Value, into: &mut BTreeMap<String, f64>) {
    match value {
        Value::Number(number) => into.extend(number.as_f64().map(|number| (path.to_owned(), number))),
        Value::Object(fields) => fields.iter().for_each(|(k, v)| flatten(&format!("{path} › {k}"), v, into)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, v)| flatten(&format!("{path} › {}", i + 1), v, into));
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// A line for each figure of the card that is missing or farther away than the tolerance, relative to numbers above 1.
fn strayed(card: &BTreeMap<String, f64>, again: &BTreeMap<String, f64>, tolerance: f64) -> Vec<String> {
    let line = |(name, value): (&String, &f64)| match again.get(name) {
        None => Some(format!("{name}: {value} on the card, not there now")),
        Some(now) if (now - value).abs() <= tolerance * value.abs().max(1.0) => None,
        Some(now) => Some(format!("{name}: {value} on the card, {now} now")),
    };
    card.iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, f64)]) -> BTreeMap<String, f64> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    #[test]
    fn every_number_is_found_by_its_path() {
        let value = serde_json::json!({"a": [1, {"b": 0.5}], "c": "no figure", "d": null});
        let mut found = BTreeMap::new();
        flatten("x", &value, &mut found);
        assert_eq!(found, of(&[("x › a › 1", 1.0), ("x › a › 2 › b", 0.5)]));
    }

    #[test]
    fn what_strays_or_is_gone_is_named() {
        let card = of(&[("near", 0.5), ("far", 0.5), ("gone", 1.0), ("large", 1e6)]);
        let again = of(&[("near", 0.5004), ("far", 0.52), ("large", 1e6 + 500.0)]);
        let lines = strayed(&card, &again, 0.001);
        assert_eq!(lines, ["far: 0.5 on the card, 0.52 now", "gone: 1 on the card, not there now"]);
    }
}
