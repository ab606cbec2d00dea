//! `training calibrate`: calibrators fitted anew on a few dozen outcomes, and models that join the ladder; the
//! network stays as it is.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use artifact::{Artifact, CalibrationRecord, DeepPair, DeepTier, Draft, PairCalibrator};
use calibration::MIN_ROWS;
use clap::Args;
use classifier::{Backend, Classifier};
use corpus::Example;
use evaluation::{calibration_mid_p, log_loss};
use policy::Objective;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use types::{BackendIdentity, ModelName, ModelPair, WinProbability};

use super::{CalibrationArgs, DataArgs, Loaded, PairArgs, Purpose, served_by, untouched};
use crate::calibrate::{Calibration, Chosen, HeldOut, label};
use crate::card::refresh;
use crate::fit::{fit_newcomer, rows_about};
use crate::operating_point::{Origin, Rows, operating_point, strong_call_rate};
use crate::pipeline::{DEFAULT_STRONG_CALL_RATE, models_of};

/// Fit the calibrators of an artifact anew, or add models to it, without retraining.
///
/// For a backend that was swapped or quantised (--served-by), for traffic that has moved, or for a model the
/// artifact does not know yet: name it in a pair, with outcomes of both models on the same queries. From 30
/// rows. Use rows that took no part in training; on the data the artifact was trained on, its calibrate
/// split is used. Thresholds of the pairs that are calibrated must be selected again.
#[derive(Debug, Clone, Args)]
pub struct CalibrateArgs {
    /// Folder of the artifact; written in place.
    #[arg(long, short = 'a', default_value = "models/default", value_name = "FOLDER")]
    artifact: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// Without any pair: those of the artifact that the data speaks about.
    #[command(flatten)]
    pairs: PairArgs,
    #[command(flatten)]
    calibration: CalibrationArgs,
    /// What answers under a model's name in these rows: MODEL=NAME/VERSION/PRECISION. A server that is told
    /// otherwise refuses the calibrator.
    #[arg(long, value_parser = served_by, value_name = "MODEL=BACKEND")]
    served_by: Vec<(ModelName, BackendIdentity)>,
    /// Folds by group: a model that joins is scored on rows its abilities were not fitted on.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(2..))]
    folds: u64,
    /// Use so many rows at most, drawn by the seed.
    #[arg(long, value_name = "ROWS")]
    rows: Option<usize>,
    /// Seed of the folds and of the draw.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Show what would change and write nothing.
    #[arg(long)]
    dry_run: bool,
}

