//! Cables that are cut: what becomes of the floating addresses on them.

use super::*;
use crate::registry::state::ClusterMode;

fn address(last: u8) -> ResourceConfig {
    let floating = FloatingIpConfig {
        address: IpAddr::from([10, 0, 0, last]),
        prefix: 24,
        device: None,
        per_server: BTreeMap::new(),
    };
    ResourceConfig::of(ResourceKind::FloatingIp(floating))
}

/// Two networks; `web` is an address on `lan` and a program that needs it.
fn with_address(change: impl FnOnce(&mut ResourceConfig)) -> ClusterConfig {
    let mut config = config(&THREE, &["lan", "cross"]);
    let network = |third: u8, use_| {
        let subnet = IpAddr::from([10, third, 0, 0]);
        Network { subnet, prefix: 24, uses: vec![use_] }
    };
    config.settings.networks = BTreeMap::from([
        ("lan".into(), network(0, NetworkUse::Public)),
        ("cross".into(), network(1, NetworkUse::Interconnect)),
    ]);
    let mut ip = address(100);
    change(&mut ip);
    let web = config.groups.get_mut(&"web".into()).unwrap();
    web.resources = BTreeMap::from([("ip".into(), ip), ("app".into(), exec(&["ip"]))]);
    config
}

fn picture(change: impl FnOnce(&mut ResourceConfig)) -> Picture {
    running_with(with_address(change), &THREE, &[("web", "kiki"), ("mail", "lala")])
}

fn cut(server: &str, network: &str) -> Change {
    Change::CableCut { server: server.into(), network: network.into() }
}

fn after(picture: &Picture, what_if: &[Change]) -> Forecast {
    forecast(picture, what_if, "aoi").unwrap()
}

/// Where starts of the address failed or it ended, in order.
fn fails(forecast: &Forecast) -> Vec<&str> {
    let server = |step: &Step| match &step.what {
        What::Fails { server, .. } => Some(THREE.into_iter().find(|one| server.as_str() == *one).unwrap()),
        _ => None,
    };
    forecast.steps.iter().filter_map(server).collect()
}

#[test]
fn an_address_fails_with_its_cable_and_its_group_goes_to_the_next_server() {
    let forecast = after(&picture(|_| ()), &[cut("kiki", "lan")]);
    assert_eq!(
        steps(&forecast),
        [
            "    0 the cable of kiki to lan is cut",
            "    0 ip of web fails on kiki: its cable to lan carries nothing",
            "    0 kiki is told to stop web, which goes to lala",
            "    0 kiki stops app of web (20 ms last time)",
            "   20 kiki stops ip of web (20 ms last time)",
            "   40 kiki has stopped web",
            "   40 lala gets web",
            "   40 lala starts ip of web (30 ms last time)",
            "   70 lala starts app of web (30 ms last time)",
            "  100 web is online on lala",
        ]
    );
    let why = Reason::ResourceFailed { resource: "ip".into(), server: "kiki".into() };
    assert_eq!(forecast.steps[2].reason, Some(why));
    let web = about(&forecast, "web");
    assert_eq!((&web.from, &web.to), (&Some("kiki".into()), &Some("lala".into())));
    assert_eq!((web.stop_ms, web.wait_ms, web.start_ms), (40, 0, 60));
    assert!(web.unknown.is_empty());
    assert_eq!(
        (forecast.interruptions.len(), &forecast.down, &forecast.ended),
        (1, &vec![], &Ended::Settled)
    );
}

#[test]
fn it_is_tried_again_where_it_failed_before_it_is_handed_on() {
    let picture = picture(|ip| ip.on_start_failure.retries = 2);
    let forecast = after(&picture, &[cut("kiki", "lan")]);
    assert_eq!(fails(&forecast), ["kiki"; 3]);
    assert_eq!(
        steps(&forecast)[1..4],
        [
            "    0 ip of web fails on kiki: its cable to lan carries nothing",
            "    0 kiki cannot start ip of web: its cable to lan carries nothing",
            "    0 kiki cannot start ip of web: its cable to lan carries nothing",
        ]
    );
    assert_eq!(about(&forecast, "web").to, Some("lala".into()));
    // Tries that are used up already are not there any more.
    let mut used = picture.clone();
    let (group, resource, server) = (GroupName::new("web"), "ip".into(), "kiki".into());
    let kind = crate::registry::state::FailureKind::Ended;
    tell(&mut used.state, Command::CountRetry { group, epoch: Epoch(1), resource, server, kind });
    assert_eq!(fails(&after(&used, &[cut("kiki", "lan")])), ["kiki"; 2]);
}

