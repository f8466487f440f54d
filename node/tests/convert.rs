//! Wire types there and back, and a page for every code.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use support::{Registry, node_status, view};
use tasuki::{
    app::{
        AppError, Role,
        config::{Push, PushResult, ServerPush},
        error::{Exit, Kind},
        explain::explain,
        status, times,
    },
    edge::grpc::convert,
};
use tasuki_core::{
    ids::{Epoch, Revision},
    membership::view::{GossipState, PathState},
    registry::{
        Refusal,
        command::{ModeWord, TokenRefusal},
        state::{AfterStop, ClusterMode, GroupState, ResourceState},
    },
};

#[test]
fn a_status_comes_back_as_it_went() {
    for registry in [Registry::founded(), Registry::running()] {
        for confirmed in [true, false] {
            let status = status::cluster(&registry.0, &view(&["lala"]), &node_status(&["kiki"]), confirmed);
            assert_eq!(convert::status_in(convert::status_out(status.clone())), Ok(status));
        }
    }
}

#[test]
fn times_come_back_as_they_went() {
    let mut settings = Registry::running().0.settings.unwrap().value;
    settings.timing.guard_budget *= 2;
    let times = times::times(&settings);
    assert!(times.times.iter().any(|time| time.derived_ms.is_some()));
    assert_eq!(convert::times::times_in(convert::times::times_out(times.clone())), times);
}

#[test]
fn an_explanation_comes_back_as_it_went() {
    let explanation = explain(&Registry::running().0, &"web".into()).unwrap();
    assert_eq!(convert::explanation_in(convert::explanation_out(explanation.clone())), Ok(explanation));
}

#[test]
fn every_change_comes_back_as_it_went() {
    for change in &Registry::running().0.history {
        let change = tasuki_core::registry::Change::clone(change);
        assert_eq!(convert::change_in(convert::change_out(change.clone())), Ok(change));
    }
}

#[test]
fn a_push_comes_back_as_it_went() {
    use PushResult::{Applied, Behind, Checked, NotJoined, Refused, Unreachable};
    let results = [Applied, Behind, Checked, NotJoined, Refused, Unreachable];
    let servers = results
        .into_iter()
        .map(|result| ServerPush { server: "kiki".into(), result, detail: format!("{result:?}") })
        .collect();
    let push = Push { revision: Some(Revision(7)), servers, warnings: Vec::new() };
    assert_eq!(convert::push_in(convert::push_out(push.clone())), Ok(push));
}

#[test]
fn words_come_back_and_numbers_without_meaning_are_refused() {
    use GroupState as G;
    use ResourceState as R;
    for state in [G::Online, G::Offline, G::OnlinePending, G::OfflinePending, G::Error, G::Unknown] {
        assert_eq!(convert::group_state_in(convert::group_state_out(state)), Ok(state));
    }
    for state in [
        R::Online,
        R::Offline,
        R::OnlinePending,
        R::OfflinePending,
        R::OnlineFailure,
        R::OfflineFailure,
        R::Unknown,
    ] {
        assert_eq!(convert::resource_state_in(convert::resource_state_out(state)), Ok(state));
    }
    for state in
        [PathState::Normal, PathState::Caution, PathState::Error, PathState::Unused, PathState::Unknown]
    {
        assert_eq!(convert::path_state_in(convert::path_state_out(state)), Ok(state));
    }
    use GossipState::{Alive, Dead, Joining, Left, Suspect};
    for state in [Alive, Dead, Joining, Left, Suspect] {
        assert_eq!(convert::gossip_in(convert::gossip_out(state)), Ok(state));
    }
    for after in [AfterStop::Nothing, AfterStop::Reboot, AfterStop::PowerOff, AfterStop::Reset] {
        assert_eq!(convert::after_in(convert::after_out(after)), Ok(after));
    }
    assert!(convert::group_state_in(0).is_err());
    assert!(convert::group_state_in(99).is_err());
    assert!(convert::after_in(99).is_err());
}

#[test]
fn every_error_has_a_page_a_remedy_and_an_exit() {
    let group = || "web".into();
    let errors = [
        AppError::Invalid("x".into()),
        AppError::NotFound { kind: Kind::Server, name: "x".into() },
        AppError::NotFound { kind: Kind::Group, name: "x".into() },
        AppError::NotFound { kind: Kind::Key, name: "x".into() },
        AppError::NoQuorum("x".into()),
        AppError::Unclear("x".into()),
        AppError::Unreachable("x".into()),
        AppError::TookTooLong("x".into()),
        AppError::Failed("x".into()),
        AppError::PermissionDenied { who: "x".into(), has: Role::Viewer, needs: Role::Admin },
        AppError::Unauthenticated("x".into()),
        AppError::Config(Vec::new()),
        AppError::ConfigElsewhere("x".into()),
        AppError::NotAcknowledged("x"),
        AppError::File("x".into()),
        AppError::Refused(Refusal::AlreadyRuns { group: group(), server: "kiki".into() }),
        AppError::Refused(Refusal::NotRunning(group())),
        AppError::Refused(Refusal::Busy(group())),
        AppError::Refused(Refusal::NotAllowed { group: group(), server: "kiki".into() }),
        AppError::Refused(Refusal::NowhereToGo(group())),
        AppError::Refused(Refusal::NotJoined("kiki".into())),
        AppError::Refused(Refusal::WrongMode(ModeWord(ClusterMode::Running))),
        AppError::Refused(Refusal::OtherEpoch { group: group(), named: Epoch(1), current: Epoch(2) }),
        AppError::Refused(Refusal::ServerInUse("kiki".into())),
        AppError::Refused(Refusal::AlreadyInitialised),
        AppError::Refused(Refusal::Token(TokenRefusal::Used)),
    ];
    let mut table = String::new();
    for error in &errors {
        page_exists(error.code());
        assert!(!error.remedy().is_empty());
        table.push_str(&format!("{}  {:<18?} {:?}\n", error.code(), error.grpc(), error.exit()));
    }
    for code in ["TSK-1680", "TSK-1681", "TSK-1682"] {
        page_exists(code);
    }
    support::golden("errors.txt", &table);
    assert_eq!(Exit::PermissionDenied as u8, 6);
}

fn page_exists(code: &str) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors").join(format!("{code}.md"));
    assert!(page.exists(), "{} is missing", page.display());
}
