//! Where a fit starts: base rates for the biases, ridge regressions for the linear parts, the rest drawn from the seed.

use burn::module::Param;
use burn::tensor::{Tensor, TensorData};
use calibration::numeric::logit;
use classifier::{Abilities, NetworkConfig};
use features::SURFACE_LEN;

use super::loss::{LOGITS, Model};
use super::ridge::{Design, axes_of_pairs};
use super::trainer::Run;

/// Mean and inverse standard deviation of features.
#[derive(Default)]
struct Moments {
    mean: Vec<f32>,
    scale: Vec<f32>,
}

impl Moments {
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
        let surface = self.moments(SURFACE_LEN, |r, j| self.data.features[r].surface[j]);
        let embedding = match &self.data.embeddings {
            Some(vectors) => self.moments(network.embedding, |r, j| vectors[r][j]),
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
        let dense = |row: usize| {
            let of_surface = surface.standard(&self.data.features[row].surface).map(|x| x.clamp(-5.0, 5.0));
            let vector = self.data.embeddings.as_ref().map_or(&[][..], |vectors| &vectors[row]);
            of_surface.chain(embedding.standard(vector)).collect()
        };
        let width = SURFACE_LEN + embedding.mean.len();
        let design =
            Design::new(self.data, self.fit_rows, &self.ngrams, (width, SURFACE_LEN), dense, self.config);
        let [_, latent] = model.network.linear.weight.val().dims();
        let (pairs, models) = (&self.data.pairs, self.data.models.len());
        let targets = self.ridge_targets();
        let (mut wide, mut linear) =
            (vec![0f32; self.ngrams.len().max(1) * latent], vec![0f32; width * latent]);
        for (axis, targets) in targets.iter().take(latent).enumerate() {
            let found = design.solve(targets);
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

    /// Mean and inverse standard deviation of each of `width` features over the fitting rows.
    fn moments(&self, width: usize, feature: impl Fn(usize, usize) -> f32) -> Moments {
        let n = self.fit_rows.len() as f64;
        let of = |j: usize| {
            let values = || self.fit_rows.iter().map(|r| f64::from(feature(*r, j)));
            let mean = values().sum::<f64>() / n;
            let variance = values().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
            // A feature that never varies while fitting says nothing later either.
            let scale = if variance > 1e-10 { variance.sqrt().recip() as f32 } else { 0.0 };
            (mean as f32, scale)
        };
        let (mean, scale) = (0..width).map(of).unzip();
        Moments { mean, scale }
    }
}
