//! The resource engine over the real actors, Raft and store: dependencies, pools, monitors and checks,
//! with machines and cables in memory.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use tasuki_core::{
    config::{
        CheckConfig, ClusterConfig, FinalAction, MonitorKind, MonitorTiming, Named, PoolConfig,
        RecoveryTarget, ResourceKind, StartDependency, StartKind, StopDependency,
    },
    ids::ServerName,
    registry::{
        Command, State,
        state::{ClusterMode, FailureCount, MonitorState, ResourceState, Target},
    },
};
use tasuki_tests::twin::{
    Happening, Machine, Twin, config, monitor, online_on, patiently, servers, singleton,
};

const GATEWAY: &str = "10.1.0.1";
const ALL: [&str; 3] = ["kiki", "lala", "mimi"];

/// Three servers and nothing to run.
fn empty(detect: Duration) -> ClusterConfig {
    let mut config = config(3, detect);
    config.groups.clear();
    config
}

async fn form(config: ClusterConfig) -> Twin {
    let twin = Twin::form(config).await;
    twin.until_whole().await;
    twin
}

async fn propose(twin: &Twin, through: &str, command: Command) {
    twin.command(&through.into(), command).await;
}

/// `app` needs `db` on its server, starts again when `db` does, and stops when `db` stops.
fn app_on_db(detect: Duration) -> ClusterConfig {
    let mut config = empty(detect);
    let on = || Named::Resource("db".into());
    let kinds = [
        StartKind::Hard { intermediate: false, global: false },
        StartKind::Pullup { always: false, intermediate: false, global: false },
    ];
    let mut app = singleton(&ALL);
    app.start = kinds.into_iter().map(|kind| StartDependency { on: on(), kind }).collect();
    app.stop = vec![StopDependency { on: on(), intermediate: false, global: false, shutdown: false }];
    config.resources.insert("db".into(), singleton(&ALL));
    config.resources.insert("app".into(), app);
    config
}

/// What happened to `db` and `app` on a machine, in order.
fn story(machine: &Machine) -> Vec<String> {
    let said = machine.log().into_iter().filter_map(|(_, what)| match what {
        Happening::Started((_, resource)) => Some(format!("+{resource}")),
        Happening::Stopped((_, resource)) => Some(format!("-{resource}")),
        _ => None,
    });
    said.collect()
}

async fn both_online(twin: &Twin, on: &[&str]) -> ServerName {
    twin.until(&format!("db and app are online together on one of {on:?}"), |state| {
        let (db, app) = (online_on(state, "db#1"), online_on(state, "app#1"));
        db.is_some() && db == app && on.contains(&db.unwrap().as_str())
    })
    .await;
    online_on(&twin.node(&twin.leader().unwrap()).unwrap().state(), "db#1").unwrap()
}

#[test]
fn what_depends_on_a_moved_resource_stops_before_it_and_follows_it() {
    patiently(async |detect| {
        let twin = form(app_on_db(detect)).await;
        both_online(&twin, &["kiki"]).await;
        assert_eq!(story(&twin.machine(&"kiki".into())), ["+db", "+app"]);
        propose(
            &twin,
            "mimi",
            Command::MoveGroup { group: "db#1".into(), to: Some("lala".into()), force: true },
        )
        .await;
        both_online(&twin, &["lala"]).await;
        assert_eq!(story(&twin.machine(&"kiki".into())), ["+db", "+app", "-app", "-db"]);
        assert_eq!(story(&twin.machine(&"lala".into())), ["+db", "+app"]);
        assert!(twin.machine(&"mimi".into()).log().is_empty(), "nothing ran on a third one in between");
        twin.assert_one_owner_at_a_time();
    });
}

