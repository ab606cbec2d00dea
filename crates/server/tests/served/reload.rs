//! Change without downtime: artifact, policy, prices and catalogue exchanged under callers who see no failure and never a
//! mixture, bad ones refused while the old serve; by file watch, by signal and by call.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::access::{Known, admin, token};
use crate::support::{Running, artifact, lean_artifact, logging, other_artifact, serve, serve_router};
use api::v1;
use api::v1::ReloadResult::{Refused, Reloaded, Unchanged};
use api::v1::admin_service_client::AdminServiceClient;
use api::v1::route_request::Input;
use router::{Router, RouterOptions};
use server::config::Settings;
use tokio::process::Command;
use tokio::task::JoinHandle;
use tonic::Code;

type Admin = AdminServiceClient<Known>;

/// Nothing here takes so long unless it hangs.
const BOUND: Duration = Duration::from_secs(120);

/// A folder as Kubernetes mounts a config map: every file is a link into `..data`, which is a link to a folder, and is
/// exchanged for another one.
struct Mounted {
    folder: tempfile::TempDir,
    /// Who may administer.
    operator: String,
}

/// What a folder says.
#[derive(Clone)]
struct State {
    artifact: PathBuf,
    policy: String,
    usd: f64,
    catalogue: String,
}

const FILES: [&str; 4] = ["artifact", "policy.toml", "prices.toml", "intents.toml"];

/// Stays as it is.
const TOKENS: &str = "tokens.toml";

/// A policy with one strategy of this name, which calls this model.
fn policy(strategy: &str, model: &str) -> String {
    let calls = format!("[strategy.{strategy}]\nkind = \"model\"\nmodel = \"{model}\"\n");
    format!("version = 1\ndefault = \"{strategy}\"\n\n{calls}")
}

fn catalogue(word: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../semantic/fixtures/intents.toml");
    std::fs::read_to_string(file).unwrap().replace("Lisbon", word)
}

impl State {
    fn first() -> Self {
        let policy = policy("first", "starter-small");
        Self { artifact: artifact(), policy, usd: 1.0, catalogue: catalogue("Lisbon") }
    }

    fn second() -> Self {
        let policy = policy("second", "starter-large");
        Self { artifact: other_artifact(), policy, usd: 2.0, catalogue: catalogue("Porto") }
    }
}

impl Mounted {
    fn new(state: &State) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let operator = token(&folder.path().join(TOKENS), &["--name", "operator", "--scope", "admin"]);
        let mounted = Self { folder, operator };
        mounted.exchange(state);
        for file in FILES {
            symlink(Path::new("..data").join(file), mounted.path(file)).unwrap();
        }
        mounted
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn exchange(&self, state: &State) {
        let version = tempfile::Builder::new().prefix("..v").tempdir_in(self.folder.path()).unwrap().keep();
        let mut prices =
            "valid_on = \"2026-11-01\"\n[call]\ninput_tokens = 1000\noutput_tokens = 0\n".to_owned();
        for model in ["starter-small", "starter-medium", "starter-large"] {
            let usd = state.usd;
            prices.push_str(&format!(
                "[models.{model:?}]\ninput_usd_per_million_tokens = {usd}\noutput_usd_per_million_tokens = {usd}\n"
            ));
        }
        symlink(&state.artifact, version.join("artifact")).unwrap();
        for (file, text) in FILES[1..].iter().zip([&state.policy, &prices, &state.catalogue]) {
            std::fs::write(version.join(file), text).unwrap();
        }
        symlink(version.file_name().unwrap(), self.path("..data_tmp")).unwrap();
        std::fs::rename(self.path("..data_tmp"), self.path("..data")).unwrap();
    }

    fn settings(&self, settings: Settings) -> Settings {
        let [artifact, policy, prices, catalogue] = FILES.map(|file| Some(self.path(file)));
        let mut settings = Settings { artifact, policy, prices, catalogue, ..settings };
        settings.access.tokens = Some(self.path(TOKENS));
        settings.access.allow_anonymous = Some(true);
        settings.admin_listen = Some(free());
        settings
    }
}

fn free() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Looked at all the time, or never.
fn every(reload_ms: u64) -> Settings {
    Settings { reload_ms: Some(reload_ms), ..Settings::default() }
}

const NEVER: u64 = 3_600_000;

