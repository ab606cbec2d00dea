//! What an encoder is: the shape of its checkpoint and the options that trade quality for time.
//! Read from and written as `config.json` in the field's public format, our options under the key `rung`.

use serde::{Deserialize, Serialize};

use crate::EncoderError;

/// The shape of a BERT encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// Rows of the word table.
    pub vocabulary: usize,
    /// Length of a token's vector.
    pub hidden: usize,
    /// Length of a token's vector inside a feed-forward block.
    pub intermediate: usize,
    /// Layers of the checkpoint.
    pub layers: usize,
    /// Attention heads; they divide `hidden`.
    pub heads: usize,
    /// The longest sequence, in tokens with the two special ones.
    pub positions: usize,
    /// Rows of the token-type table; only the first is used.
    pub token_types: usize,
    /// Added to the variance in layer normalisation.
    pub epsilon: f64,
}

/// How the vectors of the tokens become the vector of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean (MiniLM, e5).
    Mean,
    /// The first token's (bge).
    Cls,
    /// A mean weighted by a softmax over the product with a learned vector.
    Attention,
}

impl Pooling {
    /// Its name in files and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Cls => "cls",
            Self::Attention => "attention",
        }
    }

    /// Parses a name; `None` for any other text.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Mean, Self::Cls, Self::Attention].into_iter().find(|p| p.as_str() == name)
    }
}

/// What trades quality for time. `None` of everything: the checkpoint as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EncoderOptions {
    /// Use the first so many layers.
    pub layers: Option<usize>,
    /// Read at most so many tokens from the head of a text, special ones not counted.
    pub head_tokens: Option<usize>,
    /// And so many from its tail when it is longer.
    pub tail_tokens: Option<usize>,
    /// Pool in this way.
    pub pooling: Option<Pooling>,
    /// Put this in front of every text (e5 wants `query: `).
    pub prefix: Option<String>,
}

/// The labels that an encoder was tuned on. Its vectors of those rows say more than those of new ones, so a
/// classifier that reads them may not be calibrated or measured there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TunedOn {
    /// Fingerprint of the whole data set.
    pub data: String,
    /// Seed of its split.
    pub seed: u64,
    /// Fingerprint of the rows whose labels were seen: those fitted on and those stopped on.
    pub rows: String,
}

/// Shape and options of an encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderConfig {
    /// The shape; `layers` of it are used.
    pub shape: Shape,
    /// Tokens read from the head of a text, special ones not counted.
    pub head_tokens: usize,
    /// Tokens read from its tail when it is longer.
    pub tail_tokens: usize,
    /// How vectors of tokens become one.
    pub pooling: Pooling,
    /// Put in front of every text.
    pub prefix: String,
    /// The labels it has seen; `None` of a checkpoint that was never tuned here.
    pub tuned_on: Option<TunedOn>,
}

/// Tokens of the head and of the tail that are read unless told otherwise: what a decision can afford.
const TOKEN_BUDGET: (usize, usize) = (192, 62);

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    model_type: String,
    #[serde(default = "gelu")]
    hidden_act: String,
    #[serde(default = "absolute")]
    position_embedding_type: String,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    max_position_embeddings: usize,
    type_vocab_size: usize,
    layer_norm_eps: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rung: Option<OptionsRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OptionsRecord {
    head_tokens: usize,
    tail_tokens: usize,
    pooling: String,
    prefix: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tuned_on: Option<TunedOn>,
}

fn gelu() -> String {
    "gelu".to_owned()
}

fn absolute() -> String {
    "absolute".to_owned()
}

impl EncoderConfig {
    /// Reads `config.json` and applies options on top of what it says.
    ///
    /// # Errors
    /// When the bytes are no configuration of a BERT encoder with exact GELU and absolute positions, or an
    /// option does not fit it.
    pub fn read(config: &[u8], options: &EncoderOptions) -> Result<Self, EncoderError> {
        let record: Record =
            serde_json::from_slice(config).map_err(|e| EncoderError::Config(e.to_string()))?;
        only("model_type", &record.model_type, "bert")?;
        only("hidden_act", &record.hidden_act, "gelu")?;
        only("position_embedding_type", &record.position_embedding_type, "absolute")?;
        let written = record.rung.unwrap_or(OptionsRecord {
            head_tokens: TOKEN_BUDGET.0.min(record.max_position_embeddings.saturating_sub(2)),
            tail_tokens: TOKEN_BUDGET
                .1
                .min(record.max_position_embeddings.saturating_sub(2).saturating_sub(TOKEN_BUDGET.0)),
            pooling: Pooling::Mean.as_str().to_owned(),
            prefix: String::new(),
            tuned_on: None,
        });
        let Some(pooling) = Pooling::parse(&written.pooling) else {
            return Err(EncoderError::Unsupported {
                field: "rung.pooling",
                expected: "mean, cls or attention".to_owned(),
                found: written.pooling,
            });
        };
        let config = Self {
            shape: Shape {
                vocabulary: record.vocab_size,
                hidden: record.hidden_size,
                intermediate: record.intermediate_size,
                layers: options.layers.unwrap_or(record.num_hidden_layers),
                heads: record.num_attention_heads,
                positions: record.max_position_embeddings,
                token_types: record.type_vocab_size,
                epsilon: record.layer_norm_eps,
            },
            head_tokens: options.head_tokens.unwrap_or(written.head_tokens),
            tail_tokens: options.tail_tokens.unwrap_or(written.tail_tokens),
            pooling: options.pooling.unwrap_or(pooling),
            prefix: options.prefix.clone().unwrap_or(written.prefix),
            tuned_on: written.tuned_on,
        };
        config.check(record.num_hidden_layers)?;
        Ok(config)
    }

