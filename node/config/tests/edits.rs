//! One definition at a time: added, changed and deleted as an operator says it, with the checks of
//! the file.
#![allow(clippy::unwrap_used)]

use std::{env, fs, path::Path, time::Duration};

use tasuki_config::{
    Code, ConfigErrors, Kind, NewServer, edit_add, edit_define, edit_delete, edit_modify, edit_server_add,
    edit_server_remove, parse, to_toml,
};
use tasuki_core::config::{
    Cardinality, ClusterConfig, MonitorKind, PlacementPolicy, ResourceKind, Startup, Value, ValueKind,
};

fn cluster() -> ClusterConfig {
    let text = include_str!("warn/all_of_the_resource_engine.toml");
    parse(text, "cluster.toml").unwrap_or_else(|errors| panic!("{errors}")).config
}

fn said(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn one(errors: &ConfigErrors) -> Code {
    assert_eq!(errors.problems().len(), 1, "{errors}");
    assert_eq!((errors.problems()[0].line, errors.problems()[0].column), (None, None), "{errors}");
    errors.problems()[0].code
}

#[test]
fn a_resource_is_added_with_values_typed_by_its_type() {
    let attributes = said(&[
        ("TYPE", "web_service"),
        ("START", "/bin/shop --serve 'a b'"),
        ("site", "shop.example"),
        ("port", "8080"),
        ("patience", "90"),
        ("CHECK", "/bin/check"),
        ("CHECK_INTERVAL", "5"),
        ("AUTO_START", "never"),
        ("ENABLED", "0"),
        ("RESTART_ATTEMPTS", "3"),
        ("UPTIME_THRESHOLD", "7d"),
        ("PLACEMENT", "restricted"),
        ("HOSTING_MEMBERS", "lala kiki"),
        ("CARDINALITY", "2"),
        ("START_DEPENDENCIES", "hard(global:db) pullup:always(global:db)"),
        ("on_stop_failure.final", "reset"),
        ("environment.LANG", "C"),
        ("DESCRIPTION", "where people buy"),
    ]);
    let edited = edit_define(&cluster(), Kind::Resource, "shop", &attributes).unwrap();
    let shop = &edited.resources[&"shop".into()];
    assert_eq!(shop.attributes["port"], Value::Integer(8080));
    assert_eq!(shop.attributes["site"], Value::String("shop.example".to_owned()));
    assert_eq!(shop.attributes["patience"], Value::Duration(90_000));
    assert_eq!(shop.resource.attributes["PATIENCE"], "90");
    assert_eq!((shop.enabled, shop.auto_start), (false, Startup::Never));
    assert_eq!((shop.cardinality, shop.placement), (Cardinality::Number(2), PlacementPolicy::Restricted));
    assert_eq!(shop.hosting_members, ["lala".into(), "kiki".into()]);
    assert_eq!(shop.resource.on_start_failure.retries, 3);
    assert_eq!(shop.resource.uptime_threshold, Duration::from_secs(7 * 24 * 3600));
    assert_eq!(shop.resource.comment, "where people buy");
    assert_eq!((shop.start.len(), shop.stop.len()), (2, 0));
    let ResourceKind::Exec(exec) = &shop.resource.kind else { panic!() };
    assert_eq!(exec.start, ["/bin/shop", "--serve", "a b"]);
    assert_eq!(exec.environment["LANG"], "C");
    assert_eq!(exec.check.as_ref().unwrap().interval, Duration::from_secs(5));
    let mut rest = edited.clone();
    rest.resources.remove(&"shop".into());
    assert_eq!(rest, cluster(), "nothing else changes");
}

#[test]
fn a_part_of_a_file_can_be_added_with_or_without_its_header() {
    let keys = "name = \"cache\"\ntype = \"exec\"\nstart = \"/bin/cache\"\n";
    let plain = edit_add(&cluster(), Kind::Resource, keys).unwrap();
    let headed = edit_add(&cluster(), Kind::Resource, &format!("[[resource]]\n{keys}")).unwrap();
    assert_eq!(plain, headed);
    assert!(plain.resources.contains_key(&"cache".into()));
}

#[test]
fn one_edit_changes_one_definition() {
    let toml = "name = \"more\"\n\n[[pool]]\nname = \"other\"\n";
    let edited = edit_add(&cluster(), Kind::Pool, toml).unwrap();
    assert_eq!(edited.pools.len(), 3, "two of one kind are two additions");
    let toml = "name = \"more\"\n\n[[monitor]]\nname = \"m\"\ntype = \"ip\"\naddresses = \"10.1.0.1\"\n\
                recovery = { target = \"cluster\" }\n";
    let errors = edit_add(&cluster(), Kind::Pool, toml).unwrap_err();
    assert_eq!(one(&errors), Code::BadValue);
    // A table that breaks out of its line changes something else too.
    let broken = "{ target = \"web\" }\n[[pool]]\nname = \"x\"";
    let errors = edit_modify(&cluster(), Kind::Monitor, "watch", &said(&[("recovery", broken)])).unwrap_err();
    assert_eq!(one(&errors), Code::BadValue);
}

#[test]
fn a_change_names_only_what_changes() {
    let before = cluster();
    let edited =
        edit_modify(&before, Kind::Resource, "db", &said(&[("restart_attempts", "7"), ("load", "3")]))
            .unwrap();
    let mut expected = before.clone();
    let db = expected.resources.get_mut(&"db".into()).unwrap();
    db.resource.on_start_failure.retries = 7;
    db.load = 3;
    assert_eq!(edited, expected);
    // An empty text brings the default back.
    let again = edit_modify(&edited, Kind::Resource, "db", &said(&[("load", "")])).unwrap();
    assert_eq!(again.resources[&"db".into()].load, 1);
}

#[test]
fn a_member_of_a_group_can_be_changed_too() {
    let edited =
        edit_modify(&cluster(), Kind::Resource, "web-server", &said(&[("start_timeout", "5m")])).unwrap();
    let ResourceKind::Exec(exec) = &edited.groups[&"web".into()].resources[&"web-server".into()].kind else {
        panic!()
    };
    assert_eq!(exec.start_timeout, Duration::from_secs(300));
}

#[test]
fn resources_follow_the_default_of_their_type() {
    let edited = edit_modify(
        &cluster(),
        Kind::Type,
        "web_service",
        &said(&[
            ("attributes.patience", "duration default=20s max=5m"),
            ("attributes.mode", "string default=fast"),
        ]),
    )
    .unwrap();
    let shop = &edited.resources[&"shop2".into()];
    assert_eq!(shop.attributes["patience"], Value::Duration(20_000));
    assert_eq!(shop.resource.attributes["MODE"], "fast");
    assert_eq!(shop.attributes["port"], Value::Integer(8080), "what it gives itself stays");
}

#[test]
fn types_pools_and_monitors_are_added_and_changed() {
    let config = edit_define(
        &cluster(),
        Kind::Type,
        "batch_job",
        &said(&[
            ("base", "cluster_resource"),
            ("attributes.lines", "integer default=10 min=1 comment='how many'"),
            ("attributes.queue", "string required"),
            ("attributes.restart_attempts", "integer default=4"),
        ]),
    )
    .unwrap();
    let lines = &config.types[&"batch_job".into()].attributes["lines"];
    assert_eq!((lines.kind, &lines.default), (ValueKind::Integer, &Some(Value::Integer(10))));
    assert_eq!((lines.range, lines.comment.as_str()), (Some((1, i64::MAX)), "how many"));
    let config = edit_define(
        &config,
        Kind::Resource,
        "nightly",
        &said(&[("type", "batch_job"), ("start", "/bin/job"), ("queue", "night")]),
    )
    .unwrap();
    let nightly = &config.resources[&"nightly".into()];
    assert_eq!(nightly.resource.on_start_failure.retries, 4, "the default of its type");
    let config =
        edit_modify(&config, Kind::Pool, "online", &said(&[("min", "0"), ("servers", "momo,lala")])).unwrap();
    let pool = &config.pools[&"online".into()];
    assert_eq!((pool.min, pool.importance, pool.servers.len()), (0, 3, 2));
    let config = edit_modify(
        &config,
        Kind::Monitor,
        "watch",
        &said(&[("recovery.restarts", "5"), ("interval", "10"), ("nice", "-3")]),
    )
    .unwrap();
    let watch = &config.monitors[&"watch".into()];
    assert_eq!((watch.recovery.restarts, watch.recovery.failovers), (5, 1));
    assert_eq!((watch.interval, watch.nice), (Duration::from_secs(10), -3));
    let config = edit_define(
        &config,
        Kind::Monitor,
        "gateway",
        &said(&[("type", "ip"), ("addresses", "10.1.0.1 10.1.0.2"), ("recovery.target", "web")]),
    )
    .unwrap();
    let MonitorKind::Ip { addresses } = &config.monitors[&"gateway".into()].kind else { panic!() };
    assert_eq!(addresses.len(), 2);
    assert_eq!(parse(&to_toml(&config), "again").unwrap().config, config);
}

#[test]
fn what_others_need_stays() {
    let config = cluster();
    for (kind, name, by) in [
        (Kind::Resource, "web-server", "resource `db`"),
        (Kind::Resource, "db", "monitor `watch`"),
        (Kind::Type, "web_service", "resource `shop2`"),
        (Kind::Pool, "online", "resource `shop2`"),
    ] {
        let errors = edit_delete(&config, kind, name).unwrap_err();
        assert_eq!(one(&errors), Code::StillNeeded, "{name}");
        assert!(errors.problems()[0].found.as_ref().unwrap().contains(by), "{errors}");
    }
    let config = edit_delete(&config, Kind::Monitor, "watch").unwrap();
    let config = edit_delete(&config, Kind::Resource, "db").unwrap();
    let config = edit_delete(&config, Kind::Resource, "shop2").unwrap();
    let config = edit_delete(&config, Kind::Type, "web_service").unwrap();
    let config = edit_delete(&config, Kind::Pool, "online").unwrap();
    assert!(config.types.is_empty() && config.pools.is_empty());
    assert_eq!(config.resources.len(), 1);
}

/// Every refusal as the operator reads it. `UPDATE=1` writes the text anew.
#[test]
fn refusals_name_the_attribute() {
    let config = cluster();
    let program = ("start", "/bin/x");
    let add = |attributes: &[(&str, &str)]| edit_define(&config, Kind::Resource, "new", &said(attributes));
    let modify = |kind, name, changes: &[(&str, &str)]| edit_modify(&config, kind, name, &said(changes));
    let tried = [
        ("unknown type", add(&[("type", "web_servce"), program])),
        ("unknown attribute", add(&[("type", "web_service"), program, ("site", "s"), ("prot", "8080")])),
        ("required attribute", add(&[("type", "web_service"), program])),
        ("not a number", add(&[("type", "web_service"), program, ("site", "s"), ("PORT", "many")])),
        ("out of range", add(&[("type", "web_service"), program, ("site", "s"), ("PORT", "0")])),
        ("not yes or no", add(&[("type", "exec"), program, ("ENABLED", "perhaps")])),
        ("unknown dependency", add(&[("type", "exec"), program, ("START_DEPENDENCIES", "hard(dbb)")])),
        ("unknown modifier", add(&[("type", "exec"), program, ("START_DEPENDENCIES", "hard(gobal:db)")])),
        (
            "placement of a local resource",
            add(&[("type", "local_resource"), program, ("PLACEMENT", "favored")]),
        ),
        ("name taken", edit_define(&config, Kind::Resource, "DB", &said(&[("type", "exec"), program]))),
        ("no such resource", modify(Kind::Resource, "dbb", &[("load", "1")])),
        ("another name", modify(Kind::Resource, "db", &[("name", "db2")])),
        ("another type", modify(Kind::Resource, "db", &[("TYPE", "web_service")])),
        ("not a key", modify(Kind::Resource, "db", &[("a b", "1")])),
        ("too many", modify(Kind::Pool, "online", &[("min", "3")])),
        ("a process that ends", modify(Kind::Monitor, "watch", &[("target", "web-server")])),
        ("a type's attribute", modify(Kind::Type, "web_service", &[("attributes.port", "intger")])),
        ("deleted attribute", modify(Kind::Type, "web_service", &[("attributes.port", "")])),
        ("only member", edit_delete(&config, Kind::Resource, "web-server")),
        ("no such type", edit_delete(&config, Kind::Type, "web")),
    ];
    let mut shown = String::new();
    for (what, result) in tried {
        match result {
            Ok(_) => panic!("{what}: accepted"),
            Err(errors) => {
                for problem in errors.problems() {
                    assert_eq!((problem.line, problem.column), (None, None), "{what}");
                }
                shown += &format!("--- {what}\n{errors}\n\n");
            }
        }
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/edits.txt");
    if env::var_os("UPDATE").is_some() {
        fs::write(&golden, &shown).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap_or_default();
    assert!(expected == shown, "now:\n{shown}\nUPDATE=1 accepts this");
}

#[test]
fn a_server_is_added_behind_all_others_and_removed_without_a_new_number_for_anybody() {
    let before = cluster();
    let count = u32::try_from(before.servers.len()).unwrap();
    let kiki = &before.servers[&"kiki".into()];
    // The next free addresses of kiki's networks.
    let addresses = kiki.addresses.iter().map(|(network, address)| {
        let std::net::IpAddr::V4(address) = address else { panic!("{address}") };
        let [a, b, c, _] = address.octets();
        (network.clone(), std::net::IpAddr::from([a, b, c, 77]))
    });
    let new = NewServer {
        name: "nana".to_owned(),
        addresses: addresses.collect(),
        domain: Some("cellar".to_owned()),
        ..NewServer::default()
    };
    let added = edit_server_add(&before, &new).unwrap();
    let nana = &added.servers[&"nana".into()];
    assert_eq!((nana.number, nana.domain.as_deref()), (count + 1, Some("cellar")));
    assert_eq!(one(&edit_server_add(&added, &new).unwrap_err()), Code::DuplicateName);
    assert_eq!(
        one(&edit_server_add(&before, &NewServer { addresses: Default::default(), ..new }).unwrap_err()),
        Code::Missing
    );

    // Whoever is removed from the middle leaves a gap, also in the file.
    let (gone, _) = added.servers_by_number()[1];
    let removed = match edit_server_remove(&added, gone) {
        Ok(removed) => removed,
        Err(errors) => panic!("{errors}"),
    };
    assert!(!to_toml(&removed).contains(&format!("\"{gone}\"")), "{}", to_toml(&removed));
    assert_eq!(removed.servers[&"nana".into()].number, count + 1);
    assert_eq!(parse(&to_toml(&removed), "again").unwrap().config, removed);

    // The last of a group's servers is needed.
    let mut narrow = added.clone();
    let group = narrow.groups.values_mut().next().unwrap();
    group.servers = vec!["nana".into()];
    let errors = edit_server_remove(&narrow, &"nana".into()).unwrap_err();
    assert_eq!(one(&errors), Code::StillNeeded);
    assert!(errors.problems()[0].found.as_ref().unwrap().contains("may run nowhere else"), "{errors}");
}
