//! A chain of models tried one after the other: what a request costs and how long it takes, on average
//! and in the tail.

use crate::EconomicsError;
use crate::error::{amount, share};

/// One model of a chain with the verifier behind it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stage {
    /// The model's call.
    pub call_usd: f64,
    /// Judging its answer; 0 for the last stage.
    pub verifier_usd: f64,
    /// The model's call.
    pub call_s: f64,
    /// Judging its answer; 0 for the last stage.
    pub verifier_s: f64,
    /// Share of the answers that reach this stage and are sent on, in [0, 1]; ignored for the last.
    pub escalation_rate: f64,
}

/// A total latency and how often it happens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LatencyAtom {
    /// Share of the requests.
    pub probability: f64,
    /// Their latency.
    pub latency_s: f64,
}

/// A chain of at least one stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Stages(Vec<Stage>);

impl Stages {
    /// A chain, first stage first.
    ///
    /// # Errors
    /// When it is empty, or a number is out of its range.
    pub fn new(stages: Vec<Stage>) -> Result<Self, EconomicsError> {
        if stages.is_empty() {
            return Err(EconomicsError::NoStage);
        }
        for stage in &stages {
            amount("call_usd", stage.call_usd)?;
            amount("verifier_usd", stage.verifier_usd)?;
            amount("call_s", stage.call_s)?;
            amount("verifier_s", stage.verifier_s)?;
            share("escalation_rate", stage.escalation_rate)?;
        }
        Ok(Self(stages))
    }

    /// Share of the requests that reach each stage: 1, then the product of the escalation rates before.
    pub fn reach(&self) -> Vec<f64> {
        let mut reached = 1.0;
        let next = |stage: &Stage| {
            let here = reached;
            reached *= stage.escalation_rate;
            here
        };
        self.0.iter().map(next).collect()
    }

    /// Expected cost of a request: stages weighted by their reach (methods section 4, k stages).
    pub fn expected_cost_usd(&self) -> f64 {
        self.expected(|stage| stage.call_usd + stage.verifier_usd)
    }

    /// Expected latency of a request.
    pub fn expected_latency_s(&self) -> f64 {
        self.expected(|stage| stage.call_s + stage.verifier_s)
    }

    fn expected(&self, of: impl Fn(&Stage) -> f64) -> f64 {
        self.reach().iter().zip(&self.0).map(|(reach, stage)| reach * of(stage)).sum()
    }

    /// The latency of a request is one of k sums: through the first stage, the first two, ... all.
    pub fn latency_atoms(&self) -> Vec<LatencyAtom> {
        let last = self.0.len() - 1;
        let mut latency_s = 0.0;
        let atom = |(i, (reach, stage)): (usize, (f64, &Stage))| {
            latency_s += stage.call_s + stage.verifier_s;
            let stays = if i == last { 1.0 } else { 1.0 - stage.escalation_rate };
            LatencyAtom { probability: reach * stays, latency_s }
        };
        self.reach().into_iter().zip(&self.0).enumerate().map(atom).collect()
    }

    /// [`latency_quantile_s`] of the chain.
    ///
    /// # Errors
    /// When `q` is outside [0, 1].
    pub fn latency_quantile_s(&self, q: f64) -> Result<f64, EconomicsError> {
        latency_quantile_s(&self.latency_atoms(), q)
    }

    /// Whether stage `j` is worth its place: what it costs is less than what the answers that it keeps would cost
    /// further on, `c_j + v_j < (1 - d_j)·E[cost after j]` for escalation rate d (methods section 4, at equal
    /// accuracy). The last stage always is.
    pub fn worth_its_place(&self, j: usize) -> bool {
        let Some((stage, after)) = self.0.get(j).zip(self.0.get(j + 1..)) else { return true };
        if after.is_empty() {
            return true;
        }
        let beyond = Self(after.to_vec()).expected_cost_usd();
        stage.call_usd + stage.verifier_usd < (1.0 - stage.escalation_rate) * beyond
    }
}

