//! Forecasts as stories: what is supposed in, steps and interruptions out.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use super::*;
use crate::{
    config::*,
    ids::*,
    placement::matrix::{Loss, matrix},
    reason::Reason,
    registry::{
        Author, Command, Item, Proposal, Reply, apply,
        state::{Facts, GroupReport, GroupState, ResourceReport, ResourceState, StartEvent},
    },
    time::WallTime,
    timing::Timing,
};

fn exec(needs: &[&str]) -> ResourceConfig {
    ResourceConfig {
        depends_on: Some(needs.iter().map(|n| (*n).into()).collect()),
        ..ResourceConfig::of(ResourceKind::Exec(ExecConfig::of(vec!["/bin/true".into()])))
    }
}

fn group(servers: &[&str]) -> GroupConfig {
    GroupConfig {
        servers: servers.iter().map(|s| (*s).into()).collect(),
        startup: Startup::Always,
        failover: Automatic::Auto,
        failback: Automatic::Manual,
        resources: BTreeMap::from([("db".into(), exec(&[])), ("app".into(), exec(&["db"]))]),
        ..GroupConfig::default()
    }
}

fn config(servers: &[&str], networks: &[&str]) -> ClusterConfig {
    let server = |at: usize| ServerConfig {
        role: Default::default(),
        domain: None,
        fencing: Vec::new(),
        number: u32::try_from(at).unwrap() + 1,
        comment: String::new(),
        addresses: networks.iter().map(|n| ((*n).into(), IpAddr::from([10, 0, 0, 1]))).collect(),
    };
    ClusterConfig {
        settings: ClusterSettings {
            votes: Default::default(),
            fences: BTreeMap::new(),
            on_hang: Default::default(),
            name: "demo".into(),
            comment: String::new(),
            timing: Timing::from_detect(Duration::from_secs(1)),
            startup_wait: Duration::from_secs(10),
            networks: BTreeMap::new(),
            heartbeats: networks.iter().map(|n| HeartbeatPath::Lan { network: (*n).into() }).collect(),
            port: 1,
            heartbeat_port: 2,
        },
        servers: servers.iter().enumerate().map(|(at, name)| ((*name).into(), server(at))).collect(),
        groups: BTreeMap::from([
            ("web".into(), group(&["kiki", "lala", "mimi"])),
            ("mail".into(), group(&["lala"])),
        ]),
        types: BTreeMap::new(),
        pools: BTreeMap::new(),
        resources: BTreeMap::new(),
        monitors: BTreeMap::new(),
    }
}

fn tell(state: &mut State, command: Command) {
    let proposal = Proposal {
        id: None,
        author: Author::Operator("root".into()),
        at: WallTime(1),
        lineage: state.lineage.clone(),
        read: Vec::new(),
        reason: None,
        command,
    };
    let reply = apply(state, &proposal);
    assert!(matches!(reply, Reply::Applied { .. }), "{reply:?}");
}

/// All servers up, `web` on kiki, `mail` on lala, all measured: 30 ms to start, 20 ms to stop.
fn running(servers: &[&str], networks: &[&str]) -> Picture {
    running_with(config(servers, networks), servers, &[("web", "kiki"), ("mail", "lala")])
}

fn running_with(config: ClusterConfig, servers: &[&str], owners: &[(&str, &str)]) -> Picture {
    let mut state = State::default();
    let lineage = Lineage::new("l");
    tell(&mut state, Command::Initialise { lineage, config, founder: "kiki".into() });
    for server in servers.iter().skip(1) {
        let (id, digest, expires) = ((*server).to_owned(), "d".to_owned(), WallTime(9));
        tell(
            &mut state,
            Command::IssueToken { id: id.clone(), digest: digest.clone(), server: None, expires },
        );
        tell(&mut state, Command::Join { token: id, digest, server: (*server).into() });
    }
    for server in servers {
        let boot = BootId::new(*server);
        tell(
            &mut state,
            Command::ServerStarted { server: (*server).into(), incarnation: Incarnation(1), boot },
        );
    }
    for (group, server) in owners {
        let epoch = Epoch(1);
        let (group, server): (GroupName, ServerName) = ((*group).into(), (*server).into());
        let event = StartEvent::Start;
        tell(&mut state, Command::Assign { group: group.clone(), server: server.clone(), epoch, event });
        let up = ResourceReport { state: ResourceState::Online, detail: String::new(), since: WallTime(1) };
        let names: Vec<ResourceName> =
            state.groups[&group].config.as_ref().unwrap().value.resources.keys().cloned().collect();
        let report = GroupReport {
            epoch,
            server,
            state: GroupState::Online,
            resources: names.iter().map(|name| (name.clone(), up.clone())).collect(),
            failed: None,
        };
        tell(&mut state, Command::Report { group: group.clone(), report });
        for resource in names {
            let (created, modified, at) = (Revision(1), Revision(1), WallTime(1));
            let facts = &mut state.groups.get_mut(&group).unwrap().facts;
            let known = facts.remove(&resource).map(|item| item.value).unwrap_or_default();
            let value = Facts { start_took: Some(30), stop_took: Some(20), ..known };
            facts.insert(resource, Item { value, created, modified, at });
        }
    }
    Picture::of(state)
}

