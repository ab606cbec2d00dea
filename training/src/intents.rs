//! Catalogues of intents as `training` uses them: read, fitted, measured, shown. How queries are matched lives in
//! `semantic`.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use semantic::{Catalogue, Evaluation, FitOptions, Labelled, Matcher, labelled_queries};

use crate::plot::escape;

/// Reads a catalogue, TOML or JSONL by its name.
///
/// # Errors
/// When it cannot be read; line and key are named.
pub fn read_catalogue(file: &Path) -> Result<Arc<Catalogue>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let name = file.display().to_string();
    let jsonl = file.extension().is_some_and(|end| end == "jsonl");
    let read = if jsonl { Catalogue::from_jsonl } else { Catalogue::from_toml };
    Ok(Arc::new(read(&text, &name)?))
}

/// Reads queries of known intent.
///
/// # Errors
/// When a line is none.
pub fn read_queries(file: &Path) -> Result<Vec<Labelled>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    Ok(labelled_queries(&text, &file.display().to_string())?)
}

/// A matcher that needs no encoder.
///
/// # Errors
/// When the catalogue does not carry the floor it asks for, or no map from score to probability.
pub fn matcher(file: &Path, options: &FitOptions) -> Result<Matcher> {
    Matcher::without_encoder(read_catalogue(file)?, options).with_context(|| file.display().to_string())
}

/// The figures as lines of a terminal.
pub fn lines(found: &Evaluation) -> Vec<String> {
    let share = |share: &semantic::Share| {
        format!(
            "{:.3} [{:.3}, {:.3}] ({} of {})",
            share.rate(),
            share.lower,
            share.upper,
            share.count,
            share.of
        )
    };
    let mut lines = vec![format!("accuracy                 {}", share(&found.accuracy))];
    lines.extend(found.best_is_right.iter().map(|best| format!("best route is right      {}", share(best))));
    if let Some(false_accepts) = &found.false_accepts {
        let promised = false_accepts.promised.map_or("no floor".to_owned(), |p| format!("promised {p}"));
        let broken = if false_accepts.breaks_promise() { ", BROKEN" } else { "" };
        lines.push(format!("off topic past the floor {}, {promised}{broken}", share(&false_accepts.passed)));
        lines.push(format!("off topic matched        {}", share(&false_accepts.matched)));
    }
    let of = |share: &Option<semantic::Share>| {
        share.map_or("-".to_owned(), |share| format!("{:.3}", share.rate()))
    };
    lines.extend(
        found
            .routes
            .iter()
            .map(|r| format!("{:<24} precision {} recall {}", r.name, of(&r.precision), of(&r.recall))),
    );
    lines
}

/// The figures and the confusion matrix as a section of a page.
pub fn section(found: &Evaluation, version: &str) -> String {
    let mut html = format!(
        "<h2>Intents</h2><p class='soft'>Catalogue {}; exact 95 % intervals.</p><ul>",
        escape(version)
    );
    for line in lines(found) {
        let _ = write!(html, "<li>{}</li>", escape(&line));
    }
    html.push_str("</ul><div class='scroll'><table><tr><th>belongs to \\ taken</th>");
    let names: Vec<&str> = found.routes.iter().map(|route| route.name.as_str()).chain(["none"]).collect();
    for name in &names {
        let _ = write!(html, "<th>{}</th>", escape(name));
    }
    html.push_str("</tr>");
    for (name, row) in names.iter().zip(&found.confusion) {
        let _ = write!(html, "<tr><td>{}</td>", escape(name));
        for (other, count) in names.iter().zip(row) {
            let cell = match (*count, name == other) {
                (0, _) => "<span>0</span>".to_owned(),
                (count, true) => format!("<b>{count}</b>"),
                (count, false) => count.to_string(),
            };
            let _ = write!(html, "<td>{cell}</td>");
        }
        html.push_str("</tr>");
    }
    html.push_str("</table></div>");
    html
}
