//! `training cross-validate`: every row scored by a classifier that never saw its fold.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use artifact::read_encoder;
use calibration::{Calibrator, Method, Sample};
use clap::Args;
use classifier::GeneralAxis;
use corpus::Example;
use evaluation::bootstrap::percentile_interval;
use evaluation::{auroc, ece_equal_mass, routing};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use types::{ModelPair, Score};

use super::fetch_encoder::EncoderArgs;
use super::fit::TuningArgs;
use super::{DataArgs, Loaded, PairArgs};
use crate::calibrate::label;
use crate::deep::embed;
use crate::encoder_source::{self, Pins};
use crate::fit::{Prepared, Silent, fit};
use crate::measure::prompt_length;
use crate::pipeline::models_of;

/// Cross-validate by the folds the data prescribes (field `fold`), or by group.
#[derive(Debug, Clone, Args)]
pub struct CrossValidateArgs {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    pairs: PairArgs,
    /// Folds by group where the data prescribes none.
    #[arg(long, default_value_t = 10)]
    folds: usize,
    /// Report figures by the values of this slice key (such as task).
    #[arg(long, value_name = "KEY")]
    by: Option<String>,
    /// Fit a classifier for each value of `--by` instead of one for all.
    #[arg(long, requires = "by")]
    separately: bool,
    /// Hold out whole values of this slice key (such as category), ten groups of them: how it does on subjects it
    /// has never seen.
    #[arg(long, value_name = "KEY")]
    unseen: Option<String>,
    /// Fit on this many rows at most, drawn by the seed: a point of the learning curve.
    #[arg(long, value_name = "ROWS")]
    labels: Option<usize>,
    /// Score by the deep tier: this encoder's vectors beside the fast tier's features.
    #[arg(long, value_name = "PATH")]
    encoder: Option<PathBuf>,
    #[command(flatten)]
    options: EncoderArgs,
    /// A tuned encoder has seen rows of every fold and is refused. Vouch that it was tuned on none of this data.
    #[arg(long, requires = "encoder")]
    encoder_tuned_elsewhere: bool,
    #[command(flatten)]
    tuning: TuningArgs,
}

