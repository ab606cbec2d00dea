//! Bodies of the three kinds, and bodies that mean harm.

use proptest::prelude::*;

use super::*;

fn of(text: &str) -> Result<Asked, Unrouted> {
    read(text.as_bytes(), true)?.asked
}

fn turns(text: &str) -> Vec<(String, String)> {
    let Input::Chat(chat) = of(text).unwrap().input else { panic!("{text}: no chat") };
    chat.messages.into_iter().map(|turn| (turn.role, turn.content)).collect()
}

fn pairs(given: &[(&str, &str)]) -> Vec<(String, String)> {
    given.iter().map(|(role, content)| ((*role).to_owned(), (*content).to_owned())).collect()
}

#[test]
fn chat_completions_give_turns() {
    let text = r#" {"model": "auto", "stream": true, "messages": [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "what is"}, {"type": "image_url", "image_url": {"url": "x"}},
                                     {"type": "text", "text": "this?"}]},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "tool_call_id": "1", "content": "a cat"}], "temperature": 0.5}"#;
    let expected =
        [("developer", "be brief"), ("user", "what is\nthis?"), ("assistant", ""), ("tool", "a cat")];
    assert_eq!(turns(text), pairs(&expected));
}

#[test]
fn responses_give_turns_or_text() {
    let asked = of(r#"{"input": "why?", "instructions": "be kind"}"#).unwrap();
    assert_eq!((asked.input, asked.system.as_deref()), (Input::Text("why?".into()), Some("be kind")));
    let text = r#"{"input": [
        {"role": "user", "content": [{"type": "input_text", "text": "weather?"}]},
        {"type": "reasoning", "summary": []},
        {"type": "function_call", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "rain"}]}"#;
    assert_eq!(turns(text), pairs(&[("user", "weather?"), ("tool", "rain")]));
}

#[test]
fn completions_give_text() {
    assert_eq!(of(r#"{"prompt": "Say hi"}"#).unwrap().input, Input::Text("Say hi".into()));
    assert_eq!(of(r#"{"prompt": ["one", "two"]}"#).unwrap().input, Input::Text("one\ntwo".into()));
}

#[test]
fn what_cannot_be_routed_says_why() {
    let cases = [
        ("", Reason::NotJson),
        ("not json", Reason::NotJson),
        ("[1, 2]", Reason::NotJson),
        (r#"{"messages": [}"#, Reason::NotJson),
        (r#"{"prompt": "x"} trailing"#, Reason::NotJson),
        (r#"{"prompt": "cut"#, Reason::NotJson),
        ("{}", Reason::NoText),
        (r#"{"prompt": [1, 2, 3]}"#, Reason::NoText),
        (r#"{"prompt": "  "}"#, Reason::NoText),
        (r#"{"messages": []}"#, Reason::NoText),
        (r#"{"messages": [{"role": "system", "content": "x"}]}"#, Reason::NoText),
        (r#"{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}"#, Reason::NoText),
        (r#"{"messages": "x"}"#, Reason::Invalid),
        (r#"{"messages": [{"content": "no role"}]}"#, Reason::Invalid),
        (r#"{"messages": [{"role": "user", "content": "a"}], "prompt": "b"}"#, Reason::Invalid),
        (r#"{"prompt": "a", "prompt": "b"}"#, Reason::Invalid),
        (r#"{"model": "a", "model": "b", "prompt": "c"}"#, Reason::Invalid),
        (r#"{"prompt": {"text": "a", "text": "b"}}"#, Reason::Invalid),
    ];
    for (text, reason) in cases {
        assert_eq!(of(text).unwrap_err().reason, reason, "{text}");
    }
    assert_eq!(read(b"{\"prompt\": \"\xff\"}", true).unwrap_err().reason, Reason::NotJson);
    // Invalid where nobody looks is invalid all the same.
    assert_eq!(read(b"{\"prompt\": \"a\", \"user\": \"\xff\"}", true).unwrap_err().reason, Reason::NotJson);
}

#[test]
fn what_was_cut_off_is_too_long() {
    let body = "{\"prompt\": \"grüße";
    assert_eq!(read(body.as_bytes(), false).unwrap_err().reason, Reason::BodyTooLong);
    let inside_a_letter = &body.as_bytes()[..body.len() - 2];
    assert!(std::str::from_utf8(inside_a_letter).is_err());
    assert_eq!(read(inside_a_letter, false).unwrap_err().reason, Reason::BodyTooLong);
    // Trailers may follow a body that is whole.
    assert!(read(b"{\"prompt\": \"x\"}", false).unwrap().asked.is_ok());
}

#[test]
fn nesting_costs_no_stack() {
    for depth in [200, 200_000] {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        let text = format!("{{\"messages\": [{{\"role\": \"user\", \"content\": {open}{close}}}]}}");
        assert_eq!(of(&text).unwrap_err().reason, Reason::NotJson, "{depth}");
        let parts = format!("{{\"prompt\": {}\"x\"{}}}", "{\"text\":".repeat(depth), "}".repeat(depth));
        assert_eq!(of(&parts).unwrap_err().reason, Reason::NotJson, "{depth}");
        // Where nothing is read, depth is nobody's business.
        let aside = format!("{{\"prompt\": \"x\", \"metadata\": {open}{close}}}");
        assert_eq!(of(&aside).unwrap().input, Input::Text("x".into()), "{depth}");
    }
}

#[test]
fn a_model_is_replaced_where_it_stands_and_nothing_else_is_touched() {
    let replaced = |text: &str| {
        let place = read(text.as_bytes(), true).unwrap().model;
        String::from_utf8(with_model(text.as_bytes(), &place, "big \"x\"")).unwrap()
    };
    let big = r#""big \"x\"""#;
    let body = |model: &str| format!(" {{\"prompt\": \"model\", \"seed\": 1.50, \"model\" : {model} }}");
    for model in ["\"auto\"", "null", "{\"a\": 1}"] {
        assert_eq!(replaced(&body(model)), body(big), "{model}");
    }
    assert_eq!(replaced(" { \"prompt\":\"x\"}"), format!(" {{\"model\":{big}, \"prompt\":\"x\"}}"));
}

proptest! {
    #[test]
    fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..300), whole: bool) {
        let _ = read(&body, whole);
    }

    #[test]
    fn json_like_text_never_panics(text in r#"[\[\]{}:,"a-z0-9 \\]{0,80}"#, whole: bool) {
        let _ = read(text.as_bytes(), whole);
    }

    #[test]
    fn a_replaced_model_is_read_back(prompt in "\\PC{1,40}", before in "\\PC{0,20}", after in "\\PC{1,20}") {
        prop_assume!(!prompt.trim().is_empty());
        let body = serde_json::json!({"model": before, "prompt": prompt, "other": 3}).to_string();
        let place = read(body.as_bytes(), true).unwrap().model;
        let other = with_model(body.as_bytes(), &place, &after);
        let expected = serde_json::json!({"model": after, "prompt": prompt, "other": 3});
        prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&other).unwrap(), expected);
    }
}
