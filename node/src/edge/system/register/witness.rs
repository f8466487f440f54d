//! The tie-break record at a witness, over gRPC with mutual TLS.
//!
//! A reading goes out over every path to the witness at once. A swap goes out once, over the path
//! that has just answered a reading: sent twice, its second answer would say that somebody else was
//! first. When no answer comes, nobody knows whether it was done, and the caller reads (R16).

use std::{
    collections::HashMap,
    error::Error,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use tasuki_actors::ports::{PeerAddress, RegisterError, Swap};
use tasuki_core::{ids::ServerName, membership::tie_break::Record, timing::Timing};
use tasuki_proto::v1::{self as wire, tie_break_client::TieBreakClient};
use tokio::time::{Instant, timeout_at};
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};

use crate::{
    edge::{
        grpc::{
            convert_tie_break::{record_in, record_out},
            serve::chain,
        },
        peer::Cuts,
    },
    identity::{Identity, explain_tls},
};

/// A witness may be far away, and a busy machine needs a moment for a handshake.
const LEAST_PATIENCE: Duration = Duration::from_millis(100);

/// The records that witnesses keep. Connections are kept too.
pub struct WitnessRegister {
    identity: Identity,
    patience: Duration,
    cuts: Arc<Cuts>,
    clients: Mutex<HashMap<(ServerName, SocketAddr), TieBreakClient<Channel>>>,
}

impl fmt::Debug for WitnessRegister {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WitnessRegister").field("patience", &self.patience).finish_non_exhaustive()
    }
}

/// One path to a witness that has answered.
struct Path {
    client: TieBreakClient<Channel>,
    address: SocketAddr,
}

impl WitnessRegister {
    /// Connects to nobody yet.
    #[must_use]
    pub fn new(identity: Identity, timing: &Timing, cuts: Arc<Cuts>) -> Self {
        let patience = (timing.detect / 4).max(LEAST_PATIENCE);
        Self { identity, patience, cuts, clients: Mutex::default() }
    }

    /// The record.
    ///
    /// # Errors
    /// When no path answers in time, or the witness refuses.
    pub async fn read(&self, witness: &PeerAddress) -> Result<Option<Record>, RegisterError> {
        self.read_by(witness, Instant::now() + self.patience).await.map(|(record, _)| record)
    }

    /// Puts `to` in the place of `from`.
    ///
    /// # Errors
    /// When the witness cannot be reached or refuses. Unless it refused, it may have been done.
    pub async fn swap(
        &self,
        witness: &PeerAddress,
        from: Option<&Record>,
        to: &Record,
    ) -> Result<Swap, RegisterError> {
        let deadline = Instant::now() + self.patience;
        let (record, mut path) = self.read_by(witness, deadline).await?;
        if record.as_ref() != from {
            return Ok(Swap::Other(record));
        }
        let request = wire::SwapTieBreakRequest {
            lineage: self.identity.lineage().to_string(),
            from: from.map(record_out),
            to: Some(record_out(to)),
        };
        let answer = timeout_at(deadline, path.client.swap(Request::new(request))).await;
        let late = || RegisterError::Unreachable(format!("{} does not answer a swap", path.address));
        let answer = answer.map_err(|_| late())?.map_err(|status| refused(&status))?.into_inner();
        if answer.done {
            return Ok(Swap::Done);
        }
        Ok(Swap::Other(answer.record.map(record_in).transpose().map_err(RegisterError::Unusable)?))
    }

    /// The first answer of any path counts: what one of them read is durable.
    async fn read_by(
        &self,
        witness: &PeerAddress,
        deadline: Instant,
    ) -> Result<(Option<Record>, Path), RegisterError> {
        let mut asked = FuturesUnordered::new();
        for ip in &witness.addresses {
            let address = SocketAddr::new(*ip, witness.port);
            let mut client = self.client(&witness.server, address)?;
            let cut = self.cuts.is_cut_at(&witness.server, *ip);
            let request = wire::ReadTieBreakRequest { lineage: self.identity.lineage().to_string() };
            asked.push(async move {
                if cut {
                    std::future::pending::<()>().await; // a cut cable says nothing at all
                }
                let answer = client.read(Request::new(request)).await;
                (answer, Path { client, address })
            });
        }
        let mut last = RegisterError::Unreachable(format!("witness {} has no address", witness.server));
        loop {
            match timeout_at(deadline, asked.next()).await {
                Err(_) => {
                    let waited = self.patience.as_millis();
                    let silent = format!("witness {} does not answer within {waited} ms", witness.server);
                    return Err(match last {
                        // What one path said is worth more than the silence of the others.
                        RegisterError::Unusable(_) => last,
                        RegisterError::Unreachable(_) => RegisterError::Unreachable(silent),
                    });
                }
                Ok(None) => return Err(last),
                Ok(Some((Ok(answer), path))) => {
                    let record = answer.into_inner().record.map(record_in).transpose();
                    return Ok((record.map_err(RegisterError::Unusable)?, path));
                }
                Ok(Some((Err(status), path))) => {
                    tracing::debug!(witness = %witness.server, address = %path.address, %status, "no record");
                    last = match (refused(&status), last) {
                        (RegisterError::Unreachable(_), before @ RegisterError::Unusable(_)) => before,
                        (now, _) => now,
                    };
                }
            }
        }
    }

    fn client(
        &self,
        witness: &ServerName,
        address: SocketAddr,
    ) -> Result<TieBreakClient<Channel>, RegisterError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (witness.clone(), address);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        // A connection outlives single calls: one that is slow to make is there for the next call.
        let connect = self.patience.max(Duration::from_secs(1));
        let channel = Endpoint::from_shared(format!("https://{address}"))
            .and_then(|endpoint| {
                endpoint
                    .tcp_nodelay(true)
                    .connect_timeout(connect)
                    .tls_config(self.identity.client_tls(witness).timeout(connect))
            })
            .map_err(|error| RegisterError::Unreachable(chain(&error)))?
            .http2_keep_alive_interval(connect)
            .keep_alive_timeout(connect)
            .keep_alive_while_idle(true)
            .connect_lazy();
        let client = TieBreakClient::new(channel);
        clients.insert(key, client.clone());
        Ok(client)
    }
}

/// The innermost cause is the one that says something.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// A witness that says no is not one that says nothing.
fn refused(status: &Status) -> RegisterError {
    if let Some(text) = explain_tls(status) {
        return RegisterError::Unusable(text);
    }
    if let Some(cause) = status.source() {
        return RegisterError::Unreachable(innermost(cause));
    }
    let said = status.message().to_owned();
    match status.code() {
        Code::Unavailable | Code::Cancelled | Code::Unknown | Code::DeadlineExceeded => {
            RegisterError::Unreachable(said)
        }
        // Something answers there that keeps no record: another server, or a witness with a vote.
        Code::Unimplemented => RegisterError::Unusable(format!("what answers there keeps no record: {said}")),
        _ => RegisterError::Unusable(said),
    }
}
