//! Both tiers as one: the probability that thresholds of an artifact are compared with.

use artifact::{Artifact, DeepTier, PairCalibrator};
use calibration::Calibrated;
use classifier::{Classifier, Scratch};
use corpus::Example;
use types::WinProbability;

/// The fast tier and, where there is one, the deep tier.
#[derive(Debug, Clone, Copy)]
pub struct Tiers<'a> {
    /// The fast tier.
    pub classifier: &'a Classifier,
    /// The deep tier.
    pub deep: Option<&'a DeepTier>,
}

/// Buffers of one thread.
#[derive(Debug)]
pub struct TierScratch {
    fast: Scratch,
    deep: Option<Scratch>,
}

/// What the tiers say of one query and pair.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tiered {
    /// The fast tier's probability.
    pub fast: WinProbability,
    /// The deep tier's; the fast one again where there is none for the pair.
    pub deep: WinProbability,
    /// What a threshold is compared with: see [`artifact::DeepPair::held`].
    pub held: WinProbability,
}

impl<'a> Tiers<'a> {
    /// The tiers of an artifact.
    pub fn of(artifact: &'a Artifact) -> Self {
        Self { classifier: artifact.classifier(), deep: artifact.deep() }
    }

    /// The fast tier alone.
    pub fn fast(classifier: &'a Classifier) -> Self {
        Self { classifier, deep: None }
    }

    /// Buffers for one thread.
    pub fn scratch(&self) -> TierScratch {
        TierScratch { fast: self.classifier.scratch(), deep: self.deep.map(|d| d.classifier().scratch()) }
    }

    /// Reads an example for a pair; `None` when a model is unknown or a text cannot be read.
    pub fn read(
        &self,
        example: &Example,
        calibrator: &PairCalibrator,
        scratch: &mut TierScratch,
    ) -> Option<Tiered> {
        let tags = || example.slices.iter().map(String::as_str);
        self.classifier.read(&example.query, &mut scratch.fast);
        let score = self.classifier.win_score(&scratch.fast, &calibrator.pair)?;
        let Calibrated { win_probability: fast, .. } =
            calibrator.calibrator.apply(score, calibrator.slices.of(tags()));
        let Some((tier, pair)) = self.deep.and_then(|d| Some((d, d.pair(&calibrator.pair)?))) else {
            return Some(Tiered { fast, deep: fast, held: fast });
        };
        let buffers = scratch.deep.as_mut()?;
        let vector = tier.vector(&example.query).ok()?;
        tier.read(&example.query, &vector, buffers);
        let deep = tier.calibrated(pair, score, buffers, tags())?.win_probability;
        Some(Tiered { fast, deep, held: pair.held(fast, deep) })
    }
}
