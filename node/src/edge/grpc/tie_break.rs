//! `tasuki.v1.TieBreak`: the tie-break record, as a witness serves it to the servers of its cluster.

use std::sync::Arc;

use tasuki_actors::ports::Swap;
use tasuki_core::ids::Lineage;
use tasuki_proto::v1::{
    self as wire,
    tie_break_server::{TieBreak, TieBreakServer},
};
use tonic::{Request, Response, Status};

use super::convert_tie_break::{record_in, record_out};
use crate::{
    identity::{Caller, IdentityError, caller_of},
    witness::{RecordFile, WitnessError},
};

/// One cluster's record.
#[derive(Clone)]
pub struct TieBreakFace {
    lineage: Lineage,
    record: Arc<RecordFile>,
}

/// The service over a record.
#[must_use]
pub fn tie_break_service(lineage: Lineage, record: Arc<RecordFile>) -> TieBreakServer<TieBreakFace> {
    TieBreakServer::new(TieBreakFace { lineage, record })
}

impl TieBreakFace {
    /// Only servers, and only of this registry (R24).
    fn admit<T>(&self, request: &Request<T>, lineage: &str) -> Result<(), Status> {
        match caller_of(request.extensions(), &self.lineage) {
            Ok(Caller::Server(_)) => {}
            Ok(Caller::Anonymous) => return Err(refuse(&IdentityError::NoCertificate)),
            Ok(other) => return Err(refuse(&IdentityError::NotAServer(other.to_string()))),
            Err(error) => return Err(refuse(&error)),
        }
        if lineage == self.lineage.as_str() {
            return Ok(());
        }
        Err(status(&WitnessError::OtherLineage { ours: self.lineage.clone(), theirs: Lineage::new(lineage) }))
    }

    /// On a thread that may wait for the disk.
    async fn with_record<T: Send + 'static>(
        &self,
        act: impl FnOnce(&RecordFile) -> Result<T, WitnessError> + Send + 'static,
    ) -> Result<T, Status> {
        let record = self.record.clone();
        match tokio::task::spawn_blocking(move || act(&record)).await {
            Ok(done) => done.map_err(|error| status(&error)),
            Err(error) => Err(Status::unavailable(error.to_string())),
        }
    }
}

fn refuse(error: &IdentityError) -> Status {
    let text = format!("{error} ({})", error.code());
    match error {
        IdentityError::NoCertificate => Status::unauthenticated(text),
        _ => Status::permission_denied(text),
    }
}

/// A disk that does not answer is a witness that does not: after it, nothing is known of a swap. All
/// else is an answer.
fn status(error: &WitnessError) -> Status {
    tracing::warn!(code = error.code(), "{error}; {}", error.remedy());
    let text = format!("{error} ({})", error.code());
    match error {
        WitnessError::Files { .. } => Status::unavailable(text),
        WitnessError::Damaged { .. } => Status::data_loss(text),
        _ => Status::failed_precondition(text),
    }
}

#[tonic::async_trait]
impl TieBreak for TieBreakFace {
    async fn read(
        &self,
        request: Request<wire::ReadTieBreakRequest>,
    ) -> Result<Response<wire::ReadTieBreakResponse>, Status> {
        self.admit(&request, &request.get_ref().lineage)?;
        let record = self.with_record(RecordFile::read).await?;
        Ok(Response::new(wire::ReadTieBreakResponse { record: record.as_ref().map(record_out) }))
    }

    async fn swap(
        &self,
        request: Request<wire::SwapTieBreakRequest>,
    ) -> Result<Response<wire::SwapTieBreakResponse>, Status> {
        self.admit(&request, &request.get_ref().lineage)?;
        let wire::SwapTieBreakRequest { from, to, .. } = request.into_inner();
        let from = from.map(record_in).transpose().map_err(Status::invalid_argument)?;
        let to = to.ok_or_else(|| Status::invalid_argument("there is nothing to swap it for"))?;
        let to = record_in(to).map_err(Status::invalid_argument)?;
        let told = to.to_string();
        let swapped = self.with_record(move |record| record.swap(from.as_ref(), &to)).await?;
        Ok(Response::new(match swapped {
            Swap::Done => {
                tracing::info!(lineage = %self.lineage, "the tie-break record is now {told}");
                wire::SwapTieBreakResponse { done: true, record: None }
            }
            Swap::Other(now) => {
                wire::SwapTieBreakResponse { done: false, record: now.as_ref().map(record_out) }
            }
        }))
    }
}
