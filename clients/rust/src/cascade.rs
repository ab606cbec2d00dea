//! A query through a cascade: the application calls the models, Rung says which and when it is enough.

use api::v1;
use api::v1::{CascadeVerdict, assess_request, plan_cascade_request};
use thiserror::Error;

use crate::client::Client;
use crate::decision::{FallbackDecision, Reason};
use crate::failure::{CallError, Refused};

/// An answer of a model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// What it says.
    pub text: String,
    /// What is known beside the text.
    pub signals: Option<v1::AnswerSignals>,
    /// What the call cost, where it is known.
    pub cost_usd: Option<f64>,
}

impl From<String> for Answer {
    fn from(text: String) -> Self {
        Self { text, ..Self::default() }
    }
}

/// How a query came out of a cascade.
#[derive(Debug, Clone, PartialEq)]
pub enum Cascaded {
    /// The answer was judged good enough.
    Accepted {
        /// The answer.
        answer: Answer,
        /// The verdict, with its odds.
        verdict: Box<v1::AssessResponse>,
    },
    /// No answer is expected to be good enough; there is none when not even the first model was worth a call.
    Abstained {
        /// The last answer and its verdict.
        last: Option<(Answer, Box<v1::AssessResponse>)>,
    },
    /// Rung did not answer: this is the fallback's answer, and nobody judged it.
    Fallback {
        /// The answer.
        answer: Answer,
        /// Whose it is, and why.
        decision: FallbackDecision,
    },
}

/// Why a query did not come out of a cascade.
#[derive(Debug, Error)]
pub enum CascadeError<E> {
    /// Rung refuses.
    #[error(transparent)]
    Refused(Refused),
    /// The application's own call of a model failed.
    #[error("a model's call: {0}")]
    Model(E),
}

impl Client {
    /// Brings a query through a cascade; `call` calls the model of that name. Where Rung does not answer, the
    /// model of the fallback is called, unless the answer at hand is already its.
    ///
    /// # Errors
    /// When Rung refuses, or a call of a model fails.
    pub async fn cascade<F, E>(
        &self,
        request: v1::PlanCascadeRequest,
        call: impl Fn(String) -> F,
    ) -> Result<Cascaded, CascadeError<E>>
    where
        F: Future<Output = Result<Answer, E>>,
    {
        let plan = match self.plan_cascade(request.clone()).await {
            Ok(plan) => plan,
            Err(error) => return self.without_rung(error, None, &call).await,
        };
        let (mut token, mut model) = match plan.verdict() {
            CascadeVerdict::Escalate => (plan.token, plan.next_model),
            _ => return Ok(Cascaded::Abstained { last: None }),
        };
        // Each verdict moves on by a stage at least, so there are no more of them than stages.
        for _ in 0..plan.stages.len() {
            let answer = call(model.clone()).await.map_err(CascadeError::Model)?;
            let verdict = match self.assess(assessing(&request, token, &answer)).await {
                Ok(verdict) => Box::new(verdict),
                Err(error) => return self.without_rung(error, Some((model, answer)), &call).await,
            };
            match verdict.verdict() {
                CascadeVerdict::Accept => return Ok(Cascaded::Accepted { answer, verdict }),
                CascadeVerdict::Escalate => {
                    (token, model) = (verdict.token.clone(), verdict.next_model.clone());
                }
                _ => return Ok(Cascaded::Abstained { last: Some((answer, verdict)) }),
            }
        }
        let endless = Reason::Broken("a cascade that goes on beyond its stages".into());
        self.without_rung(CallError::NotAnswered(endless), None, &call).await
    }

    async fn without_rung<F, E>(
        &self,
        error: CallError,
        at_hand: Option<(String, Answer)>,
        call: &impl Fn(String) -> F,
    ) -> Result<Cascaded, CascadeError<E>>
    where
        F: Future<Output = Result<Answer, E>>,
    {
        let decision = match error {
            CallError::Refused(refused) => return Err(CascadeError::Refused(refused)),
            CallError::NotAnswered(reason) => self.fallback().because(reason),
        };
        let answer = match at_hand {
            Some((model, answer)) if model == decision.model => answer,
            _ => call(decision.model.clone()).await.map_err(CascadeError::Model)?,
        };
        Ok(Cascaded::Fallback { answer, decision })
    }
}

/// The question about an answer, with what the plan was asked.
fn assessing(planned: &v1::PlanCascadeRequest, token: String, answer: &Answer) -> v1::AssessRequest {
    let input = planned.input.clone().map(|input| match input {
        plan_cascade_request::Input::Text(text) => assess_request::Input::Text(text),
        plan_cascade_request::Input::Chat(chat) => assess_request::Input::Chat(chat),
    });
    v1::AssessRequest {
        request_id: planned.request_id.clone(),
        input,
        system: planned.system.clone(),
        answer: answer.text.clone(),
        token,
        signals: answer.signals.clone(),
        labels: planned.labels.clone(),
        cost_usd: answer.cost_usd,
        predicted_success: planned.predicted_success.clone(),
        ..Default::default()
    }
}
