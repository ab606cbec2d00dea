//! `cargo xtask test`: what the tests need, then the tests.

use anyhow::Result;

use crate::run::{step, tell};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leave out the Python and Node callers.
    #[arg(long)]
    no_clients: bool,
    /// Leave out training on wgpu (Vulkan; Mesa's software driver will do).
    #[arg(long)]
    no_gpu: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.no_clients {
        tell("left out: the Python and Node callers (--no-clients)");
    } else {
        step(&["bash", "scripts/client-deps"])?;
    }
    step(&["cargo", "test", "--release", "--workspace"])?;
    step(&["cargo", "test", "--release", "-p", "training", "--features", "ndarray", "--test", "backends"])?;
    if args.no_gpu {
        tell("left out: training on wgpu (--no-gpu)");
        return Ok(());
    }
    step(&["bash", "scripts/vulkan-deps"])?;
    // The dev profile: an optimised wgpu takes five times as long to build as this test runs.
    step(&["cargo", "test", "-p", "training", "--features", "wgpu", "--test", "backends"])
}
