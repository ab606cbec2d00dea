//! Where a fit starts: base rates for the biases, ridge regressions for the linear parts, the rest drawn from the seed.

use burn::module::Param;
use burn::tensor::{Tensor, TensorData};
use calibration::numeric::logit;
use classifier::{Abilities, NetworkConfig};
use features::{Features, SURFACE_LEN};

use super::loss::{LOGITS, Model};
use super::ridge::{Design, Penalties, Weights, axes_of_pairs};
use super::trainer::Run;

/// Mean and inverse standard deviation of features.
#[derive(Default)]
pub(crate) struct Moments {
    pub(crate) mean: Vec<f32>,
    pub(crate) scale: Vec<f32>,
}

impl Moments {
    /// Of each of `width` features over some rows.
    pub(crate) fn of(rows: &[usize], width: usize, feature: impl Fn(usize, usize) -> f32) -> Self {
        let n = rows.len() as f64;
        let of = |j: usize| {
            let values = || rows.iter().map(|r| f64::from(feature(*r, j)));
            let mean = values().sum::<f64>() / n;
            let variance = values().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
            // A feature that never varies while fitting says nothing later either.
            let scale = if variance > 1e-10 { variance.sqrt().recip() as f32 } else { 0.0 };
            (mean as f32, scale)
        };
        let (mean, scale) = (0..width).map(of).unzip();
        Self { mean, scale }
    }

    /// The surface features as the network reads them.
    pub(super) fn surface<'a>(&'a self, features: &'a Features) -> impl Iterator<Item = f32> + 'a {
        self.standard(&features.surface).map(|x| x.clamp(-5.0, 5.0))
    }

    fn standard<'a>(&'a self, values: &'a [f32]) -> impl Iterator<Item = f32> + 'a {
        values.iter().zip(&self.mean).zip(&self.scale).map(|((x, mean), scale)| (x - mean) * scale)
    }
}

