//! Every format that evidence comes in, the errors that bad rows give, and the way to JSONL and back.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    missing_docs,
    reason = "helpers of tests; what is left out is said aloud"
)]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use corpus::{
    Answer, Corpus, CorpusError, Evidence, Example, Preference, ReadOptions, Winner, read, write_jsonl,
};
use features::answer::{FinishReason, Signals};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use proptest::prelude::*;
use types::{Message, ModelName, Query, Role};

const JSONL: &str = r#"{"id":"a","query":"What is 2 + 2?","outcomes":{"big":1.0,"small":1}}
{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello"},{"role":"user","content":"Prove it"}],"system":"Be brief","outcomes":{"big":0.5},"weight":2.5,"slices":["b","a","b"],"group":"g","timestamp":"2024-05-01T00:00:00Z","fold":3}

{"id":"c","query":"Which?","preferences":[{"model_a":"big","model_b":"small","winner":"tie_bothbad"}]}
"#;

fn stored(folder: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn strict(path: &Path) -> Result<Corpus, CorpusError> {
    read(path, &ReadOptions::default())
}

/// What is said about a file with these bytes.
fn complaint(name: &str, bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = stored(&folder, name, bytes);
    let text = strict(&path).expect_err("expected a complaint").to_string();
    text.replace(&format!("{}/", folder.path().display()), "")
}

fn model(name: &str) -> ModelName {
    ModelName::new(name).unwrap()
}

#[test]
fn jsonl_is_read_plain_gzipped_and_zstd() {
    let folder = tempfile::tempdir().unwrap();
    let plain = strict(&stored(&folder, "x.jsonl", JSONL.as_bytes())).unwrap();
    assert_eq!((plain.report.rows_read, plain.report.rows_kept), (3, 3));
    assert_eq!(plain.sources, ["x.jsonl"]);
    let [first, chat, preference] = &plain.examples[..] else { panic!("three rows") };
    assert_eq!((first.id.as_str(), first.weight), ("a", 1.0));
    assert_eq!(first.evidence.outcomes[&model("small")], 1.0);
    assert_eq!(chat.id, "x.jsonl:2");
    assert_eq!(chat.query.system(), Some("Be brief"));
    assert_eq!((chat.weight, chat.fold, chat.group.as_deref()), (2.5, Some(3), Some("g")));
    assert_eq!(chat.slices, ["a", "b"]);
    assert_eq!(chat.timestamp_us, Some(1_714_521_600_000_000));
    assert_eq!(preference.evidence.preferences[0].winner, Winner::TieBothBad);

    let zst = zstd::encode_all(JSONL.as_bytes(), 1).unwrap();
    for (name, bytes) in [("x.jsonl.gz", gz(JSONL.as_bytes())), ("x.jsonl.zst", zst)] {
        let same = strict(&stored(&folder, name, &bytes)).unwrap().examples;
        assert_eq!(same.len(), 3, "{name}");
        assert_eq!((&same[0], &same[2]), (&plain.examples[0], &plain.examples[2]), "{name}");
    }
}

#[test]
fn a_folder_of_files_is_read_in_order() {
    let folder = tempfile::tempdir().unwrap();
    stored(&folder, "2.jsonl.gz", &gz(br#"{"query":"second","outcomes":{"m":1}}"#));
    stored(&folder, "1.csv", b"query,score:m\nfirst,0\n");
    stored(&folder, "notes.txt", b"not data");
    let corpus = strict(folder.path()).unwrap();
    let texts: Vec<&str> = corpus.examples.iter().flat_map(|e| e.query.parts().map(|p| p.1)).collect();
    assert_eq!(texts, ["first", "second"]);
    assert_eq!(corpus.sources, ["1.csv", "2.jsonl.gz"]);
}

#[test]
fn tables_tell_by_their_header_whose_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let ours = "id,query,score:big,score:small,weight,slices,fold\n1,\"a, b\",1,0.25,2,x|y,4\n2,c,,1,,,\n";
    let ours = strict(&stored(&folder, "ours.csv", ours.as_bytes())).unwrap().examples;
    assert_eq!(ours[0].evidence.outcomes[&model("small")], 0.25);
    assert_eq!((ours[0].weight, ours[0].fold, ours[0].slices.len()), (2.0, Some(4), 2));
    assert_eq!(ours[1].evidence.outcomes.len(), 1, "an empty cell is no outcome");

    let routellm = "prompt,gpt-4,mixtral\n\"two\nlines\",True,False\nq,0.5,1\n";
    let routellm = strict(&stored(&folder, "routellm.csv", routellm.as_bytes())).unwrap().examples;
    assert_eq!(routellm[0].evidence.outcomes, [(model("gpt-4"), 1.0), (model("mixtral"), 0.0)].into());
    assert_eq!(routellm[1].evidence.outcomes[&model("gpt-4")], 0.5);

    let arena = "id,model_a,model_b,prompt,response_a,response_b,winner_model_a,winner_model_b,winner_tie\n\
        7,x,y,\"[\"\"Hi\"\", null, \"\"Why?\"\"]\",\"[]\",\"[]\",0,1,0\n8,x,y,\"[\"\"Hi\"\"]\",,,0,0,1\n";
    let arena = strict(&stored(&folder, "arena.csv", arena.as_bytes())).unwrap().examples;
    assert_eq!(arena[0].query.parts().map(|(_, t)| t).collect::<Vec<_>>(), ["Hi", "", "Why?"]);
    let preference = Preference { model_a: model("x"), model_b: model("y"), winner: Winner::B };
    assert_eq!(arena[0].evidence.preferences, [preference]);
    assert_eq!(arena[1].evidence.preferences[0].winner, Winner::Tie);
}

#[test]
fn parquet_holds_what_a_csv_would() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    let schema =
        "message rows { REQUIRED BINARY prompt (UTF8); REQUIRED BOOLEAN big; REQUIRED DOUBLE small; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let file = File::create(&path).unwrap();
    let mut writer =
        SerializedFileWriter::new(file, schema, Arc::new(WriterProperties::builder().build())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let texts = [ByteArray::from("one"), ByteArray::from("two, ünï")];
    column.typed::<ByteArrayType>().write_batch(&texts, None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<BoolType>().write_batch(&[true, false], None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<DoubleType>().write_batch(&[0.25, 1.0], None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    let examples = strict(&path).unwrap().examples;
    assert_eq!(examples[0].evidence.outcomes, [(model("big"), 1.0), (model("small"), 0.25)].into());
    assert_eq!(examples[1].query, Query::text("two, ünï".to_owned()));
}

#[test]
fn prompts_and_outcomes_are_joined_and_strangers_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let prompts =
        r#"{"id":"p1","prompt":"q","source":"s","role":"train","cluster":"c9","fold":2,"gold":"B"}"#;
    stored(&folder, "prompts.jsonl.gz", &gz(prompts.as_bytes()));
    let outcome =
        |id: &str, model: &str| format!("{{\"prompt_id\":\"{id}\",\"model\":\"{model}\",\"score\":1}}\n");
    let good = outcome("p1", "big") + &outcome("p1", "small");
    stored(&folder, "outcomes.jsonl.gz", &gz(good.as_bytes()));
    let examples = strict(folder.path()).unwrap().examples;
    assert_eq!(examples.len(), 1);
    assert_eq!(examples[0].evidence.outcomes.len(), 2);
    assert_eq!((examples[0].group.as_deref(), examples[0].fold), (Some("c9"), Some(2)));
    assert!(examples[0].has_slice("role:train"));

    for (bad, expected) in [
        (
            good.clone() + &outcome("p2", "big"),
            "outcomes.jsonl.gz:3: field prompt_id: expected the id of a prompt",
        ),
        (
            good.clone() + &outcome("p1", "big"),
            "outcomes.jsonl.gz:3: field model: expected one outcome of big",
        ),
        (String::new(), "prompts.jsonl.gz:1: field id: expected an outcome of p1"),
    ] {
        stored(&folder, "outcomes.jsonl.gz", &gz(bad.as_bytes()));
        let text = strict(folder.path()).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn answers_of_a_folder_are_kept_where_they_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    stored(&folder, "prompts.jsonl.gz", &gz(b"{\"id\":\"p1\",\"prompt\":\"2 + 2?\"}\n"));
    let outcome = br#"{"prompt_id":"p1","model":"big","score":1,"cost_usd":0.25}"#;
    stored(&folder, "outcomes.jsonl.gz", &gz(outcome));
    let written =
        |model: &str| format!("{{\"prompt_id\":\"p1\",\"model\":\"{model}\",\"answer\":\"It is 4.\"}}\n");
    let answers = written("big") + &written("unjudged");
    stored(&folder, "answers.jsonl.gz", &gz(answers.as_bytes()));
    assert!(strict(folder.path()).unwrap().examples[0].evidence.answers.is_empty());
    let whole = ReadOptions { answers: true, ..ReadOptions::default() };
    let examples = read(folder.path(), &whole).unwrap().examples;
    let kept: Vec<_> = examples[0].evidence.answers.iter().collect();
    assert_eq!(kept.len(), 1, "an answer whose worth is not known teaches nothing");
    assert_eq!((kept[0].1.text.as_str(), kept[0].1.cost_usd), ("It is 4.", Some(0.25)));
    stored(&folder, "answers.jsonl.gz", &gz((written("big") + &written("big")).as_bytes()));
    let text = read(folder.path(), &whole).unwrap_err().to_string();
    assert!(text.contains("answers.jsonl.gz:2: field model: expected one answer of big"), "{text}");
}

#[test]
fn bad_rows_are_named_by_file_line_field_and_expectation() {
    let row =
        |field: &str| format!("{{\"query\":\"q\",\"outcomes\":{{\"m\":1}}}}\n{{\"query\":\"q\",{field}}}\n");
    for (field, expected) in [
        (r#""outcomes":{"m":1.5}"#, "x.jsonl:2: field outcomes.m: expected a score in [0, 1], found 1.5"),
        (
            r#""outcomes":{"m":"high"}"#,
            "x.jsonl:2: field outcomes.m: invalid type: string \"high\", expected f64",
        ),
        (r#""outcomes":{}"#, "x.jsonl:2: field outcomes: expected outcomes or preferences, found neither"),
        (r#""outcome":{"m":1}"#, "x.jsonl:2: field outcome: unknown field `outcome`"),
        (r#""outcomes":{"m":1},"weight":0"#, "x.jsonl:2: field weight: expected a finite number above 0"),
        (r#""outcomes":{"m":1},"timestamp":"soon""#, "x.jsonl:2: field timestamp: expected RFC 3339"),
        (r#""outcomes":{"m":1},"messages":[]"#, "x.jsonl:2: field query: expected either query or messages"),
        (
            r#""preferences":[{"model_a":"m","model_b":"n","winner":"both"}]"#,
            "x.jsonl:2: field winner: expected a, b, tie or tie_bothbad, found \"both\"",
        ),
        (
            r#""outcomes":{"m":1},"answers":{"n":{"text":"4"}}"#,
            "x.jsonl:2: field answers.n: expected an outcome of the same model, found none",
        ),
        (
            r#""outcomes":{"m":1},"answers":{"m":{"text":"4","finish_reason":"done"}}"#,
            "x.jsonl:2: field answers.m.finish_reason: expected stop, length",
        ),
        (
            r#""outcomes":{"m":1},"answers":{"m":{"text":"4","mean_log_probability":0.5}}"#,
            "x.jsonl:2: field answers.m.mean_log_probability: expected a log-probability, at most 0",
        ),
        (r#""outcomes":{"m":1},"answers":{"m":{}}"#, "x.jsonl:2: field answers.m: missing field `text`"),
        (r#""outcomes":{"m":1},"slices":["\ud83d"]"#, "x.jsonl:2: field slices"),
    ] {
        let text = complaint("x.jsonl", row(field).as_bytes());
        assert!(text.starts_with(expected), "{field}: {text}");
    }
    let lone = complaint("x.jsonl", br#"{"query":"\ude00 oops","outcomes":{"m":1}}"#);
    assert!(lone.starts_with("x.jsonl:1: field query") && lone.contains("surrogate"), "{lone}");
    let bytes = complaint("x.jsonl", b"{\"query\":\"\xff\"}");
    assert!(bytes.starts_with("x.jsonl:1: field line: expected UTF-8"), "{bytes}");
    let csv = complaint("x.csv", b"prompt,m\nq,1\nq,maybe\n");
    assert!(csv.starts_with("x.csv:3: field score:m: expected a number, found \"maybe\""), "{csv}");
    let ragged = complaint("x.csv", b"prompt,m\nq,1\nq\n");
    assert!(ragged.starts_with("x.csv:3: field line"), "{ragged}");
    let header = complaint("x.csv", b"text,m\nq,1\n");
    assert!(header.contains("expected a column query or prompt, found text, m"), "{header}");
    let parquet = complaint("x.parquet", b"PAR1 no table PAR1");
    assert!(parquet.starts_with("x.parquet: "), "{parquet}");
    let cut = complaint("x.jsonl.gz", &gz(JSONL.as_bytes())[..40]);
    assert!(cut.starts_with("x.jsonl.gz: "), "{cut}");
    let unknown = complaint("x.xlsx", b"");
    assert!(unknown.contains("expected .jsonl, .csv"), "{unknown}");
}

#[test]
fn the_first_bad_row_stops_with_a_count_of_each_kind_unless_bad_rows_are_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let rows = "{\"query\":\"q\",\"outcomes\":{\"m\":2}}\n{\"query\":\"q\",\"outcomes\":{\"n\":3}}\nnonsense\n\
        {\"query\":\"q\",\"outcomes\":{\"m\":1}}\n";
    let path = stored(&folder, "x.jsonl", rows.as_bytes());
    let CorpusError::Rows { first, kinds } = strict(&path).unwrap_err() else { panic!("rows") };
    assert_eq!((first.line, first.field.as_str()), (1, "outcomes.m"));
    assert_eq!(kinds, [("field line".to_owned(), 1), ("field outcomes".to_owned(), 2)].into());
    let corpus = read(&path, &ReadOptions { skip_invalid: true, ..ReadOptions::default() }).unwrap();
    assert_eq!((corpus.report.rows_read, corpus.report.rows_kept), (4, 1));
    assert_eq!(corpus.report.skipped.values().sum::<usize>(), 3);
}

#[test]
fn the_shared_corpora_have_the_rows_that_are_known_of_them() {
    let Some(shared) = shared() else { return };
    let corpus = strict(&shared.join("routellm")).unwrap();
    let task = |task: &str| {
        let rows: Vec<&Example> = corpus
            .examples
            .iter()
            .filter(|e| e.has_slice(&format!("task:{task}")) && !e.has_slice("contaminated:true"))
            .collect();
        let mean = |name: &str| {
            rows.iter().map(|e| e.evidence.outcomes[&model(name)]).sum::<f64>() / rows.len() as f64
        };
        (rows.len(), mean("mistralai/Mixtral-8x7B-Instruct-v0.1"), mean("gpt-4-1106-preview"))
    };
    let (rows, weak, strong) = task("mmlu");
    assert_eq!(rows, 14_037);
    assert!((weak - 0.680_915).abs() < 1e-6 && (strong - 0.805_870).abs() < 1e-6, "{weak} {strong}");
    let (rows, weak, strong) = task("gsm8k");
    assert_eq!(rows, 1_307);
    assert!((weak - 0.637_337).abs() < 1e-6 && (strong - 0.857_689).abs() < 1e-6, "{weak} {strong}");
    for (name, rows) in [("mmlu_pro", 12_032), ("zeroeval", 1_831), ("llmrouter_uiuc", 5_989)] {
        assert_eq!(strict(&shared.join(name)).unwrap().examples.len(), rows, "{name}");
    }
}

/// The shared corpora, or `None` with a word about it; an error where CI insists on them.
fn shared() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let path = std::env::var_os("RUNG_SHARED").map_or_else(beside, PathBuf::from);
    if path.is_dir() {
        return Some(path);
    }
    assert!(std::env::var_os("RUNG_REQUIRE_SHARED").is_none(), "{} is not there", path.display());
    println!("left out: no shared corpora at {}", path.display());
    None
}

fn arbitrary_example() -> impl Strategy<Value = Example> {
    let turn = (prop::sample::select(vec![Role::User, Role::Assistant, Role::Tool]), any::<String>())
        .prop_map(|(role, content)| Message { role, content });
    let user = any::<String>().prop_map(|content| Message { role: Role::User, content });
    let chat = (prop::collection::vec(turn, 0..3), user).prop_map(|(mut turns, last)| {
        turns.push(last);
        Query::chat(turns).unwrap()
    });
    let query = prop_oneof![any::<String>().prop_map(Query::text), chat];
    let name = || "[a-z]{1,6}".prop_map(|name| ModelName::new(&name).unwrap());
    let winner = prop::sample::select(vec![Winner::A, Winner::B, Winner::Tie, Winner::TieBothBad]);
    let preference = (name(), winner).prop_map(|(model_a, winner)| Preference {
        model_a,
        model_b: ModelName::new("OTHER").unwrap(),
        winner,
    });
    let evidence =
        (prop::collection::btree_map(name(), 0.0..=1.0f64, 1..4), prop::collection::vec(preference, 0..3))
            .prop_map(|(outcomes, preferences)| Evidence { outcomes, preferences, ..Evidence::default() });
    let signals =
        (any::<bool>(), prop::option::of(-9.0..=0.0f64), prop::collection::vec(any::<String>(), 0..2))
            .prop_map(|(stopped, mean_log_probability, other_answers)| Signals {
                finish_reason: stopped.then_some(FinishReason::Stop),
                mean_log_probability,
                other_answers,
                ..Signals::default()
            });
    let answer = (any::<String>(), signals, prop::option::of(0.0..1e6f64))
        .prop_map(|(text, signals, cost_usd)| Answer { text, signals, cost_usd, latency_s: None });
    let evidence = (evidence, prop::option::of(answer)).prop_map(|(mut evidence, answer)| {
        let first = evidence.outcomes.keys().next().cloned();
        evidence.answers = first.zip(answer).into_iter().collect();
        evidence
    });
    let stamp = prop::option::of(-60_000_000_000_000_000i64..250_000_000_000_000_000);
    let rest = (
        1e-6..1e6f64,
        prop::collection::btree_set("[a-z:]{1,8}", 0..3),
        prop::option::of(any::<String>()),
        stamp,
        prop::option::of(any::<u32>()),
        prop::option::of(0.0..=1.0f64),
    );
    (any::<String>(), query, evidence, rest).prop_map(
        |(id, query, evidence, (weight, slices, group, timestamp_us, fold, true_win_probability))| Example {
            id,
            query,
            evidence,
            weight,
            slices: slices.into_iter().collect(),
            group,
            timestamp_us,
            fold,
            true_win_probability,
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(examples in prop::collection::vec(arbitrary_example(), 1..5)) {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = Vec::new();
        write_jsonl(&examples, &mut bytes).unwrap();
        let path = stored(&folder, "x.jsonl", &bytes);
        let whole = ReadOptions { answers: true, ..ReadOptions::default() };
        prop_assert_eq!(&read(&path, &whole).unwrap().examples, &examples);
        let mut bare = examples;
        bare.iter_mut().for_each(|example| example.evidence.answers.clear());
        prop_assert_eq!(strict(&path).unwrap().examples, bare);
    }

    #[test]
    fn garbage_is_refused_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), end in 0..5usize) {
        let folder = tempfile::tempdir().unwrap();
        let name = ["x.jsonl", "x.jsonl.gz", "x.jsonl.zst", "x.csv", "x.parquet"][end];
        let path = stored(&folder, name, &bytes);
        if let Ok(corpus) = strict(&path) {
            prop_assert!(corpus.examples.len() <= bytes.len());
        }
    }
}
