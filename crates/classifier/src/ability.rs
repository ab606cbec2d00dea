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
use burn::tensor::{Device, Distribution, Tensor};

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
    /// Fresh abilities: small random vectors so that no latent dimension starts dead, zero biases.
    pub fn init(latent: usize, models: usize, device: &Device) -> Self {
        let std = 1.0 / (latent as f64).sqrt();
        let vectors =
            || Param::from_tensor(Tensor::random([latent, models], Distribution::Normal(0.0, std), device));
        Self {
            success: vectors(),
            success_bias: Param::from_tensor(Tensor::zeros([models], device)),
            preference: vectors(),
            preference_bias: Param::from_tensor(Tensor::zeros([models], device)),
            tie: Param::from_tensor(Tensor::zeros([1], device)),
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
