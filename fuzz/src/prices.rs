//! `prices.toml`: a price that is read is an amount, and a number that can be none is refused by its name.

use economics::{Prices, PricesError};

/// Reads prices and asks for everything there is a price of.
pub fn decode(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let prices = match Prices::parse("prices.toml", &text) {
        Ok(prices) => prices,
        Err(error) => return is_told(&error),
    };
    assert!(!prices.valid_on().to_string().is_empty());
    if let Some((upkeep, per_request)) = prices.upkeep() {
        for amount in [upkeep.monthly_usd, upkeep.setup_usd, per_request] {
            assert!(amount.is_finite() && amount >= 0.0, "{amount} is no upkeep");
        }
    }
    let models: Vec<&str> = prices.models().collect();
    for model in &models {
        let calls = [0.0, 0.5, 1.0].map(|share| prices.call_usd(model, share));
        let answers = [prices.answer_usd(model, 0.0, 0.0), prices.answer_usd(model, 1e6, 1e6)];
        for cost in calls.into_iter().chain(answers) {
            match cost {
                Ok(usd) => assert!(usd.is_finite() && usd >= 0.0, "{model} costs {usd}"),
                Err(error) => is_told(&error),
            }
        }
        match prices.latency_s(model) {
            Ok(latency) => assert!(latency.is_none_or(|s| s.is_finite() && s >= 0.0), "{latency:?}"),
            Err(error) => is_told(&error),
        }
    }
    if !models.contains(&"nobody") {
        assert!(prices.call_usd("nobody", 1.0).is_err());
    }
}

fn is_told(error: &PricesError) {
    let text = error.to_string();
    assert!(text.len() > "prices.toml: ".len() && text.starts_with("prices.toml: "), "{text}");
}
