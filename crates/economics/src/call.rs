//! What one call of one model really costs: the list price is the smallest part of the answer.
//! Tokens are counted by one reference tokenizer for every model, so that models can be compared.

use crate::EconomicsError;
use crate::error::{amount, positive, share};

/// What a vendor charges for one model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    /// Uncached input, at least 0.
    pub input_usd_per_million_tokens: f64,
    /// Output, hidden reasoning included, at least 0.
    pub output_usd_per_million_tokens: f64,
    /// Price of an input token read from the prefix cache as a multiple of an uncached one.
    pub cache_read_multiplier: f64,
    /// Price of an input token written to the prefix cache as a multiple of an uncached one.
    pub cache_write_multiplier: f64,
    /// Price of a call made by the batch interface as a multiple of an ordinary one.
    pub batch_multiplier: f64,
}

impl Price {
    /// List prices without a cache or batch discount.
    pub fn list(input_usd_per_million_tokens: f64, output_usd_per_million_tokens: f64) -> Self {
        Self {
            input_usd_per_million_tokens,
            output_usd_per_million_tokens,
            cache_read_multiplier: 1.0,
            cache_write_multiplier: 1.0,
            batch_multiplier: 1.0,
        }
    }

    /// Reads per write from which the prefix cache saves money, `(w - 1) / (1 - r)` for write and read
    /// multipliers w and r; infinite when a read is no cheaper than an uncached token (methods section 4).
    pub fn cache_break_even_reads(&self) -> f64 {
        let (extra, saved) = (self.cache_write_multiplier - 1.0, 1.0 - self.cache_read_multiplier);
        if saved > 0.0 { (extra / saved).max(0.0) } else { f64::INFINITY }
    }
}

/// How calls share a cached prefix.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CacheUse {
    /// Share of the input that is a stable prefix, in [0, 1].
    pub prefix_share: f64,
    /// Mean number of reads per write while the cache lives, at least 0; infinity: written once.
    pub reads_per_write: f64,
}

impl CacheUse {
    /// No prefix is cached.
    pub const NONE: Self = Self { prefix_share: 0.0, reads_per_write: 0.0 };

    /// What is left of the cache for a model that gets only `traffic_share` of the calls, at random.
    ///
    /// A life of the cache sees `m = 1 + h` calls, h the reads per write of an undivided stream. The model
    /// gets s·m of them and writes in every life that reaches it at all, `1 - (1 - s)^m`: per write
    /// there are `s·m / (1 - (1 - s)^m) - 1` reads. At s = 1 that is h, as s falls it goes to 0.
    ///
    /// # Errors
    /// When the share is outside [0, 1].
    pub fn split(self, traffic_share: f64) -> Result<Self, EconomicsError> {
        let s = share("traffic share", traffic_share)?;
        if s == 0.0 || self.reads_per_write.is_infinite() {
            let reads_per_write = if s == 0.0 { 0.0 } else { f64::INFINITY };
            return Ok(Self { reads_per_write, ..self });
        }
        let calls = 1.0 + self.reads_per_write;
        let reached = -(calls * (-s).ln_1p()).exp_m1();
        Ok(Self { reads_per_write: (s * calls / reached - 1.0).max(0.0), ..self })
    }

    /// Mean price of an input token as a multiple of an uncached one.
    fn input_multiplier(self, price: &Price) -> Result<f64, EconomicsError> {
        let prefix = share("prefix_share", self.prefix_share)?;
        if self.reads_per_write.is_nan() || self.reads_per_write < 0.0 {
            let (field, value) = ("reads_per_write", self.reads_per_write);
            return Err(EconomicsError::OutOfRange { field, value, expected: "a number of at least 0" });
        }
        let read = amount("cache_read_multiplier", price.cache_read_multiplier)?;
        let write = amount("cache_write_multiplier", price.cache_write_multiplier)?;
        let written = 1.0 / (1.0 + self.reads_per_write);
        Ok((1.0 - prefix) + prefix * (written * write + (1.0 - written) * read))
    }
}

/// A typical call of one model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Call {
    /// Input in tokens of the reference tokenizer.
    pub input_tokens: f64,
    /// Visible output of the reference model, in tokens of the reference tokenizer.
    pub output_tokens: f64,
    /// Tokens of this model's tokenizer per reference token, above 0.
    pub tokenizer_inflation: f64,
    /// Visible output of this model per visible output of the reference model, above 0.
    pub verbosity: f64,
    /// Hidden reasoning tokens per visible output token, at least 0.
    pub reasoning_per_output_token: f64,
    /// How calls share a cached prefix.
    pub cache: CacheUse,
    /// Share of calls made by the batch interface, in [0, 1].
    pub batch_share: f64,
}

impl Call {
    /// A call of the reference model: no cache, no batch, no hidden tokens.
    pub fn plain(input_tokens: f64, output_tokens: f64) -> Self {
        Self {
            input_tokens,
            output_tokens,
            tokenizer_inflation: 1.0,
            verbosity: 1.0,
            reasoning_per_output_token: 0.0,
            cache: CacheUse::NONE,
            batch_share: 0.0,
        }
    }