#[test]
fn what_was_stopped_with_a_resource_is_pulled_up_by_its_return() {
    patiently(async |detect| {
        let twin = form(app_on_db(detect)).await;
        both_online(&twin, &["kiki"]).await;
        propose(&twin, "lala", Command::StopGroup { group: "db#1".into(), force: true }).await;
        let unowned =
            |state: &State, group: &str| state.groups[&group.into()].ownership.value.owner.is_none();
        twin.until("both have stopped", |state| unowned(state, "db#1") && unowned(state, "app#1")).await;
        assert_eq!(story(&twin.machine(&"kiki".into())), ["+db", "+app", "-app", "-db"]);
        let state = twin.node(&twin.leader().unwrap()).unwrap().state();
        assert_eq!(
            state.groups[&"app#1".into()].target.value,
            Target::Online,
            "nobody stopped app on purpose"
        );
        propose(&twin, "lala", Command::StartGroup { group: "db#1".into(), on: Some("mimi".into()) }).await;
        both_online(&twin, &["mimi"]).await;
        assert_eq!(story(&twin.machine(&"mimi".into())), ["+db", "+app"]);
        twin.assert_one_owner_at_a_time();
    });
}

#[test]
fn both_are_taken_over_in_order_when_their_server_is_lost() {
    patiently(async |detect| {
        let twin = form(app_on_db(detect)).await;
        both_online(&twin, &["kiki"]).await;
        twin.kill_machine(&"kiki".into()).await;
        let heir = both_online(&twin, &["lala", "mimi"]).await;
        assert_eq!(story(&twin.machine(&heir)), ["+db", "+app"]);
        twin.assert_one_owner_at_a_time();
    });
}

#[test]
fn a_more_important_pool_takes_a_server_over_and_gives_one_back() {
    patiently(async |detect| {
        let mut config = empty(detect);
        let pool = |min, importance| PoolConfig {
            comment: String::new(),
            min,
            max: Some(min),
            importance,
            servers: Vec::new(),
        };
        config.pools.insert("online".into(), pool(2, 10));
        config.pools.insert("batch".into(), pool(1, 5));
        let mut shop = singleton(&ALL);
        shop.cardinality = tasuki_core::config::Cardinality::Uniform;
        shop.server_pools = vec!["online".into()];
        let mut nightly = singleton(&ALL);
        nightly.server_pools = vec!["batch".into()];
        config.resources.insert("shop".into(), shop);
        config.resources.insert("nightly".into(), nightly);
        let twin = form(config).await;

        // Where shop runs, as the instances say whose number is the server's; and where nightly does.
        let shops = |state: &State| -> Vec<ServerName> {
            (1..=3).filter_map(|number| online_on(state, &format!("shop#{number}"))).collect()
        };
        let apart = |state: &State, shop_on: usize, nightly_on: usize| {
            let (shops, nightly) = (shops(state), online_on(state, "nightly#1"));
            shops.len() == shop_on
                && usize::from(nightly.is_some()) == nightly_on
                && nightly.is_none_or(|nightly| !shops.contains(&nightly))
        };
        twin.until("two run shop and the third runs nightly", |state| apart(state, 2, 1)).await;
        let before = twin.node(&twin.leader().unwrap()).unwrap().state();
        let lost = shops(&before).pop().unwrap();
        twin.kill_machine(&lost).await;
        twin.until("the two that are left run shop", |state| {
            apart(state, 2, 0) && !shops(state).contains(&lost)
        })
        .await;
        twin.boot(&lost).await;
        twin.until("the one that came back runs nightly", |state| {
            apart(state, 2, 1) && online_on(state, "nightly#1").as_ref() == Some(&lost)
        })
        .await;
        twin.assert_one_owner_at_a_time();
    });
}

/// The state of a monitor on one server, as the registry has it.
fn finds(state: &State, monitor: &str, server: &str) -> Option<MonitorState> {
    let reports = &state.monitors.get(&monitor.into())?.reports;
    reports.get(&ServerName::from(server)).map(|report| report.value.state)
}

