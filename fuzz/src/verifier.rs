//! The folder of an answer verifier with one file replaced: what loads judges answers by probabilities and plans its
//! cascades, and what does not is refused by the name of a file.

use std::path::Path;

use artifact::{ArtifactError, VerifierArtifact, VerifierManifest};
use classifier::AnswerGiven;
use features::answer::Signals;
use router::{Cascades, Predicted};
use types::{ModelName, Query};

use crate::folder::{Files, json, replace, sha256, write};

const MANIFEST: &str = "manifest.json";
const NAMES: [(u8, &str); 4] =
    [(b'm', MANIFEST), (b'w', "verifier.safetensors"), (b'c', "calibrator.json"), (b'p', "probes.json")];

/// The whole verifier that `seeds` makes.
fn whole() -> Files {
    vec![
        (MANIFEST, include_bytes!("../fixtures/verifier/manifest.json").to_vec()),
        ("verifier.safetensors", include_bytes!("../fixtures/verifier/verifier.safetensors").to_vec()),
        ("calibrator.json", include_bytes!("../fixtures/verifier/calibrator.json").to_vec()),
        ("probes.json", include_bytes!("../fixtures/verifier/probes.json").to_vec()),
    ]
}

/// Puts the bytes after the first in the place of the file that the first names: the `m`anifest, `w`eights,
/// `c`alibrators or `p`robes. Hashes are put right, but in capitals.
pub fn decode(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let named = NAMES.iter().find(|(letter, _)| *letter == first.to_ascii_lowercase());
    let Some((_, name)) = named else { return };
    let mut files = whole();
    replace(&mut files, name, rest);
    if first.is_ascii_lowercase() {
        seal(&mut files);
    }
    let Ok(folder) = tempfile::tempdir() else { return };
    if write(folder.path(), &files).is_none() {
        return;
    }
    match VerifierArtifact::load(folder.path()) {
        Ok(artifact) => holds(artifact),
        Err(error) => is_told(&error, folder.path()),
    }
}

/// Lists the files that there are with their hashes.
fn seal(files: &mut Files) {
    let manifest = files.iter().find(|(name, _)| *name == MANIFEST);
    let read = manifest.and_then(|(_, bytes)| serde_json::from_slice::<VerifierManifest>(bytes).ok());
    let Some(mut manifest) = read else { return };
    for (name, bytes) in files.iter().filter(|(name, _)| *name != MANIFEST) {
        manifest.files.insert((*name).to_owned(), sha256(bytes));
    }
    manifest.sha256.clear();
    let Some(bare) = json(&manifest) else { return };
    manifest.sha256 = sha256(&bare);
    if let Some(bytes) = json(&manifest) {
        replace(files, MANIFEST, &bytes);
    }
}

fn is_told(error: &ArtifactError, folder: &Path) {
    let text = error.to_string();
    assert!(text.contains(&folder.display().to_string()), "an error names its file: {text}");
}

fn holds(artifact: VerifierArtifact) {
    let share = |number: f64| (0.0..=1.0).contains(&number);
    let mut scratch = artifact.verifier().scratch();
    let (query, signals) = (Query::text("What is 17 * 23?"), Signals::default());
    for name in ["small", "large", "stranger"] {
        let Ok(model) = ModelName::new(name) else { continue };
        for text in ["", "391", "I cannot say."] {
            let given = AnswerGiven { query: &query, model: &model, text, signals: &signals, slices: &[] };
            let Some(judged) = artifact.judge(&given, &mut scratch) else { continue };
            let (lower, upper) = (judged.interval.lower().get(), judged.interval.upper().get());
            assert!(share(judged.probability.get()) && share(lower) && share(upper) && lower <= upper);
        }
    }
    let cascades = match Cascades::new(artifact) {
        Ok(cascades) => cascades,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    for cascade in cascades.all() {
        match cascade.plan(f64::INFINITY, &Predicted::new()) {
            Ok(plan) => {
                assert!(
                    plan.stages.len() == cascade.stages().len() && plan.stages.iter().all(|s| share(s.reach))
                );
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}