async fn started(settings: Settings, operator: &str) -> (Running, Admin) {
    let address = settings.admin_listen.unwrap();
    let server = serve(settings).await;
    (server, admin_at(address, operator).await)
}

/// Connects once there is somebody.
async fn admin_at(address: SocketAddr, operator: &str) -> Admin {
    tokio::time::timeout(BOUND, admin(address, operator)).await.expect("administration is served")
}

fn request() -> v1::RouteRequest {
    v1::RouteRequest { input: Some(Input::Text("what is this about?".into())), ..Default::default() }
}

async fn standing(admin: &mut Admin) -> BTreeMap<String, v1::ReloadStanding> {
    let things = admin.get_reloads(v1::GetReloadsRequest {}).await.unwrap().into_inner().things;
    let exchanged = things.into_iter().filter(|thing| thing.thing != "tokens");
    exchanged.map(|thing| (thing.thing.clone(), thing)).collect()
}

/// Asks until it holds of what stands.
async fn until(
    admin: &mut Admin,
    holds: impl Fn(&BTreeMap<String, v1::ReloadStanding>) -> bool,
) -> BTreeMap<String, v1::ReloadStanding> {
    let asking = async {
        loop {
            let now = standing(admin).await;
            if holds(&now) {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(BOUND, asking).await.expect("it comes into force")
}

/// Reloads by call; result and problems by thing.
async fn reload(admin: &mut Admin, things: &[&str]) -> BTreeMap<String, (v1::ReloadResult, Vec<String>)> {
    let things = things.iter().map(|thing| (*thing).to_owned()).collect();
    let answer = admin.reload(v1::ReloadRequest { things }).await.unwrap().into_inner();
    let exchanged = answer.things.into_iter().filter(|it| it.thing != "tokens");
    exchanged.map(|it| (it.thing.clone(), (it.result(), it.problems))).collect()
}

/// Artifact and strategy of an answer.
type Seen = (String, String);

/// Callers of every kind who ask all the time; what they see, a batch's answers together.
struct Load {
    stop: Arc<AtomicBool>,
    callers: Vec<JoinHandle<Vec<Vec<Seen>>>>,
}

fn seen(answer: v1::RouteResponse) -> Seen {
    (answer.artifact_version, answer.strategy)
}

fn response(item: v1::RouteItem) -> v1::RouteResponse {
    match item.result.unwrap() {
        v1::route_item::Result::Response(answer) => answer,
        v1::route_item::Result::Error(error) => panic!("{error:?}"),
    }
}

impl Load {
    async fn on(server: &Running) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut callers = Vec::new();
        for kind in [0, 0, 1, 2] {
            let (mut client, stop) = (server.client().await, Arc::clone(&stop));
            callers.push(tokio::spawn(async move {
                let mut all = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match kind {
                        0 => all.push(vec![seen(client.route(request()).await.unwrap().into_inner())]),
                        1 => {
                            let batch = v1::RouteBatchRequest { requests: vec![request(); 100] };
                            let items = client.route_batch(batch).await.unwrap().into_inner().items;
                            all.push(items.into_iter().map(|item| seen(response(item))).collect());
                        }
                        _ => {
                            let messages = tokio_stream::iter(vec![request(); 50]);
                            let mut stream = client.route_stream(messages).await.unwrap().into_inner();
                            while let Some(item) = stream.message().await.unwrap() {
                                all.push(vec![seen(response(item))]);
                            }
                        }
                    }
                }
                all
            }));
        }
        Self { stop, callers }
    }

    async fn end(self) -> Vec<Vec<Seen>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for caller in self.callers {
            all.extend(caller.await.unwrap());
        }
        all
    }
}

