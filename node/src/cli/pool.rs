//! `tasuki pool add | modify | delete | status`

use tasuki_proto::v1::{self as wire, pool_client::PoolClient};

use super::{
    Context,
    args::PoolVerb,
    config,
    connect::answered,
    output::{Cell, Style, table},
    resource::text_of,
};
use crate::{
    app::{AppError, pools::PoolView},
    edge::grpc::convert,
};

pub(super) async fn perform(context: &Context, verb: PoolVerb) -> Result<(), AppError> {
    let mut client = PoolClient::new(context.connect().await?);
    let pushed = match verb {
        PoolVerb::Add { name, pool, file, edit } => {
            let request = wire::AddPoolRequest {
                name,
                attributes: convert::attributes_out(pool.attributes()),
                text: text_of(file.as_deref())?,
                dry_run: edit.dry_run,
            };
            client.add(request).await
        }
        PoolVerb::Modify { name, pool, edit } => {
            let attributes = convert::attributes_out(pool.attributes());
            client.modify(wire::ModifyPoolRequest { name, attributes, dry_run: edit.dry_run }).await
        }
        PoolVerb::Delete { name, edit } => {
            client.delete(wire::DeletePoolRequest { name, dry_run: edit.dry_run }).await
        }
        PoolVerb::Status { name } => {
            let request = wire::PoolStatusRequest { name: name.unwrap_or_default() };
            let answer = client.status(request).await.map_err(answered)?.into_inner();
            let pools: Vec<PoolView> = answer.pools.into_iter().map(convert::pool_in).collect();
            return context.out.show(&pools, |pools| status(pools, context.out.color));
        }
    };
    config::show_push(context, pushed.map_err(answered)?.into_inner())
}

/// Pools, a line each. Fewer servers than its least are shown as a lack.
#[must_use]
pub fn status(pools: &[PoolView], color: bool) -> String {
    let names = |names: &[tasuki_core::ids::ServerName]| {
        names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" ")
    };
    let rows: Vec<Vec<Cell>> = pools
        .iter()
        .map(|pool| {
            let own = |text: String| if pool.built_in { String::new() } else { text };
            let lacks = usize::try_from(pool.min).is_ok_and(|min| pool.servers.len() < min);
            let count = Cell::new(pool.servers.len(), if lacks { Style::Bad } else { Style::Plain });
            let none = if pool.built_in { "" } else { "any" };
            vec![
                pool.name.as_str().into(),
                count,
                own(pool.min.to_string()).into(),
                own(pool.max.map_or_else(|| "-".to_owned(), |max| max.to_string())).into(),
                own(pool.importance.to_string()).into(),
                names(&pool.servers).into(),
                if pool.allowed.is_empty() { none.to_owned() } else { names(&pool.allowed) }.into(),
                pool.users.join(" ").into(),
                pool.comment.as_str().into(),
            ]
        })
        .collect();
    let heading = ["POOL", "COUNT", "MIN", "MAX", "IMPORTANCE", "SERVERS", "ALLOWED", "USED BY", "COMMENT"];
    table(&heading, &rows, color)
}