impl CrossValidateArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// When the data is refused or a fit fails.
    pub fn run(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        let Loaded { mut examples, simulated, .. } = self.data.load(say)?;
        let pairs = self.pairs.pairs(simulated)?;
        let pair = pairs.first().context("no pair")?;
        corpus::check_pair(&examples, pair, crate::fit::MINIMUM_ROWS)?;
        let prior = self.tuning.prior(&examples)?.map(|prior| prior.axis);
        examples.retain(|e| label(e, pair).is_some());
        let values = self.slice_values(&examples);
        let mut scores = vec![Held::default(); examples.len()];
        if self.separately {
            for value in &values {
                let rows: Vec<usize> =
                    (0..examples.len()).filter(|r| examples[*r].has_slice(value)).collect();
                let part: Vec<Example> = rows.iter().map(|r| examples[*r].clone()).collect();
                for (row, held) in rows.iter().zip(self.out_of_fold(&part, pair, prior.as_ref(), say)?) {
                    scores[*row] = held;
                }
            }
        } else {
            scores = self.out_of_fold(&examples, pair, prior.as_ref(), say)?;
        }
        say(&format!("{pair}, every row scored by a classifier that never saw its fold"));
        report("all", &(0..examples.len()).collect::<Vec<_>>(), &examples, &scores, pair, say);
        for value in &values {
            let rows: Vec<usize> = (0..examples.len()).filter(|r| examples[*r].has_slice(value)).collect();
            report(value, &rows, &examples, &scores, pair, say);
        }
        Ok(())
    }

    fn slice_values(&self, examples: &[Example]) -> BTreeSet<String> {
        self.by.as_ref().map(|key| values_of(key, examples)).unwrap_or_default()
    }

    /// The folds the data prescribes, or by group where it prescribes none, or of whole values of a slice key.
    fn held_out_folds(&self, examples: &[Example], seed: u64) -> Vec<Vec<usize>> {
        let all: Vec<usize> = (0..examples.len()).collect();
        let Some(key) = &self.unseen else {
            return corpus::given_folds(examples).map_or_else(
                || corpus::folds_by_group(&all, examples, self.folds, seed),
                |given| given.into_values().collect(),
            );
        };
        let mut values: Vec<String> = values_of(key, examples).into_iter().collect();
        values.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let mut folds = vec![Vec::new(); self.folds.clamp(2, values.len().max(2))];
        for row in all {
            if let Some(at) = values.iter().position(|value| examples[row].has_slice(value)) {
                let fold = at % folds.len();
                folds[fold].push(row);
            }
        }
        folds
    }

    fn out_of_fold(
        &self,
        examples: &[Example],
        pair: &ModelPair,
        prior: Option<&GeneralAxis>,
        say: &mut dyn FnMut(&str),
    ) -> Result<Vec<Held>> {
        let config = self.tuning.config();
        let mut network = self.tuning.network();
        let pairs = std::slice::from_ref(pair);
        let mut prepared =
            Prepared::new(examples, &models_of(pairs), pairs, &network.features, config.tie_value);
        prepared.prior = prior.cloned();
        if let Some(path) = &self.encoder {
            let files = encoder_source::read(path, &Pins::default())?;
            let encoder = read_encoder(&files, &self.options.options(), self.tuning.backend().into())?;
            if encoder.config().tuned_on.is_some() && !self.encoder_tuned_elsewhere {
                bail!(
                    "the encoder was tuned on labels and may have seen rows of every fold: measure it with \
                     `training fit` on the data and seed it was tuned with"
                );
            }
            network.embedding = encoder.width();
            prepared.embeddings = Some(embed(&encoder, examples)?);
        }
        let device = self.tuning.backend().device()?;
        let mut scores = vec![Held::default(); examples.len()];
        let all: Vec<usize> = (0..examples.len()).collect();
        let folds = self.held_out_folds(examples, config.seed);
        for (i, fold) in folds.iter().enumerate() {
            let held: BTreeSet<usize> = fold.iter().copied().collect();
            let rest: Vec<usize> = all.iter().copied().filter(|r| !held.contains(r)).collect();
            // One twentieth of the other folds, by group, decides when to stop.
            let mut rest = rest;
            if let Some(labels) = self.labels {
                rest.shuffle(&mut ChaCha8Rng::seed_from_u64(config.seed ^ (i as u64) << 32));
                rest.truncate(labels);
                rest.sort_unstable();
            }
            let mut parts = corpus::folds_by_group(&rest, examples, 20, config.seed);
            let dev = parts.pop().context("no rows to stop on")?;
            let fit_rows: Vec<usize> = parts.into_iter().flatten().collect();
            let (classifier, report) = fit(
                &prepared,
                &fit_rows,
                &dev,
                &network,
                &config,
                &device,
                None,
                &AtomicBool::new(false),
                &mut Silent,
            )?;
            let mut scratch = classifier.scratch();
            for row in fold {
                match &prepared.embeddings {
                    Some(vectors) => {
                        classifier.read_embedded(&examples[*row].query, &vectors[*row], &mut scratch);
                    }
                    None => classifier.read(&examples[*row].query, &mut scratch),
                }
                let score = classifier.win_score(&scratch, pair).map_or(f64::NAN, Score::logit);
                scores[*row] = Held { score, fold: i };
            }
            say(&format!("fold {} of {}: best epoch {}", i + 1, folds.len(), report.best_epoch));
        }
        Ok(scores)
    }
}

/// The score of a row and the fold it was held out in.
#[derive(Debug, Clone, Copy)]
struct Held {
    score: f64,
    fold: usize,
}

impl Default for Held {
    fn default() -> Self {
        Self { score: f64::NAN, fold: 0 }
    }
}

/// The values of a slice key that occur, as whole tags.
fn values_of(key: &str, examples: &[Example]) -> BTreeSet<String> {
    let prefix = format!("{key}:");
    examples.iter().flat_map(|e| &e.slices).filter(|s| s.starts_with(&prefix)).cloned().collect()
}