    pub(crate) fn check(&self, layers: usize) -> Result<(), EncoderError> {
        let Shape { hidden, heads, positions, .. } = self.shape;
        let fits = |option, found: usize, expected: String, fits: bool| {
            if fits {
                return Ok(());
            }
            Err(EncoderError::Option { option, expected, found: found.to_string() })
        };
        let used = self.shape.layers;
        fits("layers", used, format!("1 to {layers}"), (1..=layers).contains(&used))?;
        let divides = heads > 0 && hidden > 0 && hidden.is_multiple_of(heads);
        fits("num_attention_heads", heads, format!("a divisor of hidden_size {hidden}"), divides)?;
        let epsilon = self.shape.epsilon;
        if !(epsilon.is_finite() && epsilon > 0.0) {
            let (expected, found) = ("a number above 0".to_owned(), epsilon.to_string());
            return Err(EncoderError::Option { option: "layer_norm_eps", expected, found });
        }
        let most = positions.saturating_sub(2);
        let budget = self.head_tokens.saturating_add(self.tail_tokens);
        let within = self.head_tokens > 0 && budget <= most;
        fits("head_tokens + tail_tokens", budget, format!("1 to {most}, with a head"), within)?;
        let sizes = [self.shape.vocabulary, self.shape.intermediate, self.shape.token_types];
        fits(
            "vocab_size, intermediate_size, type_vocab_size",
            0,
            "at least 1".to_owned(),
            !sizes.contains(&0),
        )
    }

    /// The configuration as `config.json`; what [`EncoderConfig::read`] reads without options.
    ///
    /// # Errors
    /// When a number is not finite.
    pub fn to_json(&self) -> Result<Vec<u8>, EncoderError> {
        let record = Record {
            model_type: "bert".to_owned(),
            hidden_act: gelu(),
            position_embedding_type: absolute(),
            vocab_size: self.shape.vocabulary,
            hidden_size: self.shape.hidden,
            intermediate_size: self.shape.intermediate,
            num_hidden_layers: self.shape.layers,
            num_attention_heads: self.shape.heads,
            max_position_embeddings: self.shape.positions,
            type_vocab_size: self.shape.token_types,
            layer_norm_eps: self.shape.epsilon,
            rung: Some(OptionsRecord {
                head_tokens: self.head_tokens,
                tail_tokens: self.tail_tokens,
                pooling: self.pooling.as_str().to_owned(),
                prefix: self.prefix.clone(),
                tuned_on: self.tuned_on.clone(),
            }),
        };
        serde_json::to_vec_pretty(&record).map_err(|e| EncoderError::Config(e.to_string()))
    }
}

fn only(field: &'static str, found: &str, expected: &str) -> Result<(), EncoderError> {
    if found == expected {
        return Ok(());
    }
    Err(EncoderError::Unsupported { field, expected: expected.to_owned(), found: found.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINILM: &str = r#"{"model_type": "bert", "hidden_act": "gelu", "vocab_size": 30522, "hidden_size": 384,
        "intermediate_size": 1536, "num_hidden_layers": 6, "num_attention_heads": 12,
        "max_position_embeddings": 512, "type_vocab_size": 2, "layer_norm_eps": 1e-12, "torch_dtype": "float32"}"#;

    #[test]
    fn what_is_written_is_read_back_and_options_go_on_top() {
        let options = EncoderOptions { layers: Some(2), pooling: Some(Pooling::Cls), ..Default::default() };
        let mut config = EncoderConfig::read(MINILM.as_bytes(), &options).unwrap();
        config.tuned_on = Some(TunedOn { data: "d".into(), seed: 7, rows: "r".into() });
        assert_eq!((config.shape.layers, config.pooling, config.head_tokens), (2, Pooling::Cls, 192));
        let again = EncoderConfig::read(&config.to_json().unwrap(), &EncoderOptions::default()).unwrap();
        assert_eq!(again, config);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let read = |json: &str, options: &EncoderOptions| {
            EncoderConfig::read(json.as_bytes(), options).unwrap_err().to_string()
        };
        let none = EncoderOptions::default();
        assert_eq!(
            read(&MINILM.replace("\"bert\"", "\"gpt2\""), &none),
            "config.json: model_type: expected bert, found gpt2"
        );
        assert!(read(&MINILM.replace("384", "385"), &none).starts_with("num_attention_heads"));
        assert!(read("{}", &none).contains("missing field"));
        assert!(
            read(&MINILM.replace("1e-12", "-1.0"), &none).starts_with("layer_norm_eps: expected a number")
        );
        let layers = EncoderOptions { layers: Some(7), ..none.clone() };
        assert_eq!(read(MINILM, &layers), "layers: expected 1 to 6, found 7");
        let long = EncoderOptions { head_tokens: Some(usize::MAX), ..none };
        assert!(read(MINILM, &long).starts_with("head_tokens + tail_tokens: expected 1 to 510"));
    }
}