#[test]
fn what_fails_too_often_stays_where_it_is() {
    let often = |ip: &mut ResourceConfig| {
        ip.on_start_failure.retries = 9;
        (ip.failure_threshold, ip.failure_interval) = (3, Duration::from_secs(60));
    };
    let forecast = after(&picture(often), &[cut("kiki", "lan")]);
    assert_eq!((fails(&forecast), &forecast.down), (vec!["kiki"; 3], &vec!["web".into()]));
    assert_eq!(about(&forecast, "web").total_ms(), None);
    // What failed before counts as long as the interval says, by the time of the picture.
    let mut earlier = picture(often);
    for _ in 0..2 {
        let (group, resource, server) = (GroupName::new("web"), "ip".into(), "kiki".into());
        let kind = crate::registry::state::FailureKind::Ended;
        tell(&mut earlier.state, Command::CountRetry { group, epoch: Epoch(1), resource, server, kind });
    }
    assert_eq!(fails(&after(&earlier, &[cut("kiki", "lan")])), ["kiki"]);
    earlier.at = WallTime(3_600_000);
    assert_eq!(fails(&after(&earlier, &[cut("kiki", "lan")])), ["kiki"; 3]);
}

#[test]
fn an_address_without_a_cable_anywhere_goes_round_once_and_is_down() {
    let all = THREE.map(|server| cut(server, "lan"));
    let forecast = after(&picture(|_| ()), &all);
    assert_eq!(fails(&forecast), ["kiki", "lala", "mimi", "kiki"]);
    assert_eq!((&forecast.down, &forecast.ended), (&vec!["web".into()], &Ended::Settled));
    assert_eq!(about(&forecast, "web").total_ms(), None);
    // What a server has tried is counted, so that it has none left when it is its turn again.
    let forecast = after(&picture(|ip| ip.on_start_failure.retries = 1), &all);
    assert_eq!(fails(&forecast), ["kiki", "kiki", "lala", "lala", "mimi", "mimi", "kiki"]);
}

#[test]
fn the_final_action_follows_when_every_failover_is_used_up() {
    let with = |action| picture(move |ip| ip.on_start_failure.last = action);
    let all = THREE.map(|server| cut(server, "lan"));
    let stop = after(&with(FinalAction::Stop), &all);
    let text = steps(&stop);
    assert!(text.iter().any(|step| step.ends_with("final action of ip of web: Stop")), "{text:#?}");
    assert!(text.iter().any(|step| step.ends_with("kiki has stopped")), "{text:#?}");
    // A reset stops nothing first: the others wait for the end of its lease, and then for a quorum.
    let reset = after(&with(FinalAction::Reset), &all);
    let text = steps(&reset);
    let at = |words: &str| text.iter().position(|step| step.ends_with(words));
    let finally = at("final action of ip of web: Reset").unwrap();
    assert_eq!(at("kiki is lost"), Some(finally + 1), "{text:#?}");
    assert!(matches!(reset.ended, Ended::NoQuorum { left: 1, needed: 2, .. }), "{text:#?}");
    assert_eq!(reset.down, ["mail".into(), "web".into()]);
}

#[test]
fn only_the_network_in_which_an_address_lies_on_that_server_takes_it_along() {
    let elsewhere = |ip: &mut ResourceConfig| {
        let ResourceKind::FloatingIp(floating) = &mut ip.kind else { return };
        floating.per_server = BTreeMap::from([("kiki".into(), IpAddr::from([10, 1, 0, 7]))]);
    };
    let picture = picture(elsewhere);
    assert_eq!(fails(&after(&picture, &[cut("kiki", "lan")])), [""; 0]);
    assert_eq!(fails(&after(&picture, &[cut("kiki", "cross")])), ["kiki"]);
    // Nor one of another server, nor anything of a program.
    assert_eq!(after(&picture, &[cut("lala", "lan"), cut("mimi", "cross")]).interruptions, []);
}

