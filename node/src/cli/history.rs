//! `tasuki history [NAME]`

use tasuki_core::registry::Change;
use tasuki_proto::v1::{self as wire, registry_client::RegistryClient};

use super::{
    Context,
    connect::{answered, unreadable},
    output::{Cell, Style, table},
};
use crate::{app::AppError, edge::grpc::convert};

pub(super) async fn perform(context: &Context, name: Option<String>, limit: u32) -> Result<(), AppError> {
    let mut client = RegistryClient::new(context.connect().await?);
    let request = wire::HistoryRequest { prefix: String::new(), limit, name: name.unwrap_or_default() };
    let answer = client.history(request).await.map_err(answered)?.into_inner();
    let changes: Vec<Change> =
        answer.changes.into_iter().map(convert::change_in).collect::<Result<_, _>>().map_err(unreadable)?;
    context.out.show(&changes, |changes| render(changes, context.out.color))
}

/// Changes, a line each.
#[must_use]
pub fn render(changes: &[Change], color: bool) -> String {
    let rows: Vec<Vec<Cell>> = changes
        .iter()
        .map(|change| {
            vec![
                change.revision.to_string().into(),
                change.at.to_string().into(),
                Cell::new(&change.author, Style::Dim),
                change.what.as_str().into(),
                change.reason.clone().unwrap_or_default().into(),
            ]
        })
        .collect();
    table(&["REVISION", "TIME", "AUTHOR", "CHANGE", "BECAUSE"], &rows, color)
}
