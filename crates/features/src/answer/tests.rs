//! Answers read whole.

use super::*;
use proptest::prelude::*;

fn read(query: &str, answer: &str, signals: &Signals) -> AnswerFeatures {
    let mut out = AnswerFeatures::default();
    AnswerReader::new(FeatureConfig::default()).read(&Query::text(query), answer, signals, &mut out);
    out
}

fn value(of: &AnswerFeatures, name: &str) -> f32 {
    of.row[ANSWER_NAMES.iter().position(|n| *n == name).unwrap()]
}

#[test]
fn final_answers_are_found_where_they_are_stated() {
    let of = |text| {
        let ending = final_answer(text);
        (ending.text, ending.stated)
    };
    assert_eq!(of("Let us see. The answer is (C).\n"), ("C", 1));
    assert_eq!(of("so **Final Answer:** \\boxed{1,234.5} units"), ("1,234.5", 3));
    assert_eq!(of("{\"reasoning\": \"9 x 2\", \"answer\": \"18\"}"), ("18", 1));
    assert_eq!(of("2 + 2 = 4\n#### 4"), ("4", 1));
    assert_eq!(of("They have -3.50 left."), ("-3.50", 0));
    assert_eq!(of("no digits\nParis, France "), ("Paris, France", 0));
    assert_eq!(of("The answer is"), ("The answer is", 0));
    assert_eq!(of(""), ("", 0));
    assert!(final_answer("The answer is (c)").is_option() && !final_answer("The answer is 3").is_option());
    assert!(final_answer("The answer is $1,200").is_number());
}

#[test]
fn votes_agree_with_the_reference() {
    // methods/golden/06_verifier.json, vote: three of five, 0.9502705392332347 nats.
    let others = ["42.0", "forty-two", "41", "42"].map(str::to_owned);
    let found = agreement("42", &others).unwrap();
    assert!((found.top_share - 0.6).abs() < 1e-12);
    assert!((found.entropy - 0.950_270_539_233_234_7).abs() < 1e-12);
    assert!((found.own_share - 0.5).abs() < 1e-12);
    assert_eq!(agreement("42", &[]), None);
}

#[test]
fn a_row_says_what_is_there() {
    let query = "How many eggs are left, in JSON? Ducks of Janet lay 16. A) 9 B) 3";
    let good = read(query, "Janet has 16 eggs. {\"answer\": \"B\"}", &Signals::default());
    for (name, expected) in [
        ("final_answer_is_option", 1.0),
        ("final_option_offered", 1.0),
        ("json_wanted", 1.0),
        ("json_holds", 1.0),
        ("number_wanted", 1.0),
        ("number_present", 1.0),
        ("query_numbers_covered", 1.0 / 3.0),
        ("finish_known", 0.0),
        ("agreement_known", 0.0),
    ] {
        assert!((value(&good, name) - expected).abs() < 1e-6, "{name}: {}", value(&good, name));
    }
    let signals = Signals {
        finish_reason: Some(FinishReason::Length),
        mean_log_probability: Some(-0.5),
        least_log_probability: Some(f64::NEG_INFINITY),
        first_margin: Some(0.25),
        other_answers: vec!["It is b".into(), "The answer is (B)".into()],
        predicted_success: Some(1.0),
        similarity: Some(0.5),
    };
    let cut = read(query, "I'm sorry, the answer is B, because we", &signals);
    assert_eq!(value(&cut, "finish_length"), 1.0);
    assert_eq!(value(&cut, "least_log_probability"), -20.0);
    assert_eq!(value(&cut, "agreement_share"), 0.5);
    assert_eq!(value(&cut, "ends_in_the_middle"), 1.0);
    assert!(value(&cut, "log_refusals") > 0.0);
    assert_eq!((value(&cut, "predicted_success_logit"), value(&cut, "similarity")), (8.0, 0.5));
    assert_eq!(signals.supplied(), [true; 5]);
}

proptest! {
    #[test]
    fn any_answer_is_read_whole_and_finite(query in "\\PC{0,80}", answer in "\\PC{0,200}|[ -~\\n]{0,200}") {
        let signals = Signals { other_answers: vec![answer.clone()], ..Signals::default() };
        let features = read(&query, &answer, &signals);
        prop_assert_eq!(features.row.len(), ANSWER_LEN);
        prop_assert_eq!(dense(&features.query, &features.answer, &features.row).count(), ANSWER_DENSE_LEN);
        prop_assert!(dense(&features.query, &features.answer, &features.row).all(f32::is_finite));
        prop_assert_eq!(value(&features, "agreement_share"), 1.0, "an answer agrees with itself");
        let ending = final_answer(&answer);
        prop_assert_eq!(&answer[ending.start..ending.end], ending.text);
    }
}