impl CalibrateArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// When the artifact or the data is refused, or a pair or a new model has too few rows.
    pub fn run(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        let artifact = Artifact::load(&self.artifact, Backend::Flex)?;
        let Loaded { mut examples, .. } = self.data.load(say)?;
        corpus::group_duplicates(&mut examples);
        let data = corpus::fingerprint(&examples);
        let (split, mut rows) = untouched(&artifact, &examples, &data, Purpose::Calibrating, say)?;
        if let Some(most) = self.rows {
            rows.shuffle(&mut ChaCha8Rng::seed_from_u64(self.seed));
            rows.truncate(most);
            rows.sort_unstable();
        }
        let pairs = self.chosen_pairs(&artifact, &examples, &rows, say)?;
        let joining = joining(&artifact, &pairs, &examples, &rows, say)?;
        let classifier = join(artifact.classifier(), &joining, &examples, &rows)?;
        let backends = self.served_by.iter().map(|(m, b)| (m.as_str().to_owned(), b.into()));
        let origin = CalibrationRecord { data, split, created: crate::now(), backends: backends.collect() };

        let mut draft = Draft { classifier: &classifier, ..artifact.draft() };
        for pair in &pairs {
            let known = artifact.calibrators().iter().find(|c| c.pair == *pair);
            let held_out = self.held_out(artifact.classifier(), pair, &joining, &examples, &rows)?;
            let folds = if pair_joins(pair, &joining) { self.folds as usize } else { 0 };
            let calibration = self.calibration.calibration(self.seed);
            let Chosen { pair: calibrator, inverted } = calibration
                .fit(pair, &held_out, &examples, folds, &origin)
                .with_context(|| format!("pair {pair}"))?;
            if inverted {
                say(&format!(
                    "{pair}: the score ranks backwards on these rows; it is calibrated to the base rate"
                ));
            }
            compare(known, &calibrator, &held_out, &examples, say)?;
            let mut probabilities = held_out.probabilities(&calibrator, &examples);
            if let Some(deep) = artifact.deep().and_then(|tier| Some((tier, tier.pair(pair)?))) {
                let deep = deep_again(deep, &held_out, &examples, &calibration, &origin)?;
                let of_deep = deep.1.probabilities(&deep.0.calibrator, &examples);
                for (p, of_deep) in probabilities.iter_mut().zip(of_deep) {
                    *p = deep.0.held(*p, of_deep);
                }
                say(
                    "  the deep tier's map is fitted again on the same rows; weights and band stay as they are",
                );
                let kept = draft.deep.iter_mut().flat_map(|d| &mut d.pairs);
                kept.filter(|d| d.calibrator.pair == *pair).for_each(|d| d.clone_from(&deep.0));
            }
            let (rows, examples, origin) = (&held_out.rows, &examples, &origin);
            let points = Points { pair, rows, probabilities, examples, origin };
            points.select(&mut draft, self.seed, say)?;
            match draft.calibrators.iter_mut().find(|c| c.pair == *pair) {
                Some(old) => *old = calibrator,
                None => draft.calibrators.push(calibrator),
            }
            // Figures measured with another calibrator are no figures of this one.
            draft.metrics.pairs.retain(|metrics| metrics.pair != pair.to_string());
        }
        if self.dry_run {
            say("dry run: nothing was written");
            return Ok(());
        }
        let calibrators = draft.calibrators.clone();
        let written =
            draft.write(&self.artifact, |manifest| refresh(manifest, &calibrators, &self.artifact))?;
        say(&format!("wrote {} (version {})", self.artifact.display(), written.version));
        Ok(())
    }

    /// The pairs asked for, or those of the artifact that the rows say something about.
    fn chosen_pairs(
        &self,
        artifact: &Artifact,
        examples: &[Example],
        rows: &[usize],
        say: &mut dyn FnMut(&str),
    ) -> Result<Vec<ModelPair>> {
        let named = self.pairs.named()?;
        if !named.is_empty() {
            return Ok(named);
        }
        let about = |pair: &ModelPair| rows.iter().any(|r| label(&examples[*r], pair).is_some());
        let (spoken_of, others): (Vec<ModelPair>, Vec<ModelPair>) =
            artifact.calibrators().iter().map(|c| c.pair.clone()).partition(about);
        for pair in &others {
            say(&format!("{pair}: no row has outcomes of both, its calibrator stays as it is"));
        }
        if spoken_of.is_empty() {
            bail!(
                "no row has outcomes of both models of any pair; name other pairs with --strong and --weak"
            );
        }
        Ok(spoken_of)
    }

    /// Scores of a pair on rows that none of its abilities was fitted on.
    fn held_out(
        &self,
        classifier: &Classifier,
        pair: &ModelPair,
        joining: &[ModelName],
        examples: &[Example],
        rows: &[usize],
    ) -> Result<HeldOut> {
        let mut held_out = HeldOut::default();
        if !pair_joins(pair, joining) {
            held_out.score(classifier, None, examples, rows, pair);
            return Ok(held_out);
        }
        let folds = corpus::folds_by_group(rows, examples, self.folds as usize, self.seed);
        for fold in &folds {
            let others: Vec<usize> = rows.iter().copied().filter(|r| !fold.contains(r)).collect();
            let joined = join(classifier, joining, examples, &others)?;
            held_out.score(&joined, None, examples, fold, pair);
        }
        Ok(held_out)
    }
}

fn pair_joins(pair: &ModelPair, joining: &[ModelName]) -> bool {
    joining.iter().any(|model| pair.contains(model))
}

/// Models of the pairs that the artifact does not know; each needs rows of its own.
fn joining(
    artifact: &Artifact,
    pairs: &[ModelPair],
    examples: &[Example],
    rows: &[usize],
    say: &mut dyn FnMut(&str),
) -> Result<Vec<ModelName>> {
    let known = artifact.classifier().models();
    let joining: Vec<ModelName> = models_of(pairs).into_iter().filter(|m| !known.contains(m)).collect();
    for model in &joining {
        let found = rows_about(model, examples, rows);
        if found < MIN_ROWS {
            bail!(
                "{model} is new to this artifact and appears in {found} rows, at least {MIN_ROWS} are needed; \
                 known models: {}",
                known.iter().map(ModelName::as_str).collect::<Vec<_>>().join(", ")
            );
        }
        say(&format!("{model} joins: its abilities are fitted to {found} rows, the network stays as it is"));
    }
    Ok(joining)
}

/// The classifier with the models that join, one after the other.
fn join(
    classifier: &Classifier,
    joining: &[ModelName],
    examples: &[Example],
    rows: &[usize],
) -> Result<Classifier> {
    let mut joined = classifier.with_models(&[]);
    for model in joining {
        let ability = fit_newcomer(&joined, model, examples, rows).with_context(|| model.to_string())?;
        joined = joined.with_models(&[(model.clone(), ability)]);
    }
    Ok(joined)
}

