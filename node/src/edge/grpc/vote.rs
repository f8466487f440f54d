//! `tasuki.v1.Vote`.

use std::path::PathBuf;

use tasuki_proto::v1::{self as wire, vote_server::Vote};
use tonic::{Request, Response, Status};

use super::{Face, convert, status::to_status};
use crate::app::{AppError, votes::VoteView};

type Answer<T> = Result<Response<T>, Status>;

fn votes(found: Result<Vec<VoteView>, AppError>) -> Answer<wire::VotesResponse> {
    let files = found.map_err(|e| to_status(&e))?;
    Ok(Response::new(wire::VotesResponse { files: files.into_iter().map(convert::vote_out).collect() }))
}

fn paths(texts: Vec<String>) -> Vec<PathBuf> {
    texts.into_iter().map(PathBuf::from).collect()
}

#[tonic::async_trait]
impl Vote for Face {
    async fn list(&self, request: Request<wire::ListVotesRequest>) -> Answer<wire::VotesResponse> {
        let by = self.by(&request)?;
        votes(self.app.vote_list(&by).await)
    }

    async fn check(&self, request: Request<wire::CheckVotesRequest>) -> Answer<wire::VotesResponse> {
        let by = self.by(&request)?;
        votes(self.app.vote_check(&by).await)
    }

    async fn check_here(&self, request: Request<wire::CheckVotesHereRequest>) -> Answer<wire::VotesResponse> {
        let by = self.by(&request)?;
        votes(self.app.vote_check_here(&by, &paths(request.into_inner().paths)).await)
    }

    async fn add(&self, request: Request<wire::AddVotesRequest>) -> Answer<wire::PushConfigResponse> {
        let by = self.by(&request)?;
        let wire::AddVotesRequest { paths: files, force, dry_run } = request.into_inner();
        let push = self.app.vote_add(&by, paths(files), force, dry_run).await;
        Ok(Response::new(convert::push_out(push.map_err(|e| to_status(&e))?)))
    }

    async fn remove(&self, request: Request<wire::RemoveVotesRequest>) -> Answer<wire::PushConfigResponse> {
        let by = self.by(&request)?;
        let wire::RemoveVotesRequest { paths: files, acknowledged, dry_run } = request.into_inner();
        let push = self.app.vote_remove(&by, paths(files), acknowledged, dry_run).await;
        Ok(Response::new(convert::push_out(push.map_err(|e| to_status(&e))?)))
    }

    async fn replace(&self, request: Request<wire::ReplaceVoteRequest>) -> Answer<wire::PushConfigResponse> {
        let by = self.by(&request)?;
        let wire::ReplaceVoteRequest { old_path, new_path, force, dry_run } = request.into_inner();
        let push = self.app.vote_replace(&by, old_path.into(), new_path.into(), force, dry_run).await;
        Ok(Response::new(convert::push_out(push.map_err(|e| to_status(&e))?)))
    }
}