#[test]
fn a_pid_monitor_has_its_target_restarted_once_and_then_failed_over() {
    patiently(async |detect| {
        let mut config = config(3, detect);
        let mut watch = monitor(MonitorKind::Pid, RecoveryTarget::Resource("service".into()));
        watch.target = Some("service".into());
        watch.timing = MonitorTiming::WhileActive;
        watch.interval = Duration::from_secs(3600); // its process's end is told, not looked for
        watch.recovery.restarts = 1;
        config.monitors.insert("watch".into(), watch);
        let twin = form(config).await;
        twin.until_online("web", &servers(&["kiki"])).await;
        twin.until("the monitor is used where its target runs", |state| {
            finds(state, "watch", "kiki") == Some(MonitorState::Normal)
                && finds(state, "watch", "lala") == Some(MonitorState::Unused)
        })
        .await;

        let counted = |state: &State| {
            state.groups[&"web".into()].failures.value.of_monitor(&"watch".into(), &"kiki".into())
        };
        let kiki = twin.machine(&"kiki".into());
        kiki.kill_service("web", "service");
        twin.until("the restart was counted for the monitor", |state| {
            counted(state) == FailureCount { retries: 1, failovers: 0 }
                && online_on(state, "web") == Some("kiki".into())
                && finds(state, "watch", "kiki") == Some(MonitorState::Normal)
        })
        .await;
        assert_eq!(kiki.starts(), 2);
        let state = twin.node(&"kiki".into()).unwrap().state();
        let own = state.groups[&"web".into()].failures.value.of(&"service".into(), &"kiki".into());
        assert_eq!(own, FailureCount::default(), "the resource's own retries are not touched");

        kiki.kill_service("web", "service");
        twin.until_online("web", &servers(&["lala", "mimi"])).await;
        twin.until("the failover was counted for the monitor", |state| counted(state).failovers == 1).await;
        assert_eq!(kiki.starts(), 2);
        twin.assert_one_owner_at_a_time();
    });
}

/// Web with a monitor of the gateway that asks for an immediate failover.
fn gateway(detect: Duration) -> ClusterConfig {
    let mut config = config(3, detect);
    let kind = MonitorKind::Ip { addresses: vec![GATEWAY.parse().unwrap(), "10.1.0.2".parse().unwrap()] };
    config.monitors.insert("gateway".into(), monitor(kind, RecoveryTarget::Group("web".into())));
    config
}

async fn all_find(twin: &Twin, states: [MonitorState; 3]) {
    twin.until(&format!("the gateway is {states:?}"), |state| {
        ALL.iter().zip(states).all(|(server, wanted)| finds(state, "gateway", server) == Some(wanted))
    })
    .await;
}

#[test]
fn an_ip_monitor_fails_over_at_once_and_a_standbys_finding_moves_nothing() {
    patiently(async |detect| {
        use MonitorState::{Error, Normal};
        let twin = form(gateway(detect)).await;
        twin.until_online("web", &servers(&["kiki"])).await;
        all_find(&twin, [Normal, Normal, Normal]).await;

        twin.machine(&"lala".into()).answers(GATEWAY.parse().unwrap(), false);
        all_find(&twin, [Normal, Error, Normal]).await;
        // Lala's findings are said again and again; web stays, and nothing of it is counted.
        let looks = twin.machine(&"lala".into()).looked(GATEWAY);
        twin.until("lala has found it bad some more times", |_| {
            twin.machine(&"lala".into()).looked(GATEWAY) > looks + 5
        })
        .await;
        assert_eq!(twin.machine(&"kiki".into()).log().len(), 1, "started, and nothing since");
        twin.machine(&"lala".into()).answers(GATEWAY.parse().unwrap(), true);
        all_find(&twin, [Normal, Normal, Normal]).await;

        twin.machine(&"kiki".into()).answers(GATEWAY.parse().unwrap(), false);
        twin.until_online("web", &servers(&["lala", "mimi"])).await;
        assert_eq!(twin.machine(&"kiki".into()).starts(), 1, "no restart before that");
        all_find(&twin, [Error, Normal, Normal]).await;
        twin.until("the failover was counted for the monitor", |state| {
            let failures = &state.groups[&"web".into()].failures.value;
            failures.of_monitor(&"gateway".into(), &"kiki".into())
                == FailureCount { retries: 0, failovers: 1 }
        })
        .await;
        twin.assert_one_owner_at_a_time();
    });
}

