//! What the tie-break record says of this server when its node starts: one that had claimed before it
//! ended may go on at once (R16), and need not give the other one time to boot.

use std::{sync::Arc, time::Duration};

use ractor::ActorRef;
use tasuki_core::{
    membership::{
        alone::may_claim_at_once,
        tie_break::{OwnLog, Record},
    },
    time::Timestamp,
};

use super::vote_actor::VoteMsg;
use crate::{context::Context, ohas::registry::register, ports::RegisterError};

/// The longest pause between two questions.
const LONGEST: Duration = Duration::from_secs(1);

/// Asks until there is an answer: nobody but this server could make the record name it later.
pub struct Named {
    asks: bool,
    /// The next question not before.
    again: Timestamp,
    pause: Duration,
    answer: Option<Option<Record>>,
}

impl Named {
    /// Nothing was asked yet: that is due now.
    pub fn new(now: Timestamp) -> Self {
        Self { asks: false, again: now, pause: Duration::ZERO, answer: None }
    }

    /// Whether the record is known to say that this server goes on alone. Asks where it is not known.
    pub fn is_so(&mut self, context: &Arc<Context>, me: &ActorRef<VoteMsg>, own: &OwnLog) -> bool {
        if let Some(record) = &self.answer {
            return may_claim_at_once(record.as_ref(), own);
        }
        let now = context.ports.clock.now();
        if !self.asks
            && now >= self.again
            && let Some((_, place)) = register::place(context, &context.state())
        {
            self.asks = true;
            let (context, me) = (context.clone(), me.clone());
            tokio::spawn(async move {
                let answer = register::read(&context, &place).await;
                let _ = me.cast(VoteMsg::Named(answer)); // the actor may have ended
            });
        }
        false
    }

    /// The node's start is over.
    pub fn forget(&mut self) {
        self.answer = Some(None);
    }

    /// What was answered; asked again after a pause that grows where it was nothing.
    pub fn answered(&mut self, context: &Context, answer: Result<Option<Record>, RegisterError>) {
        self.asks = false;
        match answer {
            _ if self.answer.is_some() => {} // overtaken
            Ok(record) => self.answer = Some(record),
            Err(_) => {
                self.pause = (self.pause * 2).clamp(context.timing().beat.min(LONGEST), LONGEST);
                self.again = context.ports.clock.now() + self.pause;
            }
        }
    }
}
