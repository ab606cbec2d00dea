//! The threads against a double of the encoder that stops at a gate and panics on demand: nothing here waits for a
//! clock to be right.

use super::*;

/// Answers a text with its length; stops at the gate on `slow`, panics on `lose`.
struct Double {
    name: &'static str,
    loses: bool,
    entered: mpsc::Sender<()>,
    gate: Mutex<mpsc::Receiver<()>>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Embed for Double {
    fn ids(&self, text: &str) -> Result<Vec<u32>, EncoderError> {
        if text == "unreadable" {
            return Err(EncoderError::Tokenizer("no token".into()));
        }
        Ok(text.chars().map(u32::from).collect())
    }

    fn embed_batch(&self, rows: &[&[u32]]) -> Vec<Vec<f32>> {
        let texts: Vec<String> =
            rows.iter().map(|ids| ids.iter().filter_map(|id| char::from_u32(*id)).collect()).collect();
        for text in &texts {
            assert!(!(self.loses && text == "lose"), "the device is lost");
            if text == "slow" {
                self.entered.send(()).unwrap();
                self.gate.lock().unwrap().recv().unwrap();
            }
        }
        let warm_up = |text: &String| text.starts_with("word ");
        self.seen.lock().unwrap().extend(texts.into_iter().filter(|text| !warm_up(text)));
        rows.iter().map(|ids| vec![ids.len() as f32]).collect()
    }

    fn describe(&self) -> String {
        self.name.to_owned()
    }
}

/// Workers over a double, and the test's ends of it.
struct Bench {
    workers: DeepWorkers,
    counters: Arc<Counters>,
    entered: mpsc::Receiver<()>,
    open: mpsc::Sender<()>,
    seen: Arc<Mutex<Vec<String>>>,
}

fn patient() -> DeepOptions {
    DeepOptions { deadline: Duration::from_secs(600), ..DeepOptions::default() }
}

impl Bench {
    /// `spare`: none, or one that loses its device too or not.
    fn new(options: &DeepOptions, spare: Option<bool>) -> Self {
        let ((enter, entered), (open, gate)) = (mpsc::channel(), mpsc::channel());
        let (counters, seen) = (Arc::<Counters>::default(), Arc::<Mutex<Vec<String>>>::default());
        let all = seen.clone();
        let first =
            Double { name: "first", loses: true, entered: enter, gate: gate.into(), seen: seen.clone() };
        let spare = move || {
            let (entered, gate, seen) = (mpsc::channel().0, mpsc::channel().1.into(), all.clone());
            Some(Arc::new(Double { name: "spare", loses: spare?, entered, gate, seen }) as Arc<dyn Embed>)
        };
        let workers =
            DeepWorkers::start(Arc::new(first), Box::new(spare), options, counters.clone()).unwrap();
        Self { workers, counters, entered, open, seen }
    }

