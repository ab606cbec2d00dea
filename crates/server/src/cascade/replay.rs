//! Which tokens were used, with which answer, and what was said then: a retry hears the same again, another answer is
//! refused. Per process and bounded; what is forgotten is judged anew.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use api::v1;

use super::token::{Claims, Fingerprint, TokenError};

/// Tokens remembered at most: about a kilobyte each.
const MOST: usize = 16_384;

/// Verdicts by token, as long as the tokens are good.
#[derive(Debug)]
pub(crate) struct Replays {
    most: usize,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    by_id: HashMap<[u8; 16], Verdict>,
    /// In the order they came, with when they expire: tokens live equally long, so the front is the oldest.
    order: VecDeque<([u8; 16], u64)>,
}

#[derive(Debug)]
struct Verdict {
    answer: Fingerprint,
    response: v1::AssessResponse,
}

impl Default for Replays {
    fn default() -> Self {
        Self::of(MOST)
    }
}

impl Replays {
    fn of(most: usize) -> Self {
        Self { most, used: Mutex::default() }
    }

    /// What was said to this token and answer before; `None`: the token is new here.
    pub(crate) fn known(
        &self,
        token: &Claims,
        answer: &Fingerprint,
    ) -> Result<Option<v1::AssessResponse>, TokenError> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).known(token, answer)
    }

    /// Remembers a verdict and returns what stands: of two at once it is the first one's.
    pub(crate) fn file(
        &self,
        token: &Claims,
        answer: Fingerprint,
        response: v1::AssessResponse,
        now_ms: u64,
    ) -> Result<v1::AssessResponse, TokenError> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = used.known(token, &answer)? {
            return Ok(known);
        }
        used.forget(now_ms, self.most);
        used.order.push_back((token.id, token.expires_ms));
        used.by_id.insert(token.id, Verdict { answer, response: response.clone() });
        Ok(response)
    }
}

impl Used {
    fn known(&self, token: &Claims, answer: &Fingerprint) -> Result<Option<v1::AssessResponse>, TokenError> {
        match self.by_id.get(&token.id) {
            None => Ok(None),
            Some(verdict) if verdict.answer == *answer => {
                Ok(Some(v1::AssessResponse { repeated: true, ..verdict.response.clone() }))
            }
            Some(_) => Err(TokenError::Reused),
        }
    }

    /// Makes room for one more: whatever has expired at the front, then the oldest.
    fn forget(&mut self, now_ms: u64, most: usize) {
        while let Some((id, expires_ms)) = self.order.front() {
            if *expires_ms > now_ms && self.order.len() < most {
                break;
            }
            self.by_id.remove(id);
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: u8, expires_ms: u64) -> Claims {
        Claims {
            id: [id; 16],
            issued_ms: 0,
            expires_ms,
            deadline_ms: None,
            stage: 0,
            cost_usd: 0.0,
            query: [0; 16],
            tuning: [0; 16],
            verifier: String::new(),
            cascade: String::new(),
        }
    }

    fn said(model: &str) -> v1::AssessResponse {
        v1::AssessResponse { model: model.into(), ..Default::default() }
    }

    #[test]
    fn a_retry_hears_the_same_and_another_answer_is_refused() {
        let replays = Replays::default();
        let token = token(1, 100);
        assert_eq!(replays.known(&token, &[1; 16]), Ok(None));
        let first = replays.file(&token, [1; 16], said("a"), 0).unwrap();
        assert!(!first.repeated);
        let again = v1::AssessResponse { repeated: true, ..first };
        assert_eq!(replays.known(&token, &[1; 16]), Ok(Some(again.clone())));
        // Two at once: both found nothing, the first to file stands.
        assert_eq!(replays.file(&token, [1; 16], said("b"), 0), Ok(again));
        assert_eq!(replays.known(&token, &[2; 16]), Err(TokenError::Reused));
        assert_eq!(replays.file(&token, [2; 16], said("b"), 0), Err(TokenError::Reused));
    }

    #[test]
    fn what_has_expired_goes_first_and_the_bound_holds() {
        let replays = Replays::of(3);
        for (id, expires_ms) in [(1, 10), (2, 100), (3, 100)] {
            replays.file(&token(id, expires_ms), [1; 16], said("a"), 5).unwrap();
        }
        let knows = |id| replays.known(&token(id, 0), &[1; 16]).unwrap().is_some();
        assert_eq!([1, 2, 3].map(knows), [true; 3]);
        replays.file(&token(4, 100), [1; 16], said("a"), 50).unwrap();
        assert_eq!([1, 2, 3, 4].map(knows), [false, true, true, true]);
        replays.file(&token(5, 100), [1; 16], said("a"), 50).unwrap();
        assert_eq!([1, 2, 3, 4, 5].map(knows), [false, false, true, true, true]);
        assert_eq!(replays.used.lock().unwrap().by_id.len(), 3);
    }
}
