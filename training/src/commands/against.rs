//! Two artifacts on the same rows: which ranks better, and whether the difference is more than luck.

use std::path::Path;

use anyhow::{Context, Result, bail};
use artifact::Artifact;
use classifier::Backend;
use corpus::Example;
use evaluation::bootstrap::percentile_interval;
use evaluation::routing::full_sweep;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use types::ModelPair;

use super::{Purpose, untouched};
use crate::calibrate::pair_scores;
use crate::tiers::{Tiered, Tiers};

const RESAMPLES: usize = 1_000;
const LEVEL: f64 = 0.95;

/// Another artifact to compare with.
pub(super) struct Against<'a> {
    pub(super) folder: &'a Path,
    pub(super) backend: Backend,
    pub(super) seed: u64,
}

impl Against<'_> {
    /// Says the APGR of both artifacts on `rows` and their difference, with an interval from resamples of groups
    /// that both share.
    ///
    /// # Errors
    /// When the other artifact is refused, does not serve the pair, or took other rows of this data into its training;
    /// when the rows leave no gap to recover.
    pub(super) fn compare(
        &self,
        artifact: &Artifact,
        pair: &ModelPair,
        examples: &[Example],
        (fingerprint, rows): (&str, &[usize]),
        say: &mut dyn FnMut(&str),
    ) -> Result<()> {
        let other = Artifact::load(self.folder, self.backend)?;
        let (_, allowed) = untouched(&other, examples, fingerprint, Purpose::Judging, &mut |_| {})?;
        if !rows.iter().all(|row| allowed.binary_search(row).is_ok()) {
            bail!("{}: trained on rows that would be measured here", self.folder.display());
        }
        let rows: Vec<usize> =
            rows.iter().copied().filter(|r| pair_scores(&examples[*r], pair).is_some()).collect();
        let (own, others) = (read(artifact, pair, examples, &rows)?, read(&other, pair, examples, &rows)?);
        let (weak, strong): (Vec<f64>, Vec<f64>) =
            rows.iter().filter_map(|r| pair_scores(&examples[*r], pair)).unzip();
        let groups: Vec<&str> =
            rows.iter().map(|r| examples[*r].group.as_deref().unwrap_or(&examples[*r].id)).collect();
        let apgr = |of: &[Tiered], by: &dyn Fn(&Tiered) -> f64, sample: &[usize]| {
            let pick = |values: &[f64]| sample.iter().map(|i| values[*i]).collect::<Vec<f64>>();
            let scores: Vec<f64> = sample.iter().map(|i| by(&of[*i])).collect();
            full_sweep(&scores, &pick(&weak), &pick(&strong)).ok().map(|curve| curve.apgr())
        };
        let all: Vec<usize> = (0..rows.len()).collect();
        for (name, deep) in [("as served", false), ("deep tier alone", true)] {
            let by = |t: &Tiered| if deep { t.deep.get() } else { t.held.get() };
            let of = |sample: &[usize]| Some((apgr(&own, &by, sample)?, apgr(&others, &by, sample)?));
            let (here, there) = of(&all).context("no gap between the models to recover on these rows")?;
            let difference = |sample: &[usize]| of(sample).map(|(here, there)| here - there);
            let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
            let interval = percentile_interval(&groups, difference, RESAMPLES, LEVEL, &mut rng)?;
            say(&format!(
                "{name}: APGR {here:.4}, of {} {there:.4}, difference {:+.4} [{:+.4}, {:+.4}] on {} rows",
                other.manifest().name,
                here - there,
                interval.lower,
                interval.upper,
                rows.len()
            ));
        }
        Ok(())
    }
}

fn read(artifact: &Artifact, pair: &ModelPair, examples: &[Example], rows: &[usize]) -> Result<Vec<Tiered>> {
    let name = &artifact.manifest().name;
    let calibrator = artifact.calibrators().iter().find(|c| c.pair == *pair);
    let calibrator = calibrator.with_context(|| format!("{name} does not serve {pair}"))?;
    let tiers = Tiers::of(artifact);
    let mut scratch = tiers.scratch();
    let mut read = |row: &usize| tiers.read(&examples[*row], calibrator, &mut scratch);
    let tiered: Option<Vec<Tiered>> = rows.iter().map(&mut read).collect();
    tiered.with_context(|| format!("{name} cannot read a row"))
}
