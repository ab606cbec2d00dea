//! Many texts at once: one thread per core, each with the whole of its own products. Two one-thread workers
//! beat one two-thread worker.

use crate::{Encoder, EncoderError};

/// Runs work on this thread alone: products inside are not spread over other cores.
///
/// Meant for threads that live for such work: what rayon keeps for a thread stays until the process ends.
pub fn on_this_thread<R>(work: impl FnOnce() -> R) -> R {
    #[cfg(feature = "int8")]
    let _alone = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build();
    work()
}

impl Encoder {
    /// The vectors of texts in their order, on every core.
    ///
    /// # Errors
    /// When the tokenizer fails on a text.
    pub fn embed_texts(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, EncoderError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let parts = texts.chunks(texts.len().div_ceil(cores).max(1));
        let embed = |part: &[String]| {
            let mut vectors = Vec::with_capacity(part.len());
            for text in part {
                vectors.push(self.embed(&self.tokens().ids(text)?));
            }
            Ok(vectors)
        };
        std::thread::scope(|scope| {
            let running: Vec<_> =
                parts.map(|part| scope.spawn(move || on_this_thread(|| embed(part)))).collect();
            let mut all = Vec::with_capacity(texts.len());
            for part in running {
                match part.join() {
                    Ok(vectors) => all.extend::<Vec<Vec<f32>>>(vectors?),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            Ok(all)
        })
    }
}