fn version_of(folder: &Path) -> String {
    Router::load(folder, &RouterOptions::default()).unwrap().info().version.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_exchanged_at_once_under_load() {
    let mounted = Mounted::new(&State::first());
    let (server, mut admin) = started(mounted.settings(every(10)), &mounted.operator).await;
    let before = standing(&mut admin).await;
    assert_eq!(before.keys().collect::<Vec<_>>(), ["artifact", "catalogue", "policy", "prices"]);
    let load = Load::on(&server).await;
    let states = [State::second(), State::first(), State::second()];
    for (times, state) in (1..).zip(&states) {
        mounted.exchange(state);
        let now = until(&mut admin, |now| now.values().all(|thing| thing.reloads >= times)).await;
        for (name, thing) in &now {
            let new = thing.version != before[name].version;
            assert_eq!(new, times % 2 == 1, "{name}: {thing:?}");
            assert!(thing.refused.is_empty() && thing.refusals == 0, "{thing:?}");
        }
    }
    let all = load.end().await;
    let first = (version_of(&artifact()), "first".to_owned());
    let second = (version_of(&other_artifact()), "second".to_owned());
    let of = |state| all.iter().flatten().filter(|seen| *seen == state).count();
    assert_eq!(of(&first) + of(&second), all.iter().flatten().count(), "no mixture");
    assert!(of(&first) > 0 && of(&second) > 0);
    for batch in &all {
        assert!(batch.iter().all(|seen| *seen == batch[0]), "a batch is of one version: {batch:?}");
    }
    drop(admin);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_bad_is_refused_with_everything_that_is_wrong_and_the_old_serves() {
    let mounted = Mounted::new(&State::first());
    let (server, mut admin) = started(mounted.settings(every(NEVER)), &mounted.operator).await;
    let mut client = server.client().await;
    let before = seen(client.route(request()).await.unwrap().into_inner());
    assert!(reload(&mut admin, &[]).await.values().all(|it| it.0 == Unchanged));

    // A policy that names what there is not, in two places.
    let bad = policy("first", "nobody").replace("default = \"first\"", "default = \"last\"");
    mounted.exchange(&State { policy: bad, ..State::first() });
    let answers = reload(&mut admin, &[]).await;
    let (result, problems) = &answers["policy"];
    assert_eq!(*result, Refused);
    assert!(problems.iter().any(|problem| problem.contains("policy.toml:2:")), "{problems:?}");
    assert_eq!(answers["prices"].0, Refused, "they are exchanged together: {answers:?}");
    let now = standing(&mut admin).await;
    assert_eq!((&now["policy"].refused, now["policy"].refusals), (problems, 1));
    assert!(now["policy"].refused_us >= now["policy"].since_us);
    let info = client.get_info(v1::GetInfoRequest {}).await.unwrap().into_inner();
    assert_eq!(info.policy.unwrap().refused, *problems);

    // An artifact that is not whole.
    let torn = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(other_artifact()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), torn.path().join(file.file_name())).unwrap();
    }
    let manifest = torn.path().join("manifest.json");
    let whole = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, &whole[..whole.len() / 2]).unwrap();
    mounted.exchange(&State { artifact: torn.path().to_owned(), ..State::first() });
    let answers = reload(&mut admin, &[]).await;
    assert_eq!(answers["artifact"].0, Refused);
    assert!(answers["artifact"].1[0].contains("manifest.json"), "{answers:?}");
    assert_eq!(answers["policy"].0, Unchanged, "the good policy is as before: {answers:?}");

    // One that the policy does not hold beside.
    let ladder = policy("first", "starter-small").replace(
        "kind = \"model\"\nmodel = \"starter-small\"",
        "kind = \"predictive\"\nladder = [\"starter-small\", \"starter-medium\", \"starter-large\"]\nthreshold = 0.2",
    );
    mounted.exchange(&State { policy: ladder.clone(), ..State::first() });
    assert_eq!(reload(&mut admin, &[]).await["policy"].0, Reloaded);
    mounted.exchange(&State { policy: ladder, artifact: lean_artifact(), ..State::first() });
    let answers = reload(&mut admin, &[]).await;
    let (result, problems) = &answers["artifact"];
    assert_eq!(*result, Refused);
    assert!(problems[0].contains("does not hold beside artifact"), "{problems:?}");
    assert!(problems[1].contains("policy.toml:6:"), "{problems:?}");
    assert_eq!(seen(client.route(request()).await.unwrap().into_inner()), before);

    // Mended, all of it is in force.
    mounted.exchange(&State::second());
    assert!(reload(&mut admin, &[]).await.values().all(|it| it.0 == Reloaded));
    let after = seen(client.route(request()).await.unwrap().into_inner());
    assert_eq!(after, (version_of(&other_artifact()), "second".to_owned()));
    let unknown = admin.reload(v1::ReloadRequest { things: vec!["weather".into()] }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::InvalidArgument);
    assert!(unknown.message().contains("artifact, policy, catalogue, prices"), "{unknown:?}");
    let named = reload(&mut admin, &["prices"]).await;
    assert_eq!(named["prices"].0, Unchanged, "{named:?}");
    drop((admin, client));
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_candidate_is_introduced_the_artifact_stays() {
    let (folder, mounted) = (tempfile::tempdir().unwrap(), Mounted::new(&State::first()));
    let settings = Settings { reload_ms: Some(NEVER), ..mounted.settings(logging(folder.path())) };
    let (server, mut admin) = started(settings, &mounted.operator).await;
    let candidate = other_artifact().display().to_string();
    let start = v1::StartRolloutRequest { artifact: candidate, margin: None, alpha: None };
    let started = admin.start_rollout(start).await.unwrap().into_inner();
    mounted.exchange(&State { policy: policy("second", "starter-large"), ..State::second() });
    let answers = reload(&mut admin, &[]).await;
    assert_eq!((answers["artifact"].0, answers["policy"].0), (Refused, Reloaded));
    let busy = format!("{} is being introduced: promote it or roll it back first", started.candidate);
    assert_eq!(answers["artifact"].1, [busy]);
    admin.roll_back(v1::RollBackRequest { reason: String::new() }).await.unwrap();
    assert_eq!(reload(&mut admin, &["artifact"]).await["artifact"].0, Reloaded);
    let rollout = admin.get_rollout(v1::GetRolloutRequest {}).await.unwrap().into_inner();
    assert_eq!(rollout.incumbent, version_of(&other_artifact()));
    drop(admin);
    server.end().await;
    let store = decision_log::open_existing(&crate::support::log_url(folder.path())).await.unwrap();
    let history = store.state("rollouts").await.unwrap().unwrap();
    assert!(history.contains("RELOADED"), "{history}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_of_the_old_artifact_is_given_back() {
    let mounted = Mounted::new(&State::first());
    let settings = mounted.settings(every(NEVER));
    let address = settings.admin_listen.unwrap();
    let router = crate::support::router();
    let old = Arc::downgrade(&router);
    let server = serve_router(router, settings).await;
    let mut admin = admin_at(address, &mounted.operator).await;
    let mut client = server.client().await;
    // A stream that stays open holds nothing between two messages.
    let (send, messages) = tokio::sync::mpsc::channel(1);
    let messages = tokio_stream::wrappers::ReceiverStream::new(messages);
    let mut stream = client.route_stream(messages).await.unwrap().into_inner();
    send.send(request()).await.unwrap();
    let first = seen(response(stream.message().await.unwrap().unwrap()));
    mounted.exchange(&State::second());
    reload(&mut admin, &[]).await;
    let gone = async {
        while old.upgrade().is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(BOUND, gone).await.expect("it goes with its last request");
    send.send(request()).await.unwrap();
    let second = seen(response(stream.message().await.unwrap().unwrap()));
    assert_ne!(first, second, "the next message is of the new version");
    drop((send, stream, client, admin));
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prices_alone_are_watched_and_sighup_reads_at_once() {
    let mounted = Mounted::new(&State::first());
    let admin_listen = free();
    let mut child = Command::new(env!("CARGO_BIN_EXE_server"))
        .args(["serve", "--listen", "127.0.0.1:0", "--decision-log", "none", "--reload-ms", "3600000"])
        .args(["--admin-listen", &admin_listen.to_string(), "--allow-anonymous=true", "--tokens"])
        .arg(mounted.path(TOKENS))
        .arg("--artifact")
        .arg(mounted.path("artifact"))
        .arg("--prices")
        .arg(mounted.path("prices.toml"))
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut admin = admin_at(admin_listen, &mounted.operator).await;
    let before = standing(&mut admin).await;
    assert_eq!(before.keys().collect::<Vec<_>>(), ["artifact", "prices"]);
    mounted.exchange(&State::second());
    let id = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-HUP", &id]).status().await.unwrap().success());
    let after = until(&mut admin, |now| now["prices"].reloads == 1 && now["artifact"].reloads == 1).await;
    assert_ne!(after["prices"].version, before["prices"].version);
    let artifact = version_of(&other_artifact());
    assert!(after["artifact"].version.starts_with(&artifact), "{after:?}");
    child.kill().await.unwrap();
}
