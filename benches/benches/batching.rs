//! What batches are worth: the served encoder at 1 to 128 texts at once on every engine of this build, and the
//! served path with batches and without under 64 concurrent callers and under one. Criterion times closures; these are
//! concurrent callers, so they are timed here. `--features wgpu` adds the GPU; `RUNG_BENCH_BACKEND=wgpu:cpu` and the
//! like choose one.
#![allow(missing_docs, clippy::print_stdout, reason = "a bench")]

use std::env;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use artifact::Artifact;
use benches::{artifact, prose};
use encoder::{Encoder, EncoderError, EncoderFiles, EncoderOptions, EngineKind, on_this_thread};
use router::{Ask, At, Backend, DeepOptions, Router, RouterOptions};
use types::{Query, ScoringTier, TierWish};

/// Words of a query of the first table; the tokenizer makes a few more of them.
const WORDS: usize = 60;
/// Batches of the first table.
const BATCHES: [usize; 4] = [1, 8, 32, 128];
/// Callers of the second table.
const CALLERS: usize = 64;

/// How long to measure.
#[derive(Debug, Clone, Copy)]
struct Effort {
    /// Each figure, at least.
    time: Duration,
    /// Runs of which the median is shown; the two sides of a comparison take turns.
    runs: usize,
}

fn main() -> Result<()> {
    let short = env::args().any(|arg| arg == "--test");
    let effort = if short {
        Effort { time: Duration::ZERO, runs: 1 }
    } else {
        Effort { time: Duration::from_secs(5), runs: 3 }
    };
    let backends = backends()?;
    engines(&backends, effort)?;
    for backend in backends {
        served(backend, effort)?;
    }
    Ok(())
}

