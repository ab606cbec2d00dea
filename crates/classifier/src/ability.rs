//! What each model can do: two linear read-outs of the latent vector per model.
//!
//! `success_m(q) = u_m.z(q) + b_m` is the logit of P(m's answer is acceptable | q).
//! `preference_m(q) = v_m.z(q) + c_m` ranks models against each other; a pair scores
//! `(preference_strong - preference_weak) - tie`, the win logit of Rao-Kupper's model with
//! `tie = ln(theta)` (methods section 1.2), so that a tie counts for weak.
//!
//! Two read-outs because "weak is wrong" and "strong gains" are different targets that can rank
//! queries in opposite order (methods section 1.1): a query too hard for both has a low success
//! probability for weak and still nothing to gain. One read-out would have to serve both.

use burn::module::{Module, Param};
use burn::tensor::{Device, Distribution, Tensor, TensorData};

/// One model's read-outs on the host: a few numbers that need no kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct Ability {
    /// u, of length latent.
    pub success: Vec<f32>,
    /// b.
    pub success_bias: f32,
    /// v, of length latent.
    pub preference: Vec<f32>,
    /// c.
    pub preference_bias: f32,
}

impl Ability {
    /// The success logit of a query's latent vector.
    pub fn success(&self, latent: &[f32]) -> f32 {
        dot(&self.success, latent) + self.success_bias
    }

    /// The preference strength of a query's latent vector.
    pub fn strength(&self, latent: &[f32]) -> f32 {
        dot(&self.preference, latent) + self.preference_bias
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Ability vectors of `m` models over a latent vector of length `latent`.
#[derive(Module, Debug)]
pub struct Abilities {
    /// u, `[latent, m]`.
    pub success: Param<Tensor<2>>,
    /// b, `[m]`.
    pub success_bias: Param<Tensor<1>>,
    /// v, `[latent, m]`.
    pub preference: Param<Tensor<2>>,
    /// c, `[m]`.
    pub preference_bias: Param<Tensor<1>>,
    /// ln(theta), `[1]`.
    pub tie: Param<Tensor<1>>,
}

impl Abilities {
    /// Fresh abilities: each model starts with an axis of the latent space of its own (and a little
    /// noise), so that any two start equally far apart whatever `latent` is; zero biases.
    pub fn init(latent: usize, models: usize, device: &Device) -> Self {
        let axes: Vec<f32> =
            (0..latent * models).map(|i| f32::from(u8::from(i / models == (i % models) % latent))).collect();
        let vectors = || {
            let axes = Tensor::<2>::from_data(TensorData::new(axes.clone(), [latent, models]), device);
            let noise = Tensor::random([latent, models], Distribution::Normal(0.0, 0.1), device);
            Param::from_tensor(axes + noise)
        };
        Self {
            success: vectors(),
            success_bias: Param::from_tensor(Tensor::zeros([models], device)),
            preference: vectors(),
            preference_bias: Param::from_tensor(Tensor::zeros([models], device)),
            tie: Param::from_tensor(Tensor::zeros([1], device)),
        }
    }

    /// Each model's read-outs, in the order of the columns.
    pub fn columns(&self) -> Vec<Ability> {
        let columns = |vectors: Tensor<2>| -> Vec<Vec<f32>> {
            let [latent, models] = vectors.dims();
            let values: Vec<f32> = vectors.into_data().iter::<f32>().collect();
            (0..models).map(|m| (0..latent).map(|d| values[d * models + m]).collect()).collect()
        };
        let row = |bias: Tensor<1>| bias.into_data().iter::<f32>().collect::<Vec<f32>>();
        let success = columns(self.success.val()).into_iter().zip(row(self.success_bias.val()));
        let preference = columns(self.preference.val()).into_iter().zip(row(self.preference_bias.val()));
        let of = |((success, success_bias), (preference, preference_bias))| Ability {
            success,
            success_bias,
            preference,
            preference_bias,
        };
        success.zip(preference).map(of).collect()
    }

    /// These abilities and a further model's as the last column.
    ///
    /// The ability's vectors are as long as the latent vector.
    pub fn with(&self, newcomer: &Ability, device: &Device) -> Self {
        let column = |vectors: &Param<Tensor<2>>, new: &[f32]| {
            let new = Tensor::from_data(TensorData::new(new.to_vec(), [new.len(), 1]), device);
            Param::from_tensor(Tensor::cat(vec![vectors.val(), new], 1))
        };
        let entry = |bias: &Param<Tensor<1>>, new: f32| {
            let new = Tensor::from_data(TensorData::new(vec![new], [1]), device);
            Param::from_tensor(Tensor::cat(vec![bias.val(), new], 0))
        };
        Self {
            success: column(&self.success, &newcomer.success),
            success_bias: entry(&self.success_bias, newcomer.success_bias),
            preference: column(&self.preference, &newcomer.preference),
            preference_bias: entry(&self.preference_bias, newcomer.preference_bias),
            tie: self.tie.clone(),
        }
    }

    /// Success logits `[n, m]` of latent vectors `[n, latent]`.
    pub fn success_logits(&self, latent: Tensor<2>) -> Tensor<2> {
        latent.matmul(self.success.val()) + self.success_bias.val().unsqueeze()
    }

    /// Preference strengths `[n, m]` of latent vectors `[n, latent]`.
    pub fn preferences(&self, latent: Tensor<2>) -> Tensor<2> {
        latent.matmul(self.preference.val()) + self.preference_bias.val().unsqueeze()
    }
}