/// ECE of scores calibrated by maps that did not see the row's fold, `None` where they cannot be calibrated.
fn calibration_error(scores: &[f64], labels: &[bool], groups: &[&str]) -> Option<f64> {
    const FOLDS: u64 = 5;
    let fold = |group: &str| {
        let mut hasher = DefaultHasher::new();
        group.hash(&mut hasher);
        hasher.finish() % FOLDS
    };
    let folds: Vec<u64> = groups.iter().map(|group| fold(group)).collect();
    let scores = scores.iter().map(|s| Score::new(*s).ok()).collect::<Option<Vec<_>>>()?;
    let mut probabilities = vec![0.0; scores.len()];
    for held in 0..FOLDS {
        let others: Vec<usize> = (0..scores.len()).filter(|i| folds[*i] != held).collect();
        let (s, y): (Vec<Score>, Vec<bool>) = others.iter().map(|i| (scores[*i], labels[*i])).unzip();
        let map = Calibrator::fit(&Sample::new(&s, &y, None).ok()?, Method::Beta).ok()?.calibrator;
        for i in (0..scores.len()).filter(|i| folds[*i] == held) {
            probabilities[i] = map.apply(scores[i], 0.0).win_probability.get();
        }
    }
    ece_equal_mass(&probabilities, labels, 10).ok()
}

fn report(
    name: &str,
    rows: &[usize],
    examples: &[Example],
    held: &[Held],
    pair: &ModelPair,
    say: &mut dyn FnMut(&str),
) {
    let scores: Vec<f64> = held.iter().map(|h| h.score).collect();
    let lengths: Vec<f64> = examples.iter().map(|e| prompt_length(&e.query)).collect();
    let labels: Vec<bool> = rows.iter().map(|r| label(&examples[*r], pair).unwrap_or(false)).collect();
    let quality: BTreeMap<usize, (f64, f64)> = rows
        .iter()
        .filter_map(|r| {
            let outcomes = &examples[*r].evidence.outcomes;
            Some((*r, (*outcomes.get(pair.weak())?, *outcomes.get(pair.strong())?)))
        })
        .collect();
    let groups: Vec<&str> =
        rows.iter().map(|r| examples[*r].group.as_deref().unwrap_or(&examples[*r].id)).collect();
    for (scorer, values) in [("classifier", &scores[..]), ("prompt length", &lengths[..])] {
        let pick = |rows: &[usize]| rows.iter().map(|r| values[*r]).collect::<Vec<_>>();
        let curve = |rows: &[usize]| {
            let known: Vec<usize> = rows.iter().copied().filter(|r| quality.contains_key(r)).collect();
            let (weak, strong): (Vec<f64>, Vec<f64>) = known.iter().map(|r| quality[r]).unzip();
            (pick(&known), weak, strong)
        };
        let apgr = |rows: &[usize]| {
            let (s, weak, strong) = curve(rows);
            routing::full_sweep(&s, &weak, &strong).ok().map(|c| c.apgr())
        };
        let routellm = {
            let (s, weak, strong) = curve(rows);
            routing::routellm_curve(&s, &weak, &strong).ok().map(|c| c.apgr())
        };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let resampled = |sample: &[usize]| apgr(&sample.iter().map(|i| rows[*i]).collect::<Vec<_>>());
        let interval = percentile_interval(&groups, resampled, 400, 0.95, &mut rng);
        // Scores of different fits are on no common scale: on few labels, pooled, they rank worse than any one of them.
        let folds: BTreeSet<usize> = rows.iter().map(|r| held[*r].fold).collect();
        let of_fold =
            |fold: &usize| apgr(&rows.iter().copied().filter(|r| held[*r].fold == *fold).collect::<Vec<_>>());
        let by_fold: Vec<f64> = folds.iter().filter_map(of_fold).collect();
        let mean = (!by_fold.is_empty()).then(|| by_fold.iter().sum::<f64>() / by_fold.len() as f64);
        let shown = |v: Option<f64>| v.map_or("no gap to recover".to_owned(), |v| format!("{v:.4}"));
        let bounds = interval.map_or(String::new(), |i| format!(" [{:.4}, {:.4}]", i.lower, i.upper));
        let error = calibration_error(&pick(rows), &labels, &groups);
        say(&format!(
            "{name:<14} {scorer:<14} n {:>6}  APGR {}{bounds}, mean of folds {}  RouteLLM's APGR {}  AUROC {}  ECE {}",
            rows.len(),
            shown(apgr(rows)),
            shown(mean),
            shown(routellm),
            shown(auroc(&pick(rows), &labels).ok()),
            error.map_or("–".to_owned(), |e| format!("{e:.4}"))
        ));
    }
}
