//! The gRPC face, `tasuki.v1`: translates to the application service layer and back, and decides
//! nothing. One file a service.

pub mod caller;
mod cluster;
mod config;
pub mod convert;
pub mod convert_plan;
pub mod convert_tie_break;
mod decision;
mod event;
pub mod fence;
mod fleet;
mod group;
mod join;
mod membership;
mod mirror_admin;
mod plan;
mod pool;
mod profile;
mod registry;
mod resource;
pub mod serve;
mod server;
pub mod status;
pub mod tie_break;
mod type_;
mod vote;

use tasuki_core::ids::Lineage;
use tasuki_proto::v1 as wire;
use tonic::service::Routes;
use tonic_health::server::HealthReporter;

pub use self::{
    caller::Gate,
    fleet::PeerFleet,
    serve::{ServeError, bind_tcp, bind_uds, serve_tcp, serve_uds},
};
use crate::app::App;

/// What every service holds.
#[derive(Clone)]
struct Face {
    app: App,
    gate: Gate,
}

/// Every service of `tasuki.v1` for operators, with health and reflection (v1 and v1alpha). The
/// reporter says for each service whether it serves; they start as serving.
///
/// # Errors
/// When the descriptors compiled into the program are damaged.
pub async fn routes(
    app: App,
    lineage: Lineage,
) -> Result<(Routes, HealthReporter), tonic_reflection::server::Error> {
    let face = Face { app, gate: Gate::new(lineage) };
    let (reporter, health) = tonic_health::server::health_reporter();
    let routes = Routes::new(health)
        .add_service(reflection()?.build_v1()?)
        .add_service(reflection()?.build_v1alpha()?)
        .add_service(wire::cluster_server::ClusterServer::new(face.clone()))
        .add_service(wire::group_server::GroupServer::new(face.clone()))
        .add_service(wire::resource_server::ResourceServer::new(face.clone()))
        .add_service(wire::type_server::TypeServer::new(face.clone()))
        .add_service(wire::pool_server::PoolServer::new(face.clone()))
        .add_service(wire::fence_server::FenceServer::new(face.clone()))
        .add_service(wire::vote_server::VoteServer::new(face.clone()))
        .add_service(wire::mirror_admin_server::MirrorAdminServer::new(face.clone()))
        .add_service(wire::server_server::ServerServer::new(face.clone()))
        .add_service(wire::membership_server::MembershipServer::new(face.clone()))
        .add_service(wire::profile_server::ProfileServer::new(face.clone()))
        .add_service(wire::registry_server::RegistryServer::new(face.clone()))
        .add_service(wire::config_server::ConfigServer::new(face.clone()))
        .add_service(wire::event_server::EventServer::new(face.clone()))
        .add_service(wire::plan_server::PlanServer::new(face.clone()))
        .add_service(wire::decision_server::DecisionServer::new(face.clone()))
        .add_service(wire::join_server::JoinServer::new(face));
    reporter.set_serving::<wire::cluster_server::ClusterServer<Face>>().await;
    reporter.set_serving::<wire::group_server::GroupServer<Face>>().await;
    reporter.set_serving::<wire::resource_server::ResourceServer<Face>>().await;
    reporter.set_serving::<wire::type_server::TypeServer<Face>>().await;
    reporter.set_serving::<wire::pool_server::PoolServer<Face>>().await;
    reporter.set_serving::<wire::fence_server::FenceServer<Face>>().await;
    reporter.set_serving::<wire::vote_server::VoteServer<Face>>().await;
    reporter.set_serving::<wire::mirror_admin_server::MirrorAdminServer<Face>>().await;
    reporter.set_serving::<wire::server_server::ServerServer<Face>>().await;
    reporter.set_serving::<wire::membership_server::MembershipServer<Face>>().await;
    reporter.set_serving::<wire::profile_server::ProfileServer<Face>>().await;
    reporter.set_serving::<wire::registry_server::RegistryServer<Face>>().await;
    reporter.set_serving::<wire::config_server::ConfigServer<Face>>().await;
    reporter.set_serving::<wire::event_server::EventServer<Face>>().await;
    reporter.set_serving::<wire::plan_server::PlanServer<Face>>().await;
    reporter.set_serving::<wire::decision_server::DecisionServer<Face>>().await;
    reporter.set_serving::<wire::join_server::JoinServer<Face>>().await;
    Ok((routes, reporter))
}

fn reflection() -> Result<tonic_reflection::server::Builder<'static>, tonic_reflection::server::Error> {
    Ok(tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(tasuki_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET))
}