/// The CPU, and the GPU of this build if it has one.
fn backends() -> Result<Vec<Backend>> {
    let gpu = env::var("RUNG_BENCH_BACKEND").unwrap_or_else(|_| "wgpu".to_owned());
    let mut backends = vec![Backend::Flex];
    if cfg!(feature = "wgpu") {
        backends.push(gpu.parse()?);
    }
    Ok(backends)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Seconds of one call, the median of at least three and of as many as fit.
fn seconds(effort: Effort, mut call: impl FnMut()) -> f64 {
    call();
    let (start, mut taken) = (Instant::now(), Vec::new());
    while taken.len() < 3 * effort.runs || start.elapsed() < effort.time {
        let before = Instant::now();
        call();
        taken.push(before.elapsed().as_secs_f64());
    }
    median(taken)
}

/// The first table: an encoder alone, on one thread of the CPU or on the GPU.
fn engines(backends: &[Backend], effort: Effort) -> Result<()> {
    let loaded = Artifact::load(&artifact(), Backend::Flex)?;
    let files = loaded.deep().context("the artifact has a deep tier")?.files();
    println!("one call of the served encoder on texts of {WORDS} words, milliseconds (texts a second)");
    print!("{:<34}", "engine");
    BATCHES.iter().for_each(|batch| print!("{batch:>20}"));
    println!("{:>14}", "reserved MB");
    for backend in backends {
        let kinds = if backend.is_gpu() {
            let device = backend.device()?;
            vec![EngineKind::Burn(device.clone()), EngineKind::BurnHalf(device)]
        } else {
            vec![EngineKind::Int8, EngineKind::Burn(backend.device()?)]
        };
        for kind in kinds {
            on_this_thread(|| engine(files, &kind, effort))?;
        }
    }
    Ok(())
}

fn engine(files: &EncoderFiles, kind: &EngineKind, effort: Effort) -> Result<()> {
    let encoder = match Encoder::read(files, &EncoderOptions::default(), kind) {
        Err(e @ (EncoderError::NoInt8(_) | EncoderError::NoHalf(_))) => {
            println!("left out: {e}");
            return Ok(());
        }
        read => read?,
    };
    let ids = encoder.tokens().ids(&prose(WORDS))?;
    let alone = encoder.embed(&ids);
    let name = encoder.describe();
    print!("{:<34}", name.split(", ").next().unwrap_or(&name).chars().take(33).collect::<String>());
    for batch in BATCHES {
        let rows = vec![ids.as_slice(); batch];
        let found = encoder.embed_batch(&rows);
        let off =
            found.iter().flatten().zip(alone.iter().cycle()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        ensure!(found.len() == batch && off < 0.05, "a batch of {batch} is off by {off}");
        let taken = seconds(effort, || drop(black_box(encoder.embed_batch(&rows))));
        print!("{:>20}", format!("{:.1} ({:.0})", 1e3 * taken, batch as f64 / taken));
    }
    match encoder.reserved_bytes() {
        Some(bytes) => println!("{:>14.0}", bytes as f64 / 1e6),
        None => println!("{:>14}", "-"),
    }
    Ok(())
}

/// A router that serves every query with the encoder.
fn router(backend: Backend, max_batch: usize) -> Result<Arc<Router>> {
    let suited = DeepOptions::on(backend);
    let deep = DeepOptions {
        queue: 256,
        max_batch,
        max_wait: if max_batch > 1 { Duration::from_micros(500) } else { Duration::ZERO },
        deadline: Duration::from_secs(600),
        ..suited
    };
    Ok(Arc::new(Router::load(&artifact(), &RouterOptions { backend, deep, ..RouterOptions::default() })?))
}

/// What callers saw.
struct Seen {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// The second table: as many callers as said, each with one query at a time of 5 to 200 words.
async fn callers(router: &Arc<Router>, callers: usize, effort: Effort) -> Result<Seen> {
    let start = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let router = router.clone();
            tokio::spawn(async move {
                let (mut taken, ladder) = (Vec::new(), router.info().default_pair.clone().into());
                while taken.len() < 3 || start.elapsed() < effort.time {
                    let words = 5 + (37 * (caller + 64 * taken.len())) % 196;
                    let query = Query::text(prose(words));
                    let at = At::OperatingPoint("default");
                    let ask = Ask { tier: TierWish::DeepAlways, ..Ask::new(&query, &ladder, at) };
                    let before = Instant::now();
                    let routed = router.decide(&ask, None).await?;
                    taken.push(before.elapsed().as_secs_f64());
                    ensure!(routed.scored_by() == ScoringTier::Deep, "{:?}", routed.tier_reason);
                }
                Ok(taken)
            })
        })
        .collect();
    let mut taken = Vec::new();
    for task in tasks {
        taken.extend(task.await??);
    }
    let elapsed = start.elapsed().as_secs_f64();
    taken.sort_by(f64::total_cmp);
    let at = |q: f64| 1e3 * taken[((taken.len() - 1) as f64 * q) as usize];
    Ok(Seen { per_second: taken.len() as f64 / elapsed, p50_ms: at(0.5), p99_ms: at(0.99) })
}

fn served(backend: Backend, effort: Effort) -> Result<()> {
    let sides = [("one by one", router(backend, 1)?), ("batches of 32", router(backend, 32)?)];
    let engine = sides[0].1.deep_engine().context("the artifact has a deep tier")?;
    println!(
        "\nserved: {engine}; queries of 5 to 200 words, every one encoded; medians of {} runs",
        effort.runs
    );
    println!(
        "{:<16}{:>10}{:>14}{:>12}{:>12}{:>14}",
        "", "callers", "queries/s", "p50 ms", "p99 ms", "mean batch"
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    for count in [1, CALLERS] {
        let mut seen: [Vec<Seen>; 2] = [Vec::new(), Vec::new()];
        let before = sides.each_ref().map(|(_, router)| router.tier_counts());
        for _ in 0..effort.runs {
            for ((_, router), seen) in sides.iter().zip(&mut seen) {
                seen.push(runtime.block_on(callers(router, count, effort))?);
            }
        }
        let mut rates = Vec::new();
        for (((name, router), seen), before) in sides.iter().zip(&seen).zip(before) {
            let of = |pick: fn(&Seen) -> f64| median(seen.iter().map(pick).collect());
            let after = router.tier_counts();
            let batches = (after.batches - before.batches) as f64;
            let mean = (after.batched_rows - before.batched_rows) as f64 / batches;
            let (rate, p50, p99) = (of(|s| s.per_second), of(|s| s.p50_ms), of(|s| s.p99_ms));
            println!("{name:<16}{count:>10}{rate:>14.1}{p50:>12.2}{p99:>12.2}{mean:>14.1}");
            rates.push(rate);
        }
        println!("{:<16}{count:>10}{:>13.2}x", "gain", rates[1] / rates[0]);
    }
    Ok(())
}