/// A pair of the deep tier with a map fitted on rows of which the fast scores are known, and the stacked scores.
fn deep_again(
    (tier, pair): (&DeepTier, &DeepPair),
    fast: &HeldOut,
    examples: &[Example],
    calibration: &Calibration,
    origin: &CalibrationRecord,
) -> Result<(DeepPair, HeldOut)> {
    let mut stacked = fast.clone();
    let mut scratch = tier.classifier().scratch();
    for (score, row) in stacked.scores.iter_mut().zip(&fast.rows) {
        let query = &examples[*row].query;
        tier.read(query, &tier.vector(query)?, &mut scratch);
        let found = tier.score(pair, *score, &scratch);
        *score = found.with_context(|| format!("{}: a score is not finite", examples[*row].id))?;
    }
    let chosen = calibration.fit(&pair.calibrator.pair, &stacked, examples, 0, origin)?;
    Ok((DeepPair { calibrator: chosen.pair, ..pair.clone() }, stacked))
}

/// What the old calibrator said of these rows, which it never saw, beside what happened.
fn compare(
    known: Option<&PairCalibrator>,
    new: &PairCalibrator,
    held_out: &HeldOut,
    examples: &[Example],
    say: &mut dyn FnMut(&str),
) -> Result<()> {
    let (rows, wins) = (held_out.labels.len(), held_out.labels.iter().filter(|y| **y).count());
    say(&format!(
        "{}: {rows} rows, strong strictly better on {:.3} of them; calibrated by {}",
        new.pair,
        wins as f64 / rows as f64,
        new.calibrator.method().as_str()
    ));
    let Some(known) = known else { return Ok(()) };
    let p = probabilities(known, held_out, examples);
    let after = probabilities(new, held_out, examples);
    let mean = |p: &[f64]| p.iter().sum::<f64>() / p.len() as f64;
    say(&format!(
        "  mean probability {:.3} → {:.3}, log loss {:.4} → {:.4} (the latter on the rows of its fit)",
        mean(&p),
        mean(&after),
        log_loss(&p, &held_out.labels)?,
        log_loss(&after, &held_out.labels)?
    ));
    let p_value = calibration_mid_p(&p, wins)?;
    let verdict = if p_value < 0.05 { "was off" } else { "could have been right" };
    say(&format!("  the old calibrator {verdict} on average here (exact test, p {p_value:.4})"));
    if known.slices.iter().next().is_some() && new.slices.iter().next().is_none() {
        say("  its corrections of slices are dropped: give --slice to fit them again");
    }
    Ok(())
}

fn probabilities(calibrator: &PairCalibrator, held_out: &HeldOut, examples: &[Example]) -> Vec<f64> {
    held_out.probabilities(calibrator, examples).into_iter().map(WinProbability::get).collect()
}

/// What becomes of the thresholds of a pair whose calibrator is new.
struct Points<'a> {
    pair: &'a ModelPair,
    rows: &'a [usize],
    /// What thresholds are compared with, row by row.
    probabilities: Vec<WinProbability>,
    examples: &'a [Example],
    origin: &'a CalibrationRecord,
}

impl Points<'_> {
    /// A strong-call rate needs no labels and is selected again on these rows, as `fit` does; every other
    /// threshold stays bound to the old calibrator, so that no server takes it, until labels of other rows
    /// select it again.
    fn select(&self, draft: &mut Draft<'_>, seed: u64, say: &mut dyn FnMut(&str)) -> Result<()> {
        let pair = self.pair.to_string();
        let rows = Rows::known(self.pair, self.examples, self.rows, &self.probabilities);
        let high_stakes = draft.high_stakes.clone();
        let origin = Origin {
            data: self.origin.data.clone(),
            split: self.origin.split.clone(),
            high_stakes: &high_stakes,
            cost: None,
            seed,
        };
        draft.operating_points.entry("default".to_owned()).or_default();
        for (name, by_pair) in &mut draft.operating_points {
            let rate = match by_pair.get(&pair) {
                None if name == "default" => DEFAULT_STRONG_CALL_RATE,
                None => continue,
                Some(point) => match strong_call_rate(&point.objective) {
                    Some(rate) => rate,
                    None => {
                        say(&format!(
                            "  operating point {name} ({}) belongs to the old calibrator and will not be served: \
                             select it again with `training threshold --name {name}` on other rows",
                            point.objective
                        ));
                        continue;
                    }
                },
            };
            let point = operating_point(&rows, &Objective::StrongCallRate(rate), &origin)?;
            say(&format!("  operating point {name}: strong-call rate {rate} at threshold {:.4}", point.high));
            by_pair.insert(pair.clone(), point);
        }
        Ok(())
    }
}