    /// A worker that stands at the gate.
    fn busy(&self) -> Ticket {
        let ticket = self.workers.submit("slow", None).unwrap();
        self.entered.recv().unwrap();
        ticket
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn what_waits_is_taken_as_one_batch_up_to_its_size() {
    let bench = Bench::new(&DeepOptions { max_batch: 3, ..patient() }, None);
    let busy = bench.busy();
    let tickets: Vec<_> =
        ["a", "bb", "ccc", "dddd"].iter().map(|t| bench.workers.submit(t, None).unwrap()).collect();
    bench.open.send(()).unwrap();
    assert_eq!(busy.wait().await, Ok(Embedded { vector: vec![4.0], device_lost: false }));
    for (length, ticket) in (1u8..).zip(tickets) {
        assert_eq!(ticket.wait().await.unwrap().vector, [f32::from(length)], "each gets its own");
    }
    let counts = bench.counters.snapshot();
    assert_eq!((counts.batches, counts.batched_rows, counts.skipped), (3, 5, 0));
    assert_eq!(bench.seen(), ["slow", "a", "bb", "ccc", "dddd"]);
}

#[tokio::test]
async fn who_is_late_or_gone_costs_no_work() {
    let bench = Bench::new(&patient(), None);
    let busy = bench.busy();
    let soon = Instant::now() + WAY_BACK + Duration::from_millis(1);
    // The clock may pass that deadline before or after it is read here: the answer is the same.
    let late = match bench.workers.submit("late", Some(soon)) {
        Ok(ticket) => ticket.wait().await,
        Err(reason) => Err(reason),
    };
    assert_eq!(late, Err(TierReason::DeadlineTooNear));
    drop(bench.workers.submit("gone", None).unwrap());
    let last = bench.workers.submit("last", None).unwrap();
    bench.open.send(()).unwrap();
    assert!(busy.wait().await.is_ok() && last.wait().await.is_ok());
    assert_eq!(bench.seen(), ["slow", "last"]);
    let over = bench.workers.submit("over", Some(Instant::now())).err();
    assert_eq!(over, Some(TierReason::DeadlineTooNear));
    let hurried = Bench::new(&DeepOptions { deadline: Duration::ZERO, ..patient() }, None);
    assert_eq!(hurried.workers.submit("a", None).err(), Some(TierReason::DeadlineTooNear));
}

#[tokio::test]
async fn a_full_queue_says_so_at_once() {
    let bench = Bench::new(&DeepOptions { queue: 1, ..patient() }, None);
    let busy = bench.busy();
    let waiting = bench.workers.submit("waiting", None).unwrap();
    assert_eq!(bench.workers.submit("third", None).err(), Some(TierReason::QueueFull));
    bench.open.send(()).unwrap();
    assert!(busy.wait().await.is_ok() && waiting.wait().await.is_ok());
    assert!(bench.workers.submit("again", None).unwrap().wait().await.is_ok());
    assert_eq!(bench.workers.submit("unreadable", None).err(), Some(TierReason::EncoderFailed));
}

#[tokio::test]
async fn a_lost_device_is_replaced_and_never_forgotten() {
    let bench = Bench::new(&patient(), Some(false));
    let answer = |text| bench.workers.submit(text, None).unwrap().wait();
    assert!(!answer("before").await.unwrap().device_lost);
    let lost = answer("lose").await;
    assert_eq!(lost, Ok(Embedded { vector: vec![4.0], device_lost: true }), "the job at hand is served");
    assert!(answer("after").await.unwrap().device_lost);
    assert_eq!((bench.counters.snapshot().device_lost, bench.workers.describe()), (1, "spare".to_owned()));
}

#[tokio::test]
async fn without_a_spare_that_works_the_fast_tier_decides() {
    for spare in [None, Some(true)] {
        let bench = Bench::new(&patient(), spare);
        for _ in 0..2 {
            let answer = bench.workers.submit("lose", None).unwrap().wait().await;
            assert_eq!(answer, Err(TierReason::DeviceLost));
        }
        assert!(bench.workers.submit("fine", None).unwrap().wait().await.unwrap().device_lost);
        assert_eq!(bench.counters.snapshot().device_lost, 1);
    }
}

#[test]
fn an_engine_that_fails_its_warm_up_is_not_served() {
    struct Broken;
    impl Embed for Broken {
        fn ids(&self, _: &str) -> Result<Vec<u32>, EncoderError> {
            Ok(vec![0])
        }
        fn embed_batch(&self, _: &[&[u32]]) -> Vec<Vec<f32>> {
            Vec::new()
        }
        fn describe(&self) -> String {
            String::new()
        }
    }
    let started =
        DeepWorkers::start(Arc::new(Broken), Box::new(|| None), &DeepOptions::default(), Arc::default());
    assert!(matches!(started, Err(RouterError::EncoderWarmUp(TierReason::DeviceLost))));
}

/// Tells the niceness of the thread that runs it.
struct Nice(mpsc::Sender<i32>);

impl Embed for Nice {
    fn ids(&self, _: &str) -> Result<Vec<u32>, EncoderError> {
        Ok(vec![1])
    }

    fn embed_batch(&self, rows: &[&[u32]]) -> Vec<Vec<f32>> {
        self.0.send(rustix::process::nice(0).unwrap()).unwrap();
        rows.iter().map(|_| vec![0.0]).collect()
    }

    fn describe(&self) -> String {
        "nice".to_owned()
    }
}

#[test]
fn an_encoder_is_not_as_nice_as_the_thread_that_read_it() {
    encoder_threads_begin_here();
    let (tell, told) = mpsc::channel();
    let read_behind = move || {
        rustix::process::nice(9).unwrap();
        let options = DeepOptions { workers: 2, ..patient() };
        DeepWorkers::start(Arc::new(Nice(tell)), Box::new(|| None), &options, Arc::default()).unwrap()
    };
    drop(std::thread::spawn(read_behind).join().unwrap());
    let own = rustix::process::nice(0).unwrap();
    let seen: Vec<i32> = told.iter().collect();
    assert!(seen.len() >= 2 && seen.iter().all(|nice| *nice == own), "{seen:?}, {own} here");
}
