//! Work behind those that answer: reading files again, loading a candidate, giving memory back. An artifact takes a
//! core for hundreds of milliseconds, and it is done when it is done.

use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Of the system's -20 to 19.
const NICE: i32 = 15;

/// Runs on a thread of its own that gives way to all others. Threads that it starts give way as well. Nothing comes back
/// where there is no thread, or where it panics.
pub(crate) async fn callers<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, result) = oneshot::channel();
    let runtime = Handle::current();
    let work = move || {
        let _within = runtime.enter();
        // Where it may not be, it is done all the same.
        let _ = rustix::process::nice(NICE);
        let _ = done.send(work());
    };
    if let Err(error) = std::thread::Builder::new().name("behind".to_owned()).spawn(work) {
        tracing::error!(%error, "no thread for work behind the callers");
    }
    result.await.ok()
}
