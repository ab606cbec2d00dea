//! Whatever bytes come, an artifact or a verifier loads and gives probabilities, or is refused by a file's name: the
//! bodies of the fuzz targets of those names.
#![allow(unreachable_pub, reason = "bodies of fuzz targets are public there")]

#[path = "../../../fuzz/src/artifact.rs"]
mod artifact;
#[path = "../../../fuzz/src/folder.rs"]
mod folder;
#[path = "../../../fuzz/src/hostile.rs"]
mod hostile;
#[path = "../../../fuzz/src/verifier.rs"]
mod verifier;

#[test]
fn any_artifact_is_loaded_or_refused() {
    hostile::hold("artifact", 400, artifact::decode);
}

#[test]
fn any_verifier_is_loaded_or_refused() {
    hostile::hold("verifier", 800, verifier::decode);
}
