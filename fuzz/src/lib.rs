//! What each fuzz target does with some bytes: decode them, and hold what came of it to its promises. A body panics
//! where a promise is broken. The same files are the bodies of `tests/hostile.rs` of the crates they test.

#[cfg(feature = "heavy")]
pub mod access;
#[cfg(feature = "heavy")]
pub mod artifact;
#[cfg(feature = "light")]
pub mod catalogue;
#[cfg(feature = "light")]
pub mod corpus;
#[cfg(feature = "heavy")]
pub mod encoder;
#[cfg(feature = "heavy")]
mod folder;
#[cfg(feature = "light")]
pub mod policy;
#[cfg(feature = "light")]
pub mod prices;
#[cfg(feature = "heavy")]
pub mod records;
#[cfg(feature = "heavy")]
pub mod requests;
#[cfg(feature = "heavy")]
pub mod settings;
#[cfg(feature = "heavy")]
pub mod token;
#[cfg(feature = "heavy")]
pub mod verifier;
#[cfg(feature = "heavy")]
pub mod weights;