/// The least latency that at least a share `q` of the requests meet, such as q = 0.99 for the p99. Probabilities of
/// the atoms add up to 1.
///
/// # Errors
/// When `q` is outside [0, 1].
pub fn latency_quantile_s(atoms: &[LatencyAtom], q: f64) -> Result<f64, EconomicsError> {
    share("quantile", q)?;
    let mut rising = atoms.to_vec();
    rising.sort_by(|a, b| a.latency_s.total_cmp(&b.latency_s));
    let (mut below, mut latency_s) = (0.0, 0.0);
    for atom in rising {
        latency_s = atom.latency_s;
        below += atom.probability;
        // Reaches are products: allow for their rounding, so that a sum of 1 is one.
        if below >= q - 1e-12 {
            break;
        }
    }
    Ok(latency_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Stages {
        let stage = |call_usd, verifier_usd, call_s, verifier_s, escalation_rate| Stage {
            call_usd,
            verifier_usd,
            call_s,
            verifier_s,
            escalation_rate,
        };
        Stages::new(vec![
            stage(0.0002, 0.00002, 0.4, 0.05, 0.35),
            stage(0.001, 0.00003, 0.9, 0.05, 0.4),
            stage(0.006, 0.0, 2.5, 0.0, 0.0),
        ])
        .unwrap()
    }

    #[test]
    fn a_chain_agrees_with_the_reference() {
        let chain = chain();
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found}");
        close(chain.expected_cost_usd(), 0.0014205);
        close(chain.expected_latency_s(), 1.1325);
        let expected = [(0.65, 0.45), (0.21, 1.4), (0.14, 3.9)];
        for (atom, (probability, latency_s)) in chain.latency_atoms().iter().zip(expected) {
            close(atom.probability, probability);
            close(atom.latency_s, latency_s);
        }
        close(chain.latency_quantile_s(0.5).unwrap(), 0.45);
        close(chain.latency_quantile_s(0.65).unwrap(), 0.45);
        close(chain.latency_quantile_s(0.7).unwrap(), 1.4);
        // More than 1 % of the requests go all the way: the p99 is the whole chain.
        close(chain.latency_quantile_s(0.99).unwrap(), 3.9);
        close(chain.latency_quantile_s(1.0).unwrap(), 3.9);
    }

    #[test]
    fn a_stage_is_worth_its_place_while_it_keeps_enough() {
        // The reference: 0.001 + 0.00003 < (1 - 0.4) x 0.006.
        assert!(chain().worth_its_place(1) && chain().worth_its_place(0) && chain().worth_its_place(2));
        let idle = Stage { escalation_rate: 0.9, ..chain().0[1] };
        assert!(!Stages::new(vec![idle, chain().0[2]]).unwrap().worth_its_place(0));
    }

    #[test]
    fn a_router_has_two_atoms() {
        let atoms = |q| {
            [
                LatencyAtom { probability: q, latency_s: 2.5 },
                LatencyAtom { probability: 1.0 - q, latency_s: 0.4 },
            ]
        };
        assert_eq!(latency_quantile_s(&atoms(0.3), 0.5), Ok(0.4));
        assert_eq!(latency_quantile_s(&atoms(0.3), 0.99), Ok(2.5));
        assert_eq!(latency_quantile_s(&atoms(0.005), 0.99), Ok(0.4));
    }

    #[test]
    fn impossible_chains_are_refused() {
        assert_eq!(Stages::new(vec![]), Err(EconomicsError::NoStage));
        let bad = Stage { escalation_rate: 1.5, ..chain().0[0] };
        assert!(matches!(
            Stages::new(vec![bad]),
            Err(EconomicsError::OutOfRange { field: "escalation_rate", .. })
        ));
        assert!(chain().latency_quantile_s(f64::NAN).is_err());
    }
}