#[test]
fn monitors_of_a_suspended_cluster_do_not_look_and_changed_ones_begin_anew() {
    patiently(async |detect| {
        use MonitorState::{Error, Normal, Unused};
        let config = gateway(detect);
        let twin = form(config.clone()).await;
        twin.until_online("web", &servers(&["kiki"])).await;
        propose(&twin, "lala", Command::SetMode { mode: ClusterMode::Suspended }).await;
        all_find(&twin, [Unused, Unused, Unused]).await;
        twin.machine(&"kiki".into()).answers(GATEWAY.parse().unwrap(), false);
        propose(&twin, "lala", Command::SetMode { mode: ClusterMode::Running }).await;
        twin.until_online("web", &servers(&["lala", "mimi"])).await;
        all_find(&twin, [Error, Normal, Normal]).await;

        let mut changed = config.clone();
        let gateway = changed.monitors.get_mut(&"gateway".into()).unwrap();
        gateway.servers = servers(&["lala", "mimi"]);
        propose(&twin, "lala", Command::SetConfig { config: changed }).await;
        all_find(&twin, [Unused, Normal, Normal]).await;
        let mut without = config;
        without.monitors.clear();
        propose(&twin, "lala", Command::SetConfig { config: without }).await;
        let gone = async {
            let name = "gateway".into();
            while ALL
                .iter()
                .any(|s| twin.node(&(*s).into()).unwrap().context().monitors.actor(&name).is_some())
            {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), gone).await.expect("the monitors' actors end");
    });
}

#[test]
fn a_check_tells_intermediate_and_unknown_and_its_failure_climbs_the_ladder() {
    patiently(async |detect| {
        let mut config = config(3, detect);
        let service =
            config.groups.get_mut(&"web".into()).unwrap().resources.get_mut(&"service".into()).unwrap();
        let ResourceKind::Exec(exec) = &mut service.kind else { panic!("web runs a program") };
        exec.check = Some(CheckConfig {
            command: vec!["check".into()],
            interval: Duration::from_millis(20),
            timeout: Duration::from_secs(1),
        });
        let twin = form(config).await;
        twin.until_online("web", &servers(&["kiki"])).await;
        let kiki = twin.machine(&"kiki".into());
        let service = |state: &State| {
            let report = state.groups[&"web".into()].report.as_ref();
            report.and_then(|report| report.value.resources.get(&"service".into()).cloned())
        };
        for (code, line, expected) in [
            (4, "half of it", ResourceState::Intermediate),
            (3, "no idea", ResourceState::Unknown),
            (0, "all of it", ResourceState::Online),
        ] {
            kiki.program("check", code, line);
            twin.until(&format!("the service is {expected}, {line}"), |state| {
                service(state).is_some_and(|report| report.state == expected && report.detail == line)
            })
            .await;
        }
        assert_eq!(kiki.log().len(), 1, "none of that needed recovery: {:?}", kiki.log());

        kiki.program("check", 1, "gone");
        twin.until_online("web", &servers(&["lala", "mimi"])).await;
        assert_eq!(
            kiki.starts(),
            1,
            "tried again where it was, it was still running, and was found ended again"
        );
        twin.until("its one retry was used first", |state| {
            let counts = state.groups[&"web".into()].failures.value.of(&"service".into(), &"kiki".into());
            counts == FailureCount { retries: 1, failovers: 1 }
        })
        .await;
        twin.assert_one_owner_at_a_time();
    });
}

#[test]
fn a_final_action_resets_the_machine_and_others_take_over() {
    patiently(async |detect| {
        let mut config = gateway(detect);
        let recovery = &mut config.monitors.get_mut(&"gateway".into()).unwrap().recovery;
        (recovery.failovers, recovery.last) = (0, FinalAction::Reset);
        let twin = form(config).await;
        twin.until_online("web", &servers(&["kiki"])).await;
        let kiki = twin.machine(&"kiki".into());
        kiki.answers(GATEWAY.parse().unwrap(), false);
        twin.until("kiki's machine is reset", |_| {
            kiki.log().iter().any(|(_, what)| matches!(what, Happening::Reset(_)))
        })
        .await;
        twin.kill_node(&"kiki".into()).await; // as a reset does
        twin.until_online("web", &servers(&["lala", "mimi"])).await;
        kiki.answers(GATEWAY.parse().unwrap(), true);
        twin.boot(&"kiki".into()).await;
        twin.until_whole().await;
        twin.assert_one_owner_at_a_time();
    });
}
