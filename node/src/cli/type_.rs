//! `tasuki type add | list | show | delete`

use tasuki_proto::v1::{self as wire, type_client::TypeClient};

use super::{
    Context,
    args::TypeVerb,
    config,
    connect::answered,
    output::{Cell, Style, table},
    resource::text_of,
};
use crate::{
    app::{AppError, types::TypeView},
    edge::grpc::convert,
};

pub(super) async fn perform(context: &Context, verb: TypeVerb) -> Result<(), AppError> {
    let mut client = TypeClient::new(context.connect().await?);
    let pushed = match verb {
        TypeVerb::Add { name, base, attributes, file, edit } => {
            let request = wire::AddTypeRequest {
                name,
                base: base.unwrap_or_default(),
                attributes: attributes.into_iter().map(|new| convert::new_attribute_out(new.0)).collect(),
                text: text_of(file.as_deref())?,
                dry_run: edit.dry_run,
            };
            client.add(request).await
        }
        TypeVerb::Delete { name, edit } => {
            client.delete(wire::DeleteTypeRequest { name, dry_run: edit.dry_run }).await
        }
        TypeVerb::List => {
            let answer = client.list(wire::ListTypesRequest {}).await.map_err(answered)?.into_inner();
            let types: Vec<TypeView> = answer.types.into_iter().map(convert::type_in).collect();
            return context.out.show(&types, |types| list(types));
        }
        TypeVerb::Show { name } => {
            let answer = client.get(wire::GetTypeRequest { name }).await.map_err(answered)?.into_inner();
            let shown = convert::type_in(answer);
            return context.out.show(&shown, |shown| one(shown, context.out.color));
        }
    };
    config::show_push(context, pushed.map_err(answered)?.into_inner())
}

/// Each type with its base, in the form that scripts know.
#[must_use]
pub fn list(types: &[TypeView]) -> String {
    types.iter().map(pair).collect::<Vec<_>>().join("\n\n")
}

fn pair(of: &TypeView) -> String {
    format!("TYPE_NAME={}\nBASE_TYPE={}", of.name, of.base.as_ref().map_or("", |base| base.as_str()))
}

/// One type with its attributes.
#[must_use]
pub fn one(shown: &TypeView, color: bool) -> String {
    let mut text = pair(shown);
    if !shown.comment.is_empty() {
        text.push_str(&format!("\n\n{}", shown.comment));
    }
    let rows: Vec<Vec<Cell>> = shown
        .attributes
        .iter()
        .map(|attribute| {
            let default = match (&attribute.default, attribute.required) {
                (Some(default), _) if default.is_empty() => "\"\"".to_owned(),
                (Some(default), _) => default.clone(),
                (None, true) => "(required)".to_owned(),
                (None, false) => String::new(),
            };
            let range = match (&attribute.min, &attribute.max) {
                (None, None) => String::new(),
                (min, max) => {
                    format!("{}..{}", min.as_deref().unwrap_or(""), max.as_deref().unwrap_or(""))
                }
            };
            vec![
                attribute.name.as_str().into(),
                attribute.kind.as_str().into(),
                default.into(),
                range.into(),
                Cell::new(
                    &attribute.from,
                    if attribute.from == shown.name { Style::Plain } else { Style::Dim },
                ),
                attribute.comment.as_str().into(),
            ]
        })
        .collect();
    text.push_str("\n\n");
    text.push_str(&table(&["ATTRIBUTE", "KIND", "DEFAULT", "RANGE", "FROM", "MEANING"], &rows, color));
    if !shown.resources.is_empty() {
        let names: Vec<&str> = shown.resources.iter().map(|name| name.as_str()).collect();
        text.push_str(&format!("\nResources of this type: {}", names.join(", ")));
    }
    text
}
