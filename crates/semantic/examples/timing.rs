//! How long matching takes against 20,000 exemplars, and building what it takes.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "an example")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use semantic::{Ask, Catalogue, Embed, FitOptions, Matcher, Scratch, StaticEmbedder};

fn main() {
    let text = include_str!("../fixtures/intents.toml");
    let small = Catalogue::from_toml(text, "intents.toml").unwrap();
    // Each exemplar eighty times, with other words behind it: as many as a large catalogue has.
    let mut lines = String::from("{\"settings\": {\"floor_alpha\": 0.1, \"aggregation\": \"mean\"}}\n");
    let exemplars: Vec<_> = small.exemplars().collect();
    for (i, (route, text)) in exemplars.iter().cycle().take(20_000).enumerate() {
        let name = format!("{}-{}", small.routes()[*route].name, i / 250 % 10);
        let other = &small.off_topic()[i * 7 % 60];
        let utterance = format!("{text} {}", other.rsplit(' ').next().unwrap_or_default());
        lines.push_str(&serde_json::json!({ "route": name, "utterance": utterance }).to_string());
        lines.push('\n');
    }
    for text in small.off_topic() {
        lines.push_str(&serde_json::json!({ "off_topic": text }).to_string());
        lines.push('\n');
    }
    let t = Instant::now();
    let large = Arc::new(Catalogue::from_jsonl(&lines, "large.jsonl").unwrap());
    println!("parse {:?}", t.elapsed());
    let t = Instant::now();
    let embedder = StaticEmbedder::fit(&large);
    println!("embedder {:?}", t.elapsed());
    let t = Instant::now();
    let scorer = semantic::Scorer::new(large.clone(), Arc::new(embedder.clone())).unwrap();
    println!("scorer {:?}", t.elapsed());
    let t = Instant::now();
    let matcher = Matcher::without_encoder(large, &FitOptions::default()).unwrap();
    println!("matcher, fit included {:?}", t.elapsed());
    drop(scorer);
    let queries = [
        "why was I charged twice for my plan",
        "my loop never ends, what is wrong",
        "translate this to Dutch",
    ];
    let mut scratch = Scratch::default();
    let mut times = Vec::new();
    for i in 0..3_000 {
        let t = Instant::now();
        std::hint::black_box(matcher.match_query(Ask::Text(queries[i % 3]), &mut scratch).unwrap());
        times.push(t.elapsed());
    }
    told("match of 20,000", times);
    let mut times = Vec::new();
    let mut out = Vec::new();
    for i in 0..3_000 {
        let t = Instant::now();
        embedder.embed(queries[i % 3], &mut out);
        times.push(t.elapsed());
    }
    told("embed", times);
}

fn told(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    println!("{what}: p50 {:?}, p99 {:?}", times[times.len() / 2], times[times.len() * 99 / 100]);
}
