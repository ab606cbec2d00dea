//! The folder of a trained artifact with one file replaced: what loads gives probabilities and can be written and
//! loaded again, and what does not is refused by the name of a file.

use std::path::Path;

use artifact::{Artifact, ArtifactError, Manifest, probe_queries};
use classifier::Backend;
use router::{Router, RouterOptions};

use crate::folder::{Files, json, replace, sha256, write};

const MANIFEST: &str = "manifest.json";
const PROBES: &str = "probes.json";
const NAMES: [(u8, &str); 5] = [
    (b'm', MANIFEST),
    (b'w', "weights.safetensors"),
    (b'c', "calibrator.json"),
    (b'g', "general.safetensors"),
    (b'p', PROBES),
];

/// The whole artifact that `seeds` makes.
fn whole() -> Files {
    vec![
        (MANIFEST, include_bytes!("../fixtures/artifact/manifest.json").to_vec()),
        ("weights.safetensors", include_bytes!("../fixtures/artifact/weights.safetensors").to_vec()),
        ("calibrator.json", include_bytes!("../fixtures/artifact/calibrator.json").to_vec()),
        ("general.safetensors", include_bytes!("../fixtures/artifact/general.safetensors").to_vec()),
        (PROBES, include_bytes!("../fixtures/artifact/probes.json").to_vec()),
    ]
}

/// Puts the bytes after the first in the place of the file that the first names: the `m`anifest, `w`eights,
/// `c`alibrator, `g`eneral axis or `p`robes. Hashes are put right; in capitals nothing is, but that of calibrator and
/// weights the stored probes are put right too.
pub fn decode(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let named = NAMES.iter().find(|(letter, _)| *letter == first.to_ascii_lowercase());
    let Some((letter, name)) = named else { return };
    let mut files = whole();
    replace(&mut files, name, rest);
    let raw = first.is_ascii_uppercase() && !b"wc".contains(letter);
    if !raw {
        seal(&mut files);
    }
    let Ok(folder) = tempfile::tempdir() else { return };
    if write(folder.path(), &files).is_none() {
        return;
    }
    let mut loaded = Artifact::load(folder.path(), Backend::Flex);
    if first.is_ascii_uppercase() && !raw {
        loaded = with_probes(loaded, &mut files, folder.path());
    }
    match loaded {
        Ok(artifact) => holds(&artifact, folder.path()),
        Err(error) => is_told(&error, folder.path()),
    }
}

/// Lists the files that there are with their hashes.
fn seal(files: &mut Files) {
    let manifest = files.iter().find(|(name, _)| *name == MANIFEST);
    let read = manifest.and_then(|(_, bytes)| serde_json::from_slice::<Manifest>(bytes).ok());
    // What is no manifest has no hashes to put right.
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

/// Stores what the probes get, one after another as the loader names them.
fn with_probes(
    mut loaded: Result<Artifact, ArtifactError>,
    files: &mut Files,
    folder: &Path,
) -> Result<Artifact, ArtifactError> {
    let mut stored = vec![0.0; probe_queries().len()];
    for _ in 0..=stored.len() {
        let Err(ArtifactError::ProbeMismatch { index, found, .. }) = &loaded else { return loaded };
        if let Some(at) = stored.get_mut(*index) {
            *at = *found;
        }
        let probes = serde_json::json!({ "win_probabilities": [stored] });
        replace(files, PROBES, probes.to_string().as_bytes());
        seal(files);
        if write(folder, files).is_none() {
            return loaded;
        }
        loaded = Artifact::load(folder, Backend::Flex);
    }
    loaded
}

fn is_told(error: &ArtifactError, folder: &Path) {
    let text = error.to_string();
    assert!(text.contains(&folder.display().to_string()), "an error names its file: {text}");
}

fn holds(artifact: &Artifact, folder: &Path) {
    let share = |number: f64| (0.0..=1.0).contains(&number);
    let mut scratch = artifact.classifier().scratch();
    for query in probe_queries() {
        artifact.classifier().read(&query, &mut scratch);
        for calibrator in artifact.calibrators() {
            let Some(found) = artifact.calibrated(&scratch, calibrator, ["category:law"]) else { continue };
            let (lower, upper) = (found.interval.lower().get(), found.interval.upper().get());
            assert!(share(found.win_probability.get()) && share(lower) && share(upper) && lower <= upper);
        }
    }
    match Router::load(folder, &RouterOptions::default()) {
        Ok(router) => {
            for point in &router.info().operating_points {
                assert!(router.info().pairs.contains(&point.pair));
                assert!(point.strong_call_rate.is_none_or(share));
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let Ok(other) = tempfile::tempdir() else { return };
    let at = other.path().join("again");
    let Ok(written) = artifact.draft().write(&at, |_| Vec::new()) else {
        panic!("what was loaded cannot be written")
    };
    match Artifact::load(&at, Backend::Flex) {
        Ok(again) => assert_eq!(again.manifest(), &written),
        Err(error) => panic!("what was loaded and written is refused: {error}"),
    }
}