#[test]
fn nothing_goes_where_its_address_has_no_cable() {
    let forecast =
        after(&picture(|_| ()), &[cut("lala", "lan"), Change::ServerDown { server: "kiki".into() }]);
    assert_eq!((fails(&forecast), &about(&forecast, "web").to), (vec!["lala"], &Some("mimi".into())));
}

#[test]
fn the_last_path_of_a_server_takes_the_server_along() {
    let forecast = after(&picture(|_| ()), &[cut("kiki", "lan"), cut("kiki", "cross")]);
    assert_eq!(fails(&forecast), [""; 0]);
    assert_eq!(
        steps(&forecast)[..5],
        [
            "    0 the cable of kiki to lan is cut",
            "    0 the cable of kiki to cross is cut",
            "    0 kiki is lost",
            " 1064 the lease of kiki has ended for certain: it is gone",
            " 1064 lala gets web",
        ]
    );
}

#[test]
fn a_suspended_cluster_leaves_a_failed_address() {
    let mut picture = picture(|_| ());
    tell(&mut picture.state, Command::SetMode { mode: ClusterMode::Suspended });
    let forecast = after(&picture, &[cut("kiki", "lan")]);
    assert_eq!((fails(&forecast), &forecast.interruptions), (vec![], &vec![]));
}

#[test]
fn only_cables_that_could_be_are_cut() {
    let picture = picture(|_| ());
    let impossible = |change| forecast(&picture, &[change], "aoi").unwrap_err().to_string();
    assert_eq!(impossible(cut("kiki", "wan")), "no network is called wan");
    assert_eq!(impossible(cut("momo", "lan")), "cutting the cable of momo to lan: no server is called momo");
}

// --- the matrix -----------------------------------------------------------------------------------

fn cable(server: &str, network: &str) -> Loss {
    Loss::Cable { server: server.into(), network: network.into() }
}

#[test]
fn the_matrix_says_which_groups_a_cable_moves_though_nobody_is_cut_off() {
    let rows = matrix(&picture(|_| ()), &BTreeSet::new());
    let of = |loss: Loss| rows.iter().find(|row| row.loss == loss).unwrap();
    let kiki = of(cable("kiki", "lan"));
    assert_eq!((kiki.interruptions.len(), &kiki.cut_off, &kiki.down), (1, &vec![], &vec![]));
    assert_eq!(kiki.interruptions[0].to, Some("lala".into()));
    let network = of(Loss::Network { network: "lan".into() });
    assert_eq!((&network.cut_off, &network.down), (&vec![], &vec!["web".into()]));
    let quiet = [cable("kiki", "cross"), cable("lala", "lan"), Loss::Network { network: "cross".into() }];
    for loss in quiet {
        let row = of(loss);
        assert_eq!((&row.interruptions, &row.down, &row.ended), (&vec![], &vec![], &Ended::Settled));
    }
}

#[test]
fn a_network_that_cuts_one_server_off_takes_the_addresses_of_the_others_along() {
    // Nobody hears kiki but on lan, so web leaves it; but no other server has a cable for it.
    let broken = BTreeSet::from([("kiki".into(), "cross".into())]);
    let rows = matrix(&picture(|_| ()), &broken);
    let of = |loss: Loss| rows.iter().find(|row| row.loss == loss).unwrap();
    let network = of(Loss::Network { network: "lan".into() });
    assert_eq!((&network.cut_off, &network.down), (&vec!["kiki".into()], &vec!["web".into()]));
    let kiki = of(cable("kiki", "lan"));
    assert_eq!((&kiki.cut_off, &kiki.down), (&vec!["kiki".into()], &vec![]));
    assert_eq!(kiki.interruptions[0].to, Some("lala".into()));
    assert!(kiki.interruptions[0].wait_ms > 1000, "its lease has to end first");
}
