//! What of a query the encoder reads.

use types::{Query, Role};

/// The text the encoder reads: the last user turn, and before it earlier user turns while there is room.
///
/// At most `MOST_BYTES` are put together, more than any token budget needs; the turn that asks is always there
/// whole.
pub fn encoder_text(query: &Query) -> String {
    last_turns(query, MOST_BYTES)
}

/// Bytes of earlier turns beyond which the encoder could not read them anyway.
const MOST_BYTES: usize = 16 << 10;

fn last_turns(query: &Query, most_bytes: usize) -> String {
    let mut turns: Vec<&str> = Vec::new();
    let mut bytes = 0;
    for (_, text) in query.parts().rev().filter(|(role, _)| *role == Role::User) {
        if !turns.is_empty() && bytes + text.len() > most_bytes {
            break;
        }
        bytes += text.len();
        turns.push(text);
    }
    turns.reverse();
    turns.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::Message;

    #[test]
    fn the_question_comes_with_the_turns_before_it_that_fit() {
        let turn = |role, content: &str| Message { role, content: content.into() };
        let query = Query::chat(vec![
            turn(Role::User, "a long story"),
            turn(Role::Assistant, "I see"),
            turn(Role::User, "what then?"),
        ]);
        let query = query.unwrap().with_system("be brief");
        assert_eq!(last_turns(&query, 100), "a long story\nwhat then?");
        assert_eq!(last_turns(&query, 10), "what then?");
        assert_eq!(last_turns(&query, 0), "what then?");
    }
}