    /// Effective price of the call in US dollars (methods section 4):
    /// `[Tin·k·m_in·p_in + Tout·k·v·(1 + r)·p_out] / 10^6 · ((1 - b) + b·β)` with
    /// `m_in = (1 - f) + f·(w·m_w + (1 - w)·m_r)` and `w = 1 / (1 + h)`.
    ///
    /// # Errors
    /// When a number of the call or the price is out of its range; the field is named.
    pub fn cost_usd(&self, price: &Price) -> Result<f64, EconomicsError> {
        let inflation = positive("tokenizer_inflation", self.tokenizer_inflation)?;
        let input = amount("input_tokens", self.input_tokens)?
            * inflation
            * self.cache.input_multiplier(price)?
            * amount("input_usd_per_million_tokens", price.input_usd_per_million_tokens)?;
        let output = amount("output_tokens", self.output_tokens)?
            * inflation
            * positive("verbosity", self.verbosity)?
            * (1.0 + amount("reasoning_per_output_token", self.reasoning_per_output_token)?)
            * amount("output_usd_per_million_tokens", price.output_usd_per_million_tokens)?;
        let batch = share("batch_share", self.batch_share)?;
        let discount = (1.0 - batch) + batch * amount("batch_multiplier", price.batch_multiplier)?;
        // Each number is finite; what they multiply to need not be.
        amount("cost of a call", (input + output) / 1e6 * discount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The reference's models: 1/5 and .1/.4 USD per million tokens, cache read .1, write 1.25, batch .5.
    fn prices() -> [Price; 2] {
        [(1.0, 5.0), (0.1, 0.4)].map(|(input, output)| Price {
            cache_read_multiplier: 0.1,
            cache_write_multiplier: 1.25,
            batch_multiplier: 0.5,
            ..Price::list(input, output)
        })
    }

    #[test]
    fn effective_prices_agree_with_the_reference() {
        let plain = Call::plain(2000.0, 400.0);
        let cached = |h| Call { cache: CacheUse { prefix_share: 0.8, reads_per_write: h }, ..plain };
        let wordy = Call { tokenizer_inflation: 1.3, ..plain };
        let cases = [
            (plain, [0.004, 0.00036]),
            (cached(9.0), [0.002744, 0.0002344]),
            (cached(0.2), [0.004093333333333333, 0.0003693333333333334]),
            (Call { batch_share: 1.0, ..plain }, [0.002, 0.00018]),
            (Call { batch_share: 0.3, ..cached(9.0) }, [0.0023323999999999997, 0.00019924]),
            (wordy, [0.0052, 0.000468]),
            (Call { verbosity: 1.5, reasoning_per_output_token: 2.0, ..wordy }, [0.0143, 0.001196]),
        ];
        for (call, expected) in cases {
            for (price, expected) in prices().iter().zip(expected) {
                let found = call.cost_usd(price).unwrap();
                assert!((found - expected).abs() < 1e-12, "{found} {expected}");
            }
        }
        assert!((prices()[0].cache_break_even_reads() - 0.25 / 0.9).abs() < 1e-12);
        assert_eq!(Price::list(1.0, 1.0).cache_break_even_reads(), f64::INFINITY);
    }

    #[test]
    fn impossible_numbers_are_refused_by_name() {
        let plain = Call::plain(2000.0, 400.0);
        let field = |call: Call, price: Price| match call.cost_usd(&price) {
            Err(EconomicsError::OutOfRange { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        let [price, _] = prices();
        assert_eq!(field(Call { batch_share: 1.2, ..plain }, price), "batch_share");
        assert_eq!(field(Call { verbosity: 0.0, ..plain }, price), "verbosity");
        assert_eq!(field(Call::plain(f64::NAN, 1.0), price), "input_tokens");
        assert_eq!(field(plain, Price::list(-1.0, 1.0)), "input_usd_per_million_tokens");
        let cache = CacheUse { prefix_share: 0.5, reads_per_write: -1.0 };
        assert_eq!(field(Call { cache, ..plain }, price), "reads_per_write");
        assert!(cache.split(1.5).is_err());
    }

    #[test]
    fn a_split_cache_agrees_with_counting() {
        // Two calls a life, half of them each: 1/4 of lives see none, 1/2 one, 1/4 two calls of a model.
        let whole = CacheUse { prefix_share: 0.8, reads_per_write: 1.0 };
        let half = whole.split(0.5).unwrap().reads_per_write;
        assert!((half - 0.25 / 0.75).abs() < 1e-12, "{half}");
        assert_eq!(whole.split(1.0).unwrap(), whole);
        assert_eq!(whole.split(0.0).unwrap().reads_per_write, 0.0);
    }

    proptest! {
        #[test]
        fn splitting_the_traffic_never_helps_the_cache(h in 0.0..100.0f64, a in 0.0..=1.0f64, b in 0.0..=1.0f64) {
            let reads = |s| CacheUse { prefix_share: 1.0, reads_per_write: h }.split(s).unwrap().reads_per_write;
            prop_assert!(reads(a.min(b)) <= reads(a.max(b)) + 1e-9);
            prop_assert!((0.0..=h + 1e-9).contains(&reads(a)));
        }
    }
}
