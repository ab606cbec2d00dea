//! Prints rows of the embedded starter corpus, spread over the corpus, to be read by people:
//! `cargo run -p corpus --example starter_sample [how many] [seed]`. Decides nothing.

use std::io::{self, Write};

use corpus::starter;

fn main() -> io::Result<()> {
    let mut numbers = std::env::args().skip(1).map(|arg| arg.parse::<usize>());
    let wanted = numbers.next().and_then(Result::ok).unwrap_or(30).max(1);
    let seed = numbers.next().and_then(Result::ok).unwrap_or(7);
    let corpus = starter::generate(starter::DEFAULT_ROWS.max(wanted), seed as u64);
    let mut out = io::stdout().lock();
    writeln!(out, "{}", starter::DISCLAIMER)?;
    for example in corpus.iter().step_by(corpus.len() / wanted).take(wanted) {
        let win = example.true_win_probability.unwrap_or(f64::NAN);
        writeln!(out, "\n{} win {win:.3} {}", example.id, example.slices.join(" "))?;
        for (role, text) in example.query.parts() {
            writeln!(out, "  [{}] {text}", role.as_str())?;
        }
    }
    Ok(())
}
