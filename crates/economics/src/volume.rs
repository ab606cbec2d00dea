//! How much traffic it takes until routing pays for itself, and how soon.

use crate::EconomicsError;
use crate::error::amount;

/// Days of a month, for fixed costs.
const DAYS_PER_MONTH: f64 = 30.0;

/// What a strategy (a router, a cascade) changes for one request, compared with always calling strong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PerRequest {
    /// A call of strong.
    pub strong_usd: f64,
    /// A request under the strategy, decisions and verifiers included: see [`crate::router_cost`],
    /// [`crate::cascade_cost`] and [`crate::Stages::expected_cost_usd`].
    pub strategy_usd: f64,
    /// Additional share of wrong answers, in [-1, 1]; negative where routing is better than strong alone.
    pub extra_error_rate: f64,
    /// What a correct answer is worth.
    pub value_per_correct_usd: f64,
}

/// What routing costs however little traffic there is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Upkeep {
    /// Per month: machines, people.
    pub monthly_usd: f64,
    /// Once: integration, first labels.
    pub setup_usd: f64,
}

impl PerRequest {
    /// Spend saved by a request, without what errors cost; negative where the strategy is dearer.
    ///
    /// # Errors
    /// When a number is out of its range.
    pub fn saving_usd(&self) -> Result<f64, EconomicsError> {
        Ok(amount("strong cost", self.strong_usd)? - amount("strategy cost", self.strategy_usd)?)
    }

    /// Net worth of routing a request: the saving less what additional errors cost, `dErr·V`
    /// (methods section 4, volume).
    ///
    /// # Errors
    /// When a number is out of its range.
    pub fn net_usd(&self) -> Result<f64, EconomicsError> {
        let error = self.extra_error_rate;
        if !(-1.0..=1.0).contains(&error) {
            let (field, expected) = ("extra error rate", "a difference of shares in [-1, 1]");
            return Err(EconomicsError::OutOfRange { field, value: error, expected });
        }
        Ok(self.saving_usd()? - error * amount("value per correct answer", self.value_per_correct_usd)?)
    }

    /// The additional error rate at which routing a request is worth nothing, `saving / V`; infinite
    /// when a correct answer is worth nothing.
    ///
    /// # Errors
    /// When a number is out of its range.
    pub fn break_even_extra_error_rate(&self) -> Result<f64, EconomicsError> {
        let value = amount("value per correct answer", self.value_per_correct_usd)?;
        let saving = self.saving_usd()?;
        Ok(if value > 0.0 { saving / value } else { f64::INFINITY })
    }
}

impl Upkeep {
    /// Requests per day from which routing no longer loses money, `fixed / (30·net)`; infinite when a
    /// request nets nothing. Setup is not paid back at this point: see [`Self::payback_days`].
    ///
    /// # Errors
    /// When a number is out of its range.
    pub fn break_even_requests_per_day(&self, request: &PerRequest) -> Result<f64, EconomicsError> {
        let net = request.net_usd()?;
        let monthly = amount("monthly cost", self.monthly_usd)?;
        Ok(if net > 0.0 { monthly / (DAYS_PER_MONTH * net) } else { f64::INFINITY })
    }

    /// Days until the setup is paid back, `setup / (N·net - fixed / 30)`; infinite when a day nets nothing.
    ///
    /// # Errors
    /// When a number is out of its range.
    pub fn payback_days(&self, request: &PerRequest, requests_per_day: f64) -> Result<f64, EconomicsError> {
        let requests = amount("requests per day", requests_per_day)?;
        let daily =
            requests * request.net_usd()? - amount("monthly cost", self.monthly_usd)? / DAYS_PER_MONTH;
        let setup = amount("setup cost", self.setup_usd)?;
        Ok(if daily > 0.0 { setup / daily } else { f64::INFINITY })
    }

    /// What routing nets in a month, setup not counted.
    ///
    /// # Errors
    /// When a number is out of its range.
    pub fn net_usd_per_month(
        &self,
        request: &PerRequest,
        requests_per_day: f64,
    ) -> Result<f64, EconomicsError> {
        let requests = amount("requests per day", requests_per_day)?;
        let monthly = amount("monthly cost", self.monthly_usd)?;
        Ok(DAYS_PER_MONTH * requests * request.net_usd()? - monthly)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A router that costs 5e-5 and sends 0.4 of the calls to a model of 0.012 USD, the rest to one of 0.0012.
    const REQUEST: PerRequest = PerRequest {
        strong_usd: 0.012,
        strategy_usd: 0.00557,
        extra_error_rate: 0.004,
        value_per_correct_usd: 0.25,
    };
    const UPKEEP: Upkeep = Upkeep { monthly_usd: 1100.0, setup_usd: 9030.0 };

    #[test]
    fn volumes_agree_with_the_reference() {
        let close = |found: Result<f64, EconomicsError>, expected: f64| {
            let found = found.unwrap();
            assert!((found / expected - 1.0).abs() < 1e-11, "{found} {expected}");
        };
        close(crate::router_cost(0.00005, 0.0012, 0.012, 0.4), REQUEST.strategy_usd);
        close(REQUEST.net_usd(), 0.00543);
        close(REQUEST.break_even_extra_error_rate(), 0.02572);
        close(UPKEEP.break_even_requests_per_day(&REQUEST), 6752.608962553713);
        close(UPKEEP.payback_days(&REQUEST, 10_000.0), 512.0982986767482);
        close(UPKEEP.payback_days(&REQUEST, 50_000.0), 38.452803406671386);
    }

    #[test]
    fn what_never_pays_is_infinite() {
        let costly = PerRequest { extra_error_rate: 0.03, ..REQUEST };
        assert!(costly.net_usd().unwrap() < 0.0);
        assert_eq!(UPKEEP.break_even_requests_per_day(&costly), Ok(f64::INFINITY));
        assert_eq!(UPKEEP.payback_days(&costly, 1e9), Ok(f64::INFINITY));
        assert_eq!(UPKEEP.payback_days(&REQUEST, 500.0), Ok(f64::INFINITY));
        assert!(PerRequest { extra_error_rate: f64::NAN, ..REQUEST }.net_usd().is_err());
    }

    proptest! {
        #[test]
        fn at_the_break_even_a_month_nets_nothing(
            cost in 0.0..0.012f64, error in -0.01..0.01f64, monthly in 1.0..5000.0f64,
        ) {
            let request = PerRequest { strategy_usd: cost, extra_error_rate: error, ..REQUEST };
            let upkeep = Upkeep { monthly_usd: monthly, setup_usd: 0.0 };
            let requests = upkeep.break_even_requests_per_day(&request).unwrap();
            prop_assume!(requests.is_finite());
            let net = upkeep.net_usd_per_month(&request, requests).unwrap();
            prop_assert!(net.abs() < 1e-9 * monthly, "{net}");
        }
    }
}
