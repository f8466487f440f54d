//! `tasuki.v1.Registry`.

use futures::{StreamExt as _, stream::BoxStream};
use tasuki_core::ids::Revision;
use tasuki_proto::v1::{self as wire, registry_server::Registry};
use tonic::{Request, Response, Status};

use super::{Face, convert, status::to_status};

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Registry for Face {
    async fn get(&self, request: Request<wire::GetKeyRequest>) -> Answer<wire::RegistryItem> {
        let by = self.by(&request)?;
        let key = request.into_inner().key;
        let item = self.app.registry_get(&by, &key).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(convert::item_out(item)))
    }

    async fn list(&self, request: Request<wire::ListKeysRequest>) -> Answer<wire::ListKeysResponse> {
        let by = self.by(&request)?;
        let prefix = request.into_inner().prefix;
        let (items, revision) = self.app.registry_list(&by, &prefix).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(wire::ListKeysResponse {
            items: items.into_iter().map(convert::item_out).collect(),
            revision: revision.0,
        }))
    }

    async fn history(&self, request: Request<wire::HistoryRequest>) -> Answer<wire::HistoryResponse> {
        let by = self.by(&request)?;
        let wire::HistoryRequest { prefix, limit, name } = request.into_inner();
        let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0);
        let changes = if name.is_empty() {
            self.app.registry_history(&by, &prefix, limit)
        } else {
            self.app.history(&by, &name, limit)
        };
        let changes = changes.map_err(|e| to_status(&e))?;
        Ok(Response::new(wire::HistoryResponse {
            changes: changes.into_iter().map(convert::change_out).collect(),
        }))
    }

    type WatchStream = BoxStream<'static, Result<wire::WatchRegistryResponse, Status>>;

    async fn watch(&self, request: Request<wire::WatchRegistryRequest>) -> Answer<Self::WatchStream> {
        let by = self.by(&request)?;
        let wire::WatchRegistryRequest { after, prefix } = request.into_inner();
        let watched = self.app.registry_watch(&by, after.map(Revision), prefix).map_err(|e| to_status(&e))?;
        let answers = watched.map(|watched| {
            Ok(wire::WatchRegistryResponse {
                change: Some(convert::change_out(watched.change)),
                gap: watched.gap,
            })
        });
        Ok(Response::new(answers.boxed()))
    }
}