const THREE: [&str; 3] = ["kiki", "lala", "mimi"];

fn steps(forecast: &Forecast) -> Vec<String> {
    forecast.steps.iter().map(|step| format!("{:>5} {}", step.after_ms, step.what)).collect()
}

fn about<'a>(forecast: &'a Forecast, group: &str) -> &'a Interruption {
    forecast.interruptions.iter().find(|one| one.group.as_str() == group).unwrap()
}

#[test]
fn a_lost_server_is_taken_over_after_the_wait_in_the_order_of_its_resources() {
    let picture = running(&THREE, &["lan"]);
    let before = picture.clone();
    let what_if = [Change::ServerDown { server: "kiki".into() }];
    let forecast = forecast(&picture, &what_if, "aoi").unwrap();
    assert_eq!(picture, before, "nothing is changed");
    // 800 ms lease, 100 ms budget, 136 ms margin.
    assert_eq!(
        steps(&forecast),
        [
            "    0 kiki is lost",
            " 1064 the lease of kiki has ended for certain: it is gone",
            " 1064 lala gets web",
            " 1064 lala starts db of web (30 ms last time)",
            " 1094 lala starts app of web (30 ms last time)",
            " 1124 web is online on lala",
        ]
    );
    let web = about(&forecast, "web");
    assert_eq!((web.stop_ms, web.wait_ms, web.start_ms, web.total_ms()), (0, 1064, 60, Some(1124)));
    assert_eq!(
        (forecast.interruptions.len(), &forecast.down, &forecast.ended),
        (1, &vec![], &Ended::Settled)
    );
    let why = forecast.steps[2].reason.as_ref().unwrap();
    assert_eq!(why, &Reason::ServerGone { server: "kiki".into() });
}

#[test]
fn a_group_that_may_run_nowhere_else_stays_down() {
    let forecast =
        forecast(&running(&THREE, &["lan"]), &[Change::ServerDown { server: "lala".into() }], "aoi").unwrap();
    assert_eq!(forecast.down, ["mail".into()]);
    assert_eq!(about(&forecast, "mail").total_ms(), None);
}

#[test]
fn a_move_stops_first_and_starts_then() {
    let to = Some("mimi".into());
    let what_if = [Change::Move { group: "web".into(), to }];
    let forecast = forecast(&running(&THREE, &["lan"]), &what_if, "aoi").unwrap();
    assert_eq!(
        steps(&forecast),
        [
            "    0 operator aoi asks: move web to mimi",
            "    0 kiki stops app of web (20 ms last time)",
            "   20 kiki stops db of web (20 ms last time)",
            "   40 kiki has stopped web",
            "   40 mimi gets web",
            "   40 mimi starts db of web (30 ms last time)",
            "   70 mimi starts app of web (30 ms last time)",
            "  100 web is online on mimi",
        ]
    );
    let web = about(&forecast, "web");
    assert_eq!((web.stop_ms, web.wait_ms, web.start_ms), (40, 0, 60));
    assert_eq!((&web.from, &web.to), (&Some("kiki".into()), &Some("mimi".into())));
}

#[test]
fn what_was_never_measured_is_named() {
    let mut picture = running(&THREE, &["lan"]);
    picture.state.groups.get_mut(&"web".into()).unwrap().facts.remove(&"app".into());
    let what_if = [Change::ServerDown { server: "kiki".into() }];
    let forecast = forecast(&picture, &what_if, "aoi").unwrap();
    let web = about(&forecast, "web");
    assert_eq!((web.total_ms(), &web.unknown), (Some(1094), &BTreeSet::from(["app".into()])));
}

#[test]
fn stopped_groups_are_down_because_somebody_wants_it() {
    let picture = running(&THREE, &["lan"]);
    let stopped = forecast(&picture, &[Change::Stop { group: "web".into() }], "aoi").unwrap();
    assert_eq!((about(&stopped, "web").total_ms(), &stopped.down), (None, &vec![]));
}

#[test]
fn without_a_quorum_everything_ends_with_its_lease() {
    let down = |server: &str| Change::ServerDown { server: server.into() };
    let picture = running(&THREE, &["lan"]);
    let forecast = forecast(&picture, &[down("kiki"), down("lala")], "aoi").unwrap();
    assert_eq!(forecast.ended, Ended::NoQuorum { voters: 3, left: 1, needed: 2 });
    assert_eq!(forecast.down, ["mail".into(), "web".into()]);
}

#[test]
fn what_cannot_be_is_refused() {
    let picture = running(&THREE, &["lan"]);
    let impossible = |change: Change| forecast(&picture, &[change], "aoi").unwrap_err().to_string();
    assert_eq!(
        impossible(Change::ServerDown { server: "momo".into() }),
        "losing server momo: no server is called momo"
    );
    assert_eq!(impossible(Change::ServerUp { server: "kiki".into() }), "server kiki is up already");
    let to = Some("mimi".into());
    let mail = impossible(Change::Move { group: "mail".into(), to });
    assert_eq!(mail, "move mail to mimi: group mail may not run on mimi");
}

