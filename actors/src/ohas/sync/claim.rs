//! One claim of one of two servers: the record or the fence first, then the log (R14, R16, R19).

use std::sync::Arc;

use tasuki_core::{
    config::TieBreak,
    ids::{FenceName, ServerName},
    membership::{
        alone::other_of_two,
        fencing::may_break_tie,
        tie_break::{Mode, OwnLog, Refusal, claim},
    },
    planted::{self, Planted},
    registry::{Author, Command},
};

use super::fencing_actor::fence_now;
use crate::{
    context::Context,
    ohas::registry::{forge::LogEnd, raft_node::RaftNode, register},
    ports::Swap,
    propose::propose,
};

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This server is the only voter.
    Alone,
    /// Not now, and why.
    Waits(String),
}

/// One claim.
pub struct Claim {
    /// The node.
    pub context: Arc<Context>,
    /// Its Raft.
    pub raft: RaftNode,
    /// The last voters in its log.
    pub own: OwnLog,
    /// The other of the two.
    pub other: ServerName,
    /// They have exchanged entries under exactly these voters since this node started.
    pub replicated: bool,
}

impl Claim {
    /// Tries to go on alone.
    pub async fn attempt(self, kind: &TieBreak) -> Outcome {
        let outcome = match kind {
            TieBreak::None => Err("there is no tie-break".into()),
            TieBreak::Witness { .. } | TieBreak::VotingFiles => self.by_record().await,
            TieBreak::Fence => self.by_fence().await,
            TieBreak::UnsafePing { addresses } => self.by_echo(addresses).await,
        };
        match outcome {
            Ok(()) => Outcome::Alone,
            Err(why) => Outcome::Waits(why),
        }
    }

    async fn by_record(&self) -> Result<(), String> {
        let (name, place) = register::place(&self.context, &self.context.state())
            .ok_or("the witness of the tie-break is not configured")?;
        let mut turn = self.context.tie_break.turn.lock().await;
        *turn += 1;
        // As of now: it may have changed while this waited for its turn.
        let own = self.raft.own_log(self.own.lineage.clone()).ok_or("the log has no voters")?;
        if other_of_two(&own).is_none() {
            return Err("the voters have changed meanwhile".into());
        }
        let too_early = match planted::is(Planted::NoFreeze) {
            true => Some(self.raft.log_end().await?),
            false => None,
        };
        let record = register::read(&self.context, &place).await.map_err(|error| error.to_string())?;
        let next = match claim(record.as_ref(), &own) {
            Ok(next) => next,
            Err(refusal) => return Err(self.refused(&refusal)),
        };
        if record.as_ref() != Some(&next) {
            match register::swap(&self.context, &place, record.as_ref(), &next).await {
                Ok(Swap::Done) => {}
                Ok(Swap::Other(found)) => {
                    return Err(match claim(found.as_ref(), &own) {
                        Ok(_) => "the record was changed at the same moment; asking again".into(),
                        Err(refusal) => self.refused(&refusal),
                    });
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        let why = format!("the record at {name} says so ({next})");
        self.go_on(next.number, true, too_early, &why).await
    }

    /// R19.
    async fn by_fence(&self) -> Result<(), String> {
        self.may_go_without_record()?;
        // Nothing more goes to the other one from here on: what it took after its power was cut
        // would let it break the tie too.
        self.raft.hold();
        let by = fence_now(&self.context, &self.other).await?;
        let devices = by.iter().map(FenceName::as_str).collect::<Vec<_>>().join(" and ");
        self.unchanged()?;
        let why = format!("{} is off: {devices} confirmed it", self.other);
        self.go_on(self.own.number + 1, false, None, &why).await?;
        // In the registry afterwards: nobody waits for a lease of a server that is off (R13).
        let (context, server) = (self.context.clone(), self.other.clone());
        tokio::spawn(async move { record_fence(&context, server, by).await });
        Ok(())
    }

    async fn by_echo(&self, addresses: &[std::net::IpAddr]) -> Result<(), String> {
        self.may_go_without_record()?;
        self.raft.hold();
        let limit = self.context.timing().beat * 3;
        for address in addresses {
            self.context.ports.prober.echo(*address, limit).await?;
        }
        if addresses.is_empty() {
            return Err("no address to ask is configured".into());
        }
        self.unchanged()?;
        let text = "all addresses of the tie-break answer. The other server may go on too: this tie-break \
                    cannot tell";
        self.go_on(self.own.number + 1, false, None, text).await
    }

    /// R19: what has no memory breaks a tie only for one that has exchanged entries with the other
    /// in this life, and while no record lets the other claim.
    fn may_go_without_record(&self) -> Result<(), String> {
        let other = other_of_two(&self.own).ok_or("the voters have changed meanwhile")?;
        may_break_tie(&self.own, other, self.replicated).map_err(|unfit| unfit.to_string())?;
        let state = self.context.state();
        let note = state.tie_break.as_ref().map(|note| &note.value.record);
        let claimable = |record: &&tasuki_core::membership::tie_break::Record| {
            matches!(record.mode, Mode::Pair(..)) && record.number >= self.own.number
        };
        match note.filter(claimable) {
            Some(_) => Err("the other server may still claim by a tie-break record".into()),
            None => Ok(()),
        }
    }

    fn unchanged(&self) -> Result<(), String> {
        let now = self.raft.own_log(self.own.lineage.clone());
        let same = now.is_some_and(|now| now == self.own);
        same.then_some(()).ok_or_else(|| "the voters have changed meanwhile".into())
    }

    fn refused(&self, refusal: &Refusal) -> String {
        if let Refusal::Taken(_) = refusal {
            self.raft.hold(); // the other one goes on: from here on this one only listens
        }
        format!("TSK-1780: {refusal}")
    }

    async fn go_on(
        &self,
        number: u64,
        has_record: bool,
        too_early: Option<LogEnd>,
        why: &str,
    ) -> Result<(), String> {
        let number = self.raft.go_on_alone(number, has_record, too_early).await?;
        let me = self.context.me();
        let text = format!("{me} goes on without {} (membership {number}): {why}", self.other);
        self.context.tell("tie-break-won", "cluster", text);
        Ok(())
    }
}

async fn record_fence(context: &Arc<Context>, server: ServerName, by: Vec<FenceName>) {
    let Some(presence) = context.state().presence(&server).cloned() else { return };
    let incarnation = presence.incarnation;
    let author = Author::Server(context.me().clone());
    let command = Command::ServerFenced { server: server.clone(), incarnation, by };
    if let Err(error) = propose(context, author, command, None, Vec::new()).await {
        tracing::warn!(%error, "the fencing of {server} is not in the registry: its lease is waited for");
    }
}
