//! Where the encoder's threads begin. A thread has the niceness of the one that starts it, and cannot take it back: an
//! artifact that is read behind those that answer must not have its queries computed behind them too. So one thread of
//! the process starts all the others.

use std::io;
use std::sync::{OnceLock, mpsc};
use std::thread::Builder;

type Birth = Box<dyn FnOnce() + Send>;

static NURSERY: OnceLock<mpsc::Sender<Birth>> = OnceLock::new();

/// Gives threads of encoders that start from now on the niceness of this one; whoever called it first decides. Without
/// it the first encoder does.
pub fn encoder_threads_begin_here() {
    NURSERY.get_or_init(|| {
        let (births, waiting) = mpsc::channel::<Birth>();
        let deliver = move || waiting.iter().for_each(|birth| birth());
        // Without this thread nobody listens, and whoever wants one is told so.
        let _ = Builder::new().name("encoder-start".to_owned()).spawn(deliver);
        births
    });
}

/// Starts a thread.
///
/// # Errors
/// When the system has none left.
pub(super) fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    encoder_threads_begin_here();
    let (told, started) = mpsc::channel();
    let birth = move || {
        let _ = told.send(Builder::new().name(name).spawn(work).map(drop));
    };
    let gone = || io::Error::other("the thread that starts encoders is gone");
    let births = NURSERY.get().ok_or_else(gone)?;
    births.send(Box::new(birth)).map_err(|_| gone())?;
    started.recv().map_err(|_| gone())?
}