#[test]
fn a_server_that_comes_back_takes_home_what_fails_back() {
    let mut picture = running(&THREE, &["lan"]);
    let mut config = picture.state.config().unwrap();
    config.groups.get_mut(&"web".into()).unwrap().failback = Automatic::Auto;
    tell(&mut picture.state, Command::SetConfig { config });
    tell(&mut picture.state, Command::ServerGone { server: "kiki".into(), incarnation: Incarnation(1) });
    let picture = Picture::of(picture.state);
    // First what is under way now: lala takes it; then home is back.
    let forecast = forecast(&picture, &[Change::ServerUp { server: "kiki".into() }], "aoi").unwrap();
    let web = about(&forecast, "web");
    assert_eq!(web.to, Some("kiki".into()));
}

#[test]
fn the_matrix_has_a_row_for_each_server_cable_and_network() {
    let rows = matrix(&running(&THREE, &["lan", "cross"]), &BTreeSet::new());
    assert_eq!(rows.len(), 3 + 6 + 2);
    let of = |loss: &Loss| rows.iter().find(|row| row.loss == *loss).unwrap();
    let kiki = of(&Loss::Server { server: "kiki".into() });
    assert_eq!((kiki.interruptions.len(), &kiki.down), (1, &vec![]));
    let lala = of(&Loss::Server { server: "lala".into() });
    assert_eq!(lala.down, ["mail".into()]);
    for row in &rows[3..] {
        assert_eq!(
            (&row.cut_off, &row.interruptions),
            (&vec![], &vec![]),
            "{}: another path is there",
            row.loss
        );
    }
}

#[test]
fn the_only_cable_of_a_server_cuts_it_off_and_the_only_network_all() {
    let rows = matrix(&running(&THREE, &["lan"]), &BTreeSet::new());
    let of = |loss: &Loss| rows.iter().find(|row| row.loss == *loss).unwrap();
    let cable = of(&Loss::Cable { server: "kiki".into(), network: "lan".into() });
    assert_eq!((&cable.cut_off, cable.interruptions.len()), (&vec!["kiki".into()], 1));
    let network = of(&Loss::Network { network: "lan".into() });
    assert_eq!((network.cut_off.len(), &network.down), (3, &vec!["mail".into(), "web".into()]));
    assert!(matches!(network.ended, Ended::NoQuorum { .. }));
}

#[test]
fn a_broken_cable_leaves_one_path_that_matters() {
    let broken = BTreeSet::from([("kiki".into(), "cross".into())]);
    let rows = matrix(&running(&THREE, &["lan", "cross"]), &broken);
    let lan = rows.iter().find(|r| r.loss == Loss::Cable { server: "kiki".into(), network: "lan".into() });
    assert_eq!(lan.unwrap().cut_off, ["kiki".into()]);
}

/// `mail` is a program that `web` needs on its server, to start and to run.
fn dependent() -> Picture {
    let mut config = config(&THREE, &["lan"]);
    let mail = config.groups.get_mut(&"mail".into()).unwrap();
    mail.servers = vec!["kiki".into(), "lala".into()];
    mail.resources = BTreeMap::from([("post".into(), exec(&[]))]);
    let web = config.groups.get_mut(&"web".into()).unwrap();
    web.resources.remove(&"db".into());
    web.resources.insert("app".into(), exec(&[]));
    let on = Named::Resource("post".into());
    let kind = StartKind::Hard { intermediate: false, global: false };
    web.start = vec![StartDependency { on: on.clone(), kind }];
    web.stop = vec![StopDependency { on, intermediate: false, global: false, shutdown: false }];
    running_with(config, &THREE, &[("mail", "kiki"), ("web", "kiki")])
}

#[test]
fn what_needs_a_group_stops_before_it_and_starts_after_it() {
    let forecast = forecast(&dependent(), &[Change::ServerDown { server: "kiki".into() }], "aoi").unwrap();
    let online: Vec<String> = steps(&forecast).into_iter().filter(|step| step.contains("online")).collect();
    assert_eq!(online, [" 1094 mail is online on lala", " 1124 web is online on lala"]);
    let what_if = [Change::Move { group: "mail".into(), to: Some("lala".into()) }];
    let moved = super::forecast(&dependent(), &what_if, "aoi").unwrap();
    let text = steps(&moved);
    let at = |words: &str| text.iter().position(|step| step.contains(words)).unwrap();
    assert!(at("kiki has stopped web") < at("kiki stops post"), "{text:#?}");
    assert!(at("mail is online on lala") < at("lala starts app"), "{text:#?}");
    assert_eq!((&moved.ended, &moved.down), (&Ended::Settled, &vec![]), "{text:#?}");
    let web = about(&moved, "web");
    assert_eq!((web.stop_ms, web.wait_ms, web.start_ms), (20, 50, 30));
}

mod cable;
