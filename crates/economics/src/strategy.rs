//! Expected cost per request of routing before the answer (router), after it (cascade), or not at all.
//! Which of them answers well enough is measured elsewhere.

use crate::EconomicsError;
use crate::error::{amount, positive, share};

/// Expected cost of a router: `r + (1 - q)·c + q·C` for router cost r, weak call c, strong call C and
/// strong-call rate q (methods section 4).
///
/// # Errors
/// When a cost is negative or not finite, or the rate is outside [0, 1].
pub fn router_cost(
    router: f64,
    weak: f64,
    strong: f64,
    strong_call_rate: f64,
) -> Result<f64, EconomicsError> {
    let q = share("strong-call rate", strong_call_rate)?;
    let (weak, strong) = (amount("weak cost", weak)?, amount("strong cost", strong)?);
    Ok(amount("router cost", router)? + (1.0 - q) * weak + q * strong)
}

/// Expected cost of a two-stage cascade: `c + v + p·C` for verifier cost v and escalation rate p.
///
/// # Errors
/// When a cost is negative or not finite, or the rate is outside [0, 1].
pub fn cascade_cost(
    weak: f64,
    verifier: f64,
    strong: f64,
    escalation_rate: f64,
) -> Result<f64, EconomicsError> {
    let p = share("escalation rate", escalation_rate)?;
    let first = amount("weak cost", weak)? + amount("verifier cost", verifier)?;
    Ok(first + p * amount("strong cost", strong)?)
}

/// The escalation rate below which a cascade is cheaper than always calling strong,
/// `1 - (c + v) / C`; negative when it never is.
///
/// # Errors
/// When a cost is negative or not finite, or strong costs nothing.
pub fn break_even_escalation(weak: f64, verifier: f64, strong: f64) -> Result<f64, EconomicsError> {
    let first = amount("weak cost", weak)? + amount("verifier cost", verifier)?;
    Ok(1.0 - first / positive("strong cost", strong)?)
}

/// The escalation rate below which a cascade is cheaper than a router with strong-call rate q,
/// `q·(1 - c / C) - (v - r) / C`.
///
/// # Errors
/// When a cost is negative or not finite, strong costs nothing, or the rate is outside [0, 1].
pub fn cascade_beats_router_below(
    router: f64,
    weak: f64,
    verifier: f64,
    strong: f64,
    strong_call_rate: f64,
) -> Result<f64, EconomicsError> {
    let strong_cost = positive("strong cost", strong)?;
    let routed = router_cost(router, weak, strong, strong_call_rate)?;
    let unescalated = cascade_cost(weak, verifier, strong, 0.0)?;
    Ok((routed - unescalated) / strong_cost)
}

/// The expected gain in success from which the strong model is worth its price, `(C - c) / V` for a
/// correct answer worth V (methods section 4, utility rule). Above 1 no query is worth it; at or below 0
/// strong is no dearer and always worth it.
///
/// # Errors
/// When a cost is negative or not finite, or the value is not above 0.
pub fn gain_worth_paying(weak: f64, strong: f64, value_per_correct: f64) -> Result<f64, EconomicsError> {
    let extra = amount("strong cost", strong)? - amount("weak cost", weak)?;
    Ok(extra / positive("value per correct answer", value_per_correct)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WEAK: f64 = 0.00036;
    const STRONG: f64 = 0.004;
    const VERIFIER: f64 = 5e-5;
    const ROUTER: f64 = 2e-5;

    fn close(found: Result<f64, EconomicsError>, expected: f64) {
        let found = found.unwrap();
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }

    #[test]
    fn costs_agree_with_the_reference() {
        close(break_even_escalation(WEAK, VERIFIER, STRONG), 0.8975);
        for (p, expected) in [(0.1, 0.00081), (0.3, 0.00161), (0.6, 0.00281)] {
            close(cascade_cost(WEAK, VERIFIER, STRONG, p), expected);
        }
        for (q, expected) in [(0.1, 0.000744), (0.3, 0.001472), (0.6, 0.002564)] {
            close(router_cost(ROUTER, WEAK, STRONG, q), expected);
        }
        close(cascade_beats_router_below(ROUTER, WEAK, VERIFIER, STRONG, 0.4), 0.3565);
        close(gain_worth_paying(0.0012, 0.012, 0.25), 0.0432);
        close(gain_worth_paying(0.0012, 0.012, 0.05), 0.216);
    }

    #[test]
    fn impossible_numbers_are_refused() {
        assert!(router_cost(ROUTER, WEAK, STRONG, 1.1).is_err());
        assert!(cascade_cost(-1.0, VERIFIER, STRONG, 0.5).is_err());
        assert!(break_even_escalation(WEAK, VERIFIER, 0.0).is_err());
        assert!(gain_worth_paying(WEAK, STRONG, f64::NAN).is_err());
    }

    proptest! {
        #[test]
        fn at_the_break_even_both_cost_the_same(
            weak in 0.0..1.0f64, dearer in 0.01..5.0f64, v in 0.0..0.1f64, r in 0.0..0.1f64, q in 0.0..=1.0f64,
        ) {
            let strong = weak + dearer;
            let p = cascade_beats_router_below(r, weak, v, strong, q).unwrap();
            prop_assume!((0.0..=1.0).contains(&p));
            let cascade = cascade_cost(weak, v, strong, p).unwrap();
            prop_assert!((cascade - router_cost(r, weak, strong, q).unwrap()).abs() < 1e-12);
        }
    }
}