impl Run<'_> {
    /// Initial weights: drawn from the seed, surface features standardised on the fitting rows.
    pub(crate) fn fresh(&self, network: &NetworkConfig) -> Model {
        self.device.seed(self.config.seed);
        let mut model = Model {
            network: network.init(self.ngrams.len(), &self.device),
            abilities: Abilities::init(network.latent, self.data.models.len(), &self.device),
        };
        self.start_at_base_rates(&mut model.abilities);
        let surface = Moments::of(self.fit_rows, SURFACE_LEN, |r, j| self.data.features[r].surface[j]);
        let embedding = match &self.data.embeddings {
            Some(vectors) => Moments::of(self.fit_rows, network.embedding, |r, j| vectors[r][j]),
            None => Moments::default(),
        };
        let constant = |values: &[f32]| self.tensor(values.to_vec(), [values.len()]).set_require_grad(false);
        model.network.surface_mean = constant(&surface.mean);
        model.network.surface_scale = constant(&surface.scale);
        model.network.embedding_mean = constant(&embedding.mean);
        model.network.embedding_scale = constant(&embedding.scale);
        self.start_at_ridge(&mut model, &surface, &embedding);
        model
    }

    fn tensor<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Param<Tensor<D>> {
        Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), &self.device))
    }

    /// The linear parts at the optimum of ridge regressions: an axis of the latent vector for each pair's wins, then
    /// one for each model's successes, as far as it is long enough.
    fn start_at_ridge(&self, model: &mut Model, surface: &Moments, embedding: &Moments) {
        let prior = self
            .data
            .prior
            .as_ref()
            .map(|axis| Weights { wide: axis.wide_on(&self.ngrams), dense: axis.surface_on(&surface.scale) });
        let dense = |row: usize| {
            let vector = self.data.embeddings.as_ref().map_or(&[][..], |vectors| &vectors[row]);
            surface.surface(&self.data.features[row]).chain(embedding.standard(vector)).collect()
        };
        let penalties = Penalties {
            wide: self.config.ridge_wide,
            dense: vec![
                (SURFACE_LEN, self.config.ridge_surface),
                (embedding.mean.len(), self.config.ridge_embedded),
            ],
        };
        let width = SURFACE_LEN + embedding.mean.len();
        let design = Design::new(self.data, self.fit_rows, &self.ngrams, dense, &penalties);
        let [_, latent] = model.network.linear.weight.val().dims();
        let (pairs, models) = (&self.data.pairs, self.data.models.len());
        let targets = self.ridge_targets();
        let (mut wide, mut linear) =
            (vec![0f32; self.ngrams.len().max(1) * latent], vec![0f32; width * latent]);
        for (axis, targets) in targets.iter().take(latent).enumerate() {
            let found = match &prior {
                Some(prior) if axis < pairs.len() => self.ridge_from(prior, &design, targets),
                _ => design.solve(targets),
            };
            found.wide.iter().enumerate().for_each(|(i, w)| wide[i * latent + axis] = w * LOGITS);
            found.dense.iter().enumerate().for_each(|(i, w)| linear[i * latent + axis] = w * LOGITS);
        }
        model.network.wide.weight = self.tensor(wide, [self.ngrams.len().max(1), latent]);
        model.network.linear.weight = self.tensor(linear, [width, latent]);
        let (mut preference, mut success) = (vec![0f32; latent * models], vec![0f32; latent * models]);
        for (m, axes) in axes_of_pairs(pairs, models).into_iter().enumerate() {
            for (axis, value) in axes.into_iter().enumerate().take(latent) {
                preference[axis * models + m] = value as f32;
            }
            if pairs.len() + m < latent {
                success[(pairs.len() + m) * models + m] = 1.0;
            }
        }
        model.abilities.preference = self.tensor(preference, [latent, models]);
        model.abilities.success = self.tensor(success, [latent, models]);
    }

    /// The regression of gains that starts at the general axis, worth [`FitConfig::prior_gain`] a unit before any
    /// label: how much of it holds here is one more weight to learn.
    fn ridge_from(&self, prior: &Weights, design: &Design, targets: &[Option<(f64, f64)>]) -> Weights {
        let mut values: Vec<f64> = (0..targets.len()).map(|i| design.read(i, prior)).collect();
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        values.iter_mut().for_each(|v| *v -= mean);
        let gain = self.config.prior_gain;
        let left = targets.iter().zip(&values).map(|(t, v)| t.map(|(y, weight)| (y - gain * v, weight)));
        let design = design.with_feature(&values, self.config.ridge_prior);
        let mut found = design.solve(&left.collect::<Vec<_>>());
        let share = gain + found.dense.pop().map_or(0.0, f64::from);
        found.add(prior, share);
        found
    }

    /// Value and weight of each fitting row, for each pair's wins and then each model's successes.
    fn ridge_targets(&self) -> Vec<Vec<Option<(f64, f64)>>> {
        let weight = |r: usize| f64::from(self.data.weights[r]);
        let win = |r: usize, (strong, weak): (usize, usize)| {
            let target = self.data.wins[r].iter().find(|t| (t.strong, t.weak) == (strong, weak))?;
            Some((f64::from(target.value), weight(r)))
        };
        let success = |r: usize, m: usize| Some((f64::from(self.data.success[r][m]?), weight(r)));
        let of_pairs = self.data.pairs.iter().map(|p| self.fit_rows.iter().map(|r| win(*r, *p)).collect());
        let of_models =
            (0..self.data.models.len()).map(|m| self.fit_rows.iter().map(|r| success(*r, m)).collect());
        of_pairs.chain(of_models).collect()
    }

    /// Biases at the base rates, so that the wide part need not learn them out of frequent words.
    fn start_at_base_rates(&self, abilities: &mut Abilities) {
        let rate = |values: &mut dyn Iterator<Item = f32>| {
            let (sum, n) = values.fold((0.0, 0.0), |(sum, n), v| (sum + f64::from(v), n + 1.0));
            // Smoothed as in Platt scaling: a model that is always right has no infinite bias.
            logit((sum + 1.0) / (n + 2.0)) as f32
        };
        let wins = rate(&mut self.fit_rows.iter().flat_map(|r| &self.data.wins[*r]).map(|t| t.value));
        let success: Vec<f32> = (0..self.data.models.len())
            .map(|m| rate(&mut self.fit_rows.iter().filter_map(|r| self.data.success[*r][m])))
            .collect();
        let models = success.len();
        abilities.tie =
            Param::from_tensor(Tensor::from_data(TensorData::new(vec![-wins], [1]), &self.device));
        abilities.success_bias =
            Param::from_tensor(Tensor::from_data(TensorData::new(success, [models]), &self.device));
    }
}
