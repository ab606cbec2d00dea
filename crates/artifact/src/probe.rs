//! Fixed queries whose probabilities are stored with an artifact and replayed when it is loaded:
//! a build that reads text differently or computes differently is found out before it serves.

use types::{Message, Query, Role};

/// The queries. Changing one is a new format version.
pub fn probe_queries() -> Vec<Query> {
    let turn = |role, content: &str| Message { role, content: content.to_owned() };
    let mut queries: Vec<Query> = [
        "",
        "hi",
        "What are your opening hours on Sunday?",
        "Prove that there are infinitely many primes congruent to 3 modulo 4.",
        "Write a SQL query that lists, for each customer, the second most recent order.",
        "A train leaves at 9:40 and arrives at 13:05. How long does the journey take?",
        "Übersetze bitte: the invoice must be paid within 30 days.",
        "次の文を要約してください。会議は来週の月曜日に延期されました。",
        "fn main() { let v = vec![1, 2, 3]; println!(\"{}\", v.iter().sum::<i32>()); }",
        "🙂🙂🙂",
        "Let $f(x) = x^3 - 3x + 1$. Determine all real roots and justify each step.",
    ]
    .into_iter()
    .map(Query::text)
    .collect();
    queries.push(Query::text("Compare both contracts clause by clause. ".repeat(300)));
    queries.push(Query::text("Answer in one word: is water wet?").with_system("You are terse."));
    let chat = Query::chat(vec![
        turn(Role::User, "My parcel has not arrived."),
        turn(Role::Assistant, "I am sorry to hear that. What is the order number?"),
        turn(Role::User, "It is 48213, and explain why it was late."),
    ]);
    queries.extend(chat);
    queries
}
