//! One cluster, for which this witness keeps the tie-break record.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::{End, Membership, RecordFile, WitnessError};
use crate::edge::grpc::{bind_tcp, serve_tcp, tie_break::tie_break_service};

pub(super) async fn serve(membership: &Membership, stop: CancellationToken) -> Result<End, WitnessError> {
    let identity = &membership.identity;
    let record = Arc::new(RecordFile::new(&membership.folder, identity.lineage().clone()));
    let read = record.clone();
    match tokio::task::spawn_blocking(move || read.read()).await {
        Ok(Ok(Some(found))) => tracing::info!(cluster = identity.cluster(), "the tie-break record: {found}"),
        Ok(Ok(None)) => tracing::info!(cluster = identity.cluster(), "there is no tie-break record yet"),
        // The servers are told the same, each time they ask.
        Ok(Err(error)) => tracing::error!(code = error.code(), "{error}; {}", error.remedy()),
        Err(error) => tracing::error!(%error, "the tie-break record was not read"),
    }
    let listeners = bind_tcp(&membership.sockets())?;
    let routes = Routes::new(tie_break_service(identity.lineage().clone(), record));
    serve_tcp(listeners, identity.server_tls(), routes, stop).await?;
    Ok(End::Asked)
}
