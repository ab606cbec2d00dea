//! The registry over things that the tests make up.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;

/// A file that holds the version, and is refused where it says so or where another thing is not as it should be.
struct Thing {
    name: &'static str,
    file: std::path::PathBuf,
    version: Mutex<String>,
    needs: Option<Arc<Self>>,
    read: AtomicUsize,
    panics: AtomicBool,
}

impl Thing {
    fn new(name: &'static str, folder: &std::path::Path, needs: Option<Arc<Self>>) -> Arc<Self> {
        let file = folder.join(name);
        std::fs::write(&file, "1").unwrap();
        let (version, read, panics) =
            (Mutex::new("1".to_owned()), AtomicUsize::new(0), AtomicBool::new(false));
        Arc::new(Self { name, file, version, needs, read, panics })
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.file, text).unwrap();
    }
}

impl Reloadable for Thing {
    fn name(&self) -> &'static str {
        self.name
    }

    fn version(&self) -> String {
        self.version.lock().unwrap().clone()
    }

    fn stamp(&self) -> Stamp {
        Stamp::of([&self.file])
    }

    fn reload(&self) -> Result<String, Vec<String>> {
        self.read.fetch_add(1, Ordering::Relaxed);
        assert!(!self.panics.load(Ordering::Relaxed), "as asked for");
        let text = std::fs::read_to_string(&self.file).map_err(|error| vec![error.to_string()])?;
        if self.needs.as_ref().is_some_and(|needs| needs.version() != text) || text.starts_with("bad") {
            return Err(vec![format!("{} is refused", text)]);
        }
        text.clone_into(&mut self.version.lock().unwrap());
        Ok(text)
    }
}

fn of(things: &[&Arc<Thing>]) -> Reloads {
    let config = crate::config::Settings::default().build().unwrap();
    let metrics = Arc::new(Metrics::new(&config.telemetry, []).unwrap());
    let mut reloads = Reloads::new(Duration::from_millis(1), metrics);
    for thing in things {
        let stamp = thing.stamp();
        reloads.add(Arc::clone(thing) as Arc<dyn Reloadable>, stamp);
    }
    reloads
}

fn results(answers: &[v1::ReloadedThing]) -> Vec<(&str, v1::ReloadResult, &str)> {
    answers.iter().map(|answer| (answer.thing.as_str(), answer.result(), answer.version.as_str())).collect()
}

use v1::ReloadResult::{Refused, Reloaded, Unchanged};

#[tokio::test]
async fn what_has_changed_is_read_and_what_is_named_always() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (Thing::new("a", folder.path(), None), Thing::new("b", folder.path(), None));
    let reloads = of(&[&a, &b]);
    let all = reloads.reload(&[], Cause::Call).await.unwrap();
    assert_eq!(results(&all), [("a", Unchanged, "1"), ("b", Unchanged, "1")]);
    assert_eq!(a.read.load(Ordering::Relaxed), 0);
    a.write("two");
    let all = reloads.reload(&[], Cause::Call).await.unwrap();
    assert_eq!(results(&all), [("a", Reloaded, "two"), ("b", Unchanged, "1")]);
    let named = reloads.reload(&["b".to_owned()], Cause::Call).await.unwrap();
    assert_eq!(results(&named), [("b", Unchanged, "1")]);
    assert_eq!((a.read.load(Ordering::Relaxed), b.read.load(Ordering::Relaxed)), (1, 1));
    let unknown = reloads.reload(&["b".to_owned(), "c".to_owned()], Cause::Call).await.unwrap_err();
    assert_eq!(unknown.to_string(), "expected some of a, b, found c");
}

#[tokio::test]
async fn what_is_refused_stays_out_and_is_told_until_it_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let thing = Thing::new("a", folder.path(), None);
    let reloads = of(&[&thing]);
    thing.write("bad");
    let refused = reloads.reload(&[], Cause::Signal).await.unwrap();
    assert_eq!(results(&refused), [("a", Refused, "1")]);
    assert_eq!(refused[0].problems, ["bad is refused"]);
    let again = reloads.reload(&[], Cause::Call).await.unwrap();
    assert_eq!((results(&again), thing.read.load(Ordering::Relaxed)), (results(&refused), 1));
    let standing = &reloads.standing()[0];
    assert_eq!((standing.refusals, standing.reloads, standing.refused.len()), (1, 0, 1));
    assert!(standing.refused_us > 0);
    thing.panics.store(true, Ordering::Relaxed);
    let broken = reloads.reload(&["a".to_owned()], Cause::Call).await.unwrap();
    assert!(broken[0].problems[0].contains("panic"), "{broken:?}");
    thing.panics.store(false, Ordering::Relaxed);
    thing.write("three");
    assert_eq!(results(&reloads.reload(&[], Cause::Call).await.unwrap()), [("a", Reloaded, "three")]);
    let standing = &reloads.standing()[0];
    assert_eq!((standing.reloads, standing.refused.len(), standing.version.as_str()), (1, 0, "three"));
}

#[tokio::test]
async fn what_was_refused_for_another_is_tried_again_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let base = Thing::new("base", folder.path(), None);
    let needs = Thing::new("needs", folder.path(), Some(Arc::clone(&base)));
    let reloads = of(&[&base, &needs]);
    needs.write("two");
    assert_eq!(results(&reloads.reload(&[], Cause::Files).await.unwrap())[1], ("needs", Refused, "1"));
    base.write("two");
    let all = reloads.reload(&[], Cause::Files).await.unwrap();
    assert_eq!(results(&all), [("base", Reloaded, "two"), ("needs", Reloaded, "two")]);
}

#[tokio::test]
async fn a_look_waits_until_the_files_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let thing = Thing::new("a", folder.path(), None);
    let reloads = of(&[&thing]);
    for text in ["12", "123", "1234"] {
        thing.write(text);
        reloads.look().await;
        assert_eq!(thing.version(), "1", "still being written");
    }
    reloads.look().await;
    assert_eq!(thing.version(), "1234");
    reloads.look().await;
    assert_eq!(thing.read.load(Ordering::Relaxed), 1);
}

#[test]
fn an_exchanged_link_is_another_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["first", "second"] {
        std::fs::create_dir(path(name)).unwrap();
        std::fs::write(path(name).join("policy.toml"), "same").unwrap();
    }
    std::os::unix::fs::symlink("first", path("..data")).unwrap();
    std::os::unix::fs::symlink("..data/policy.toml", path("policy.toml")).unwrap();
    let before = Stamp::of([path("policy.toml")]);
    assert_eq!(before, Stamp::of([path("policy.toml")]));
    std::os::unix::fs::symlink("second", path("..new")).unwrap();
    std::fs::rename(path("..new"), path("..data")).unwrap();
    assert_ne!(before, Stamp::of([path("policy.toml")]));
    assert_ne!(before, before.clone().with("something else"));
}
