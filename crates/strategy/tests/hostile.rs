//! Whatever bytes come, a policy is read and walked, or refused at a place: the body of the fuzz target of that name.
#![allow(unreachable_pub, reason = "bodies of fuzz targets are public there")]

#[path = "../../../fuzz/src/hostile.rs"]
mod hostile;
#[path = "../../../fuzz/src/policy.rs"]
mod policy;

#[test]
fn any_policy_is_read_or_refused() {
    hostile::hold("policy", 3_000, policy::decode);
}

/// A policy that names what is not there, four thousand times among as many names, each as long as it likes.
#[test]
fn a_long_policy_is_refused_in_few_words() {
    let name = "n".repeat(100_000);
    let mut many =
        format!("version = 1\ndefault = \"{name}x\"\n{name} = 1\n[strategy.{name}]\nkind = \"model\"\n");
    many += &format!("fallback = \"y{name}\"\nmodel = \"a\"\nladder = [{}]\n", "\"a\", ".repeat(4_000));
    for i in 0..4_000 {
        many += &format!(
            "[strategy.s{i}]\nkind = \"model\"\nmodel = \"a\"\nfallback = \"t{i}\"\n[[rule]]\nuse = \"u{i}\"\n"
        );
    }
    let rule = "{ when = { slice = \"a\" }, use = \"a\" }, ";
    let one_line = format!("version = 1\ndefault = \"a\"\nrule = [{}]\n", rule.repeat(10_000));
    for text in [many, one_line] {
        policy::decode(text.as_bytes());
        let refused = strategy::Program::parse("policy.toml", &text).unwrap_err();
        assert!((100..=200).contains(&refused.len()), "{} problems", refused.len());
        let told: usize = refused.iter().map(|problem| problem.to_string().len()).sum();
        assert!(told < 10 * text.len(), "{told} bytes tell what is wrong with {}", text.len());
    }
}
