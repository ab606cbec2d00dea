//! From difficulty to outcomes: the stated model behind the starter corpus. Text is not read here.
//!
//! A query of difficulty `d` (logits, see `difficulty`) is won by
//! the large model over the small one with probability `w = sigma(u)`, where
//!
//! ```text
//! u = d                      for d <= D    (near side: the harder, the more the large model gains)
//! u = D - (d - D) / 2        for d >  D    (far side: too hard for both, the gain falls again)
//! D = 1.25, W = sigma(D), e = (1 - sqrt(W)) / W
//! ```
//!
//! and the models answer correctly, independently given the query, with probability
//!
//! ```text
//!               near side                far side
//! large         1 - e w                  w / (1 - e w)
//! small         1 - w / (1 - e w)        e w
//! medium        1 - sqrt((1 - large) (1 - small))
//! ```
//!
//! So P(large right) P(small wrong) = w on both sides, the sides meet at `D`, each model's
//! probability falls as `d` rises, and the gain has one hump of height `W` (about 0.78).

use super::dice::Dice;

/// Difficulty at which the gain is greatest, in hundredths of a logit.
const SUMMIT_HUNDREDTHS: i32 = 125;

/// The true probabilities of one query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Truth {
    /// P(large right and small wrong).
    pub(super) win: f64,
    /// P(right) of small, medium and large, in this order.
    pub(super) success: [f64; 3],
}

impl Truth {
    /// The truth at a difficulty, in hundredths of a logit.
    pub(super) fn at(difficulty_hundredths: i32) -> Self {
        let beyond = difficulty_hundredths - SUMMIT_HUNDREDTHS;
        let half_hundredths =
            if beyond <= 0 { 2 * difficulty_hundredths } else { 2 * SUMMIT_HUNDREDTHS - beyond };
        let win = sigmoid(f64::from(half_hundredths) / 200.0);
        let summit = sigmoid(f64::from(SUMMIT_HUNDREDTHS) / 100.0);
        let slack = (1.0 - summit.sqrt()) / summit * win;
        let (small, large) =
            if beyond <= 0 { (1.0 - win / (1.0 - slack), 1.0 - slack) } else { (slack, win / (1.0 - slack)) };
        let medium = 1.0 - ((1.0 - large) * (1.0 - small)).sqrt();
        Self { win, success: [small, medium, large] }
    }

    /// One answer of each model: right or wrong, small first.
    pub(super) fn draw(&self, dice: &mut Dice) -> [bool; 3] {
        self.success.map(|probability| dice.happens(probability))
    }
}

/// 1 / (1 + exp(-x)) from additions, multiplications and divisions alone: those are rounded the
/// same way everywhere, while the `exp` of a platform's library is not. Relative error below 1e-13.
fn sigmoid(x: f64) -> f64 {
    let small = -x / 1024.0;
    let series = (1..=8).rev().fold(1.0, |sum, k| 1.0 + small / f64::from(k) * sum);
    let exp = (0..10).fold(series, |power, _| power * power);
    1.0 / (1.0 + exp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sigmoid_is_the_sigmoid() {
        for hundredths in -1500..=1500 {
            let x = f64::from(hundredths) / 100.0;
            let expected = 1.0 / (1.0 + (-x).exp());
            assert!((sigmoid(x) / expected - 1.0).abs() < 1e-12, "{x}");
        }
    }

    #[test]
    fn the_win_is_large_right_and_small_wrong_and_every_model_falls_with_difficulty() {
        let curve: Vec<Truth> = (-600..=900).map(Truth::at).collect();
        for truth in &curve {
            let [small, medium, large] = truth.success;
            assert!((large * (1.0 - small) - truth.win).abs() < 1e-12, "{truth:?}");
            assert!(0.0 <= small && small < medium && medium < large && large < 1.0, "{truth:?}");
        }
        for pair in curve.windows(2) {
            for (before, after) in pair[0].success.iter().zip(pair[1].success) {
                assert!(after <= before + 1e-12 && after > before - 0.01, "{pair:?}");
            }
        }
        let summit = Truth::at(SUMMIT_HUNDREDTHS).win;
        assert!(curve.iter().all(|t| t.win <= summit));
        assert!(Truth::at(900).win < 0.1 && Truth::at(-400).win < 0.02);
    }
}
