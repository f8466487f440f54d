//! `tasuki resource add | modify | delete | start | stop | relocate | enable | disable | status`

use std::{path::Path, process::ExitCode};

use tasuki_core::ids::ServerName;
use tasuki_proto::v1::{self as wire, resource_client::ResourceClient};
use tonic::transport::Channel;

use super::{
    Context,
    args::{Form, ResourceVerb, Waiting},
    config,
    connect::{answered, unreadable},
    render::resources,
    wait::{self, Goal},
};
use crate::{
    app::{
        AppError,
        resources::{Acted, view::ResourceView},
    },
    edge::grpc::convert,
};

type Client = ResourceClient<Channel>;

pub(super) async fn perform(context: &Context, verb: ResourceVerb) -> Result<ExitCode, AppError> {
    let mut client = Client::new(context.connect().await?);
    let pushed = match verb {
        ResourceVerb::Add { name, type_name, attributes, file, edit } => {
            let request = wire::AddResourceRequest {
                name,
                r#type: type_name.unwrap_or_default(),
                attributes: convert::attributes_out(attributes.attributes),
                text: text_of(file.as_deref())?,
                dry_run: edit.dry_run,
            };
            client.add(request).await
        }
        ResourceVerb::Modify { name, attributes, edit } => {
            let attributes = convert::attributes_out(attributes.attributes);
            client.modify(wire::ModifyResourceRequest { name, attributes, dry_run: edit.dry_run }).await
        }
        ResourceVerb::Delete { name, edit } => {
            client.delete(wire::DeleteResourceRequest { name, dry_run: edit.dry_run }).await
        }
        ResourceVerb::Enable { name } => client.enable(wire::EnableResourceRequest { name }).await,
        ResourceVerb::Disable { name } => client.disable(wire::DisableResourceRequest { name }).await,
        ResourceVerb::Start { name, on, wait } => return start(context, &mut client, name, on, wait).await,
        ResourceVerb::Stop { name, on, force, wait } => {
            let request = wire::StopResourceRequest { name: name.clone(), on: on.unwrap_or_default(), force };
            let acted = convert::acted_in(client.stop(request).await.map_err(answered)?.into_inner());
            return follow(context, &mut client, name, acted, |_| Goal::Offline, wait).await;
        }
        ResourceVerb::Relocate { name, from, to, force, wait } => {
            let on = to.clone().map(ServerName::new);
            let request = wire::RelocateResourceRequest {
                name: name.clone(),
                from: from.unwrap_or_default(),
                to: to.unwrap_or_default(),
                force,
            };
            let acted = convert::acted_in(client.relocate(request).await.map_err(answered)?.into_inner());
            let goal = |acted: &Acted| Goal::Online { on: on.clone(), not_on: acted.from.clone() };
            return follow(context, &mut client, name, acted, goal, wait).await;
        }
        ResourceVerb::Status { name, format } => {
            status(context, &mut client, name, format).await?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    config::show_push(context, pushed.map_err(answered)?.into_inner())?;
    Ok(ExitCode::SUCCESS)
}

/// The text of a file with more keys; none without a file.
pub(super) fn text_of(file: Option<&Path>) -> Result<String, AppError> {
    let Some(file) = file else { return Ok(String::new()) };
    std::fs::read_to_string(file).map_err(|error| AppError::File(format!("{}: {error}", file.display())))
}

async fn start(
    context: &Context,
    client: &mut Client,
    name: String,
    on: Option<String>,
    waiting: Waiting,
) -> Result<ExitCode, AppError> {
    let server = on.clone().map(ServerName::new);
    let request = wire::StartResourceRequest { name: name.clone(), on: on.unwrap_or_default() };
    let mut acted = convert::acted_in(client.start(request).await.map_err(answered)?.into_inner());
    for later in &acted {
        if let Some(server) = &later.waits_for {
            context.out.say(&format!("{} starts when {server} is up", later.unit));
        }
    }
    if !waiting.no_wait {
        acted.retain(|acted| acted.waits_for.is_none());
    }
    let goal = |_: &Acted| Goal::Online { on: server.clone(), not_on: None };
    follow(context, client, name, acted, goal, waiting).await
}

/// Waits for each instance, then shows the resource.
async fn follow(
    context: &Context,
    client: &mut Client,
    name: String,
    acted: Vec<Acted>,
    goal: impl Fn(&Acted) -> Goal,
    waiting: Waiting,
) -> Result<ExitCode, AppError> {
    if waiting.no_wait {
        context.out.show(&acted, |acted| {
            let line = |acted: &Acted| format!("{}: accepted (revision {})", acted.unit, acted.revision);
            acted.iter().map(line).collect::<Vec<_>>().join("\n")
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let goals: Vec<(String, Goal)> =
        acted.iter().map(|acted| (acted.unit.to_string(), goal(acted))).collect();
    let hint = format!("`tasuki resource status {name}` shows it");
    if wait::each(context, &goals, waiting.timeout, &hint).await?.is_none() {
        return Ok(wait::interrupted());
    }
    status(context, client, Some(name), Some(Form::Table)).await?;
    Ok(ExitCode::SUCCESS)
}

async fn status(
    context: &Context,
    client: &mut Client,
    name: Option<String>,
    form: Option<Form>,
) -> Result<(), AppError> {
    let form = form.unwrap_or(if name.is_some() { Form::List } else { Form::Table });
    let request = wire::ResourceStatusRequest { name: name.unwrap_or_default() };
    let answer = client.status(request).await.map_err(answered)?.into_inner();
    let views: Vec<ResourceView> = answer
        .resources
        .into_iter()
        .map(convert::resource_in)
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    context.out.show(&views, |views| match form {
        Form::Table => resources::table(views),
        Form::List => resources::list(views),
        Form::Full => resources::full(views),
    })
}
