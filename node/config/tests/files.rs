//! What needs a file system: loading, and the scripts that a configuration names.
#![allow(clippy::unwrap_used)]

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use tasuki_config::{Code, ConfigErrors, check_scripts, host_warnings, load, parse, to_toml};
use tasuki_core::config::{
    FinalAction, InitialCopy, MonitorConfig, MonitorKind, MonitorTiming, RecoveryConfig, RecoveryTarget,
    ResourceKind,
};

const SAMPLE: &str = include_str!("../../../deploy/samples/three-servers.toml");

fn write(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn codes(errors: &ConfigErrors) -> Vec<Code> {
    errors.problems().iter().map(|problem| problem.code).collect()
}

#[test]
fn the_sample_is_right_and_warns_of_nothing() {
    let loaded = parse(SAMPLE, "three-servers.toml").unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.warnings, []);
    assert_eq!(parse(&to_toml(&loaded.config), "again").unwrap().config, loaded.config);
    let database = &loaded.config.groups[&"database".into()];
    let ResourceKind::Exec(watch) = &database.resources[&"database-watch".into()].kind else { panic!() };
    assert_eq!(watch.start, ["scripts/postgres-watch/start.sh", "--every", "10"]);
    assert!(watch.watch && !watch.wait);
    let ResourceKind::FloatingIp(address) = &database.resources[&"database-ip".into()].kind else { panic!() };
    assert_eq!(address.prefix, 24);
}

#[test]
fn every_sample_is_right() {
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/samples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            load(&path).unwrap_or_else(|errors| panic!("{errors}"));
        }
    }
}

/// The reference's example, without its serial line and its web manager.
#[test]
fn the_worked_example_reads_with_the_values_of_the_reference() {
    let text = include_str!("worked_example.toml");
    let config = parse(text, "oracle.toml").unwrap_or_else(|errors| panic!("{errors}")).config;
    assert_eq!(parse(&to_toml(&config), "again").unwrap().config, config);
    let seconds = Duration::from_secs;
    let plain = MonitorConfig {
        comment: String::new(),
        kind: MonitorKind::Pid,
        interval: seconds(5),
        timeout: seconds(60),
        retries: 0,
        start_delay: seconds(30),
        timing: MonitorTiming::WhileActive,
        target: Some("oracle-monitor".into()),
        nice: 0,
        servers: Vec::new(),
        recovery: RecoveryConfig {
            target: RecoveryTarget::Resource("oracle-start".into()),
            restarts: 1,
            failovers: 1,
            last: FinalAction::None,
        },
    };
    assert_eq!(config.monitors[&"oracle-watch".into()], plain);
    let gateway = MonitorConfig {
        kind: MonitorKind::Ip { addresses: vec![[10, 1, 0, 1].into()] },
        interval: seconds(60),
        start_delay: Duration::ZERO,
        timing: MonitorTiming::Always,
        target: None,
        recovery: RecoveryConfig {
            target: RecoveryTarget::Group("oracle-failover".into()),
            restarts: 0,
            ..plain.recovery.clone()
        },
        ..plain
    };
    assert_eq!(config.monitors[&"ping_to_gw".into()], gateway);
    let group = &config.groups[&"oracle-failover".into()];
    let address = &group.resources[&"oracle-fip".into()];
    assert_eq!((address.on_start_failure.retries, address.on_start_failure.failovers), (5, 1));
    assert_eq!(address.on_stop_failure.last, FinalAction::StopAndPowerOff);
    let disk = &group.resources[&"oracle-md".into()];
    assert_eq!((disk.on_start_failure.retries, disk.on_start_failure.failovers), (0, 1));
    let ResourceKind::MirrorDisk(md) = &disk.kind else { panic!() };
    assert_eq!((md.port, md.initial, &*md.filesystem), (29051, InitialCopy::Copy, "ext3"));
    assert_eq!(
        (md.mount.as_deref(), md.device.as_deref()),
        (Some(Path::new("/oracle")), Some(Path::new("/dev/NMP1")))
    );
    // C12: made by themselves, and only showing.
    for (name, kind) in [("mdw1", MonitorKind::Mirror), ("mdnw1", MonitorKind::MirrorLink)] {
        let own = &config.monitors[&name.into()];
        assert_eq!((&own.kind, own.target.as_ref()), (&kind, Some(&"oracle-md".into())));
        assert!(own.recovery.is_nothing());
    }
    let monitor = &group.resources[&"oracle-monitor".into()];
    assert_eq!(monitor.depends_on, Some(vec!["oracle-start".into()]));
    let ResourceKind::Exec(exec) = &monitor.kind else { panic!() };
    assert!(!exec.wait && exec.watch);
}

#[test]
fn scripts_of_checks_resources_outside_groups_and_monitors_are_looked_at_too() {
    let text = include_str!("warn/all_of_the_resource_engine.toml");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cluster.toml");
    fs::write(&file, text).unwrap();
    let loaded = load(&file).unwrap();
    let shown = loaded.check_scripts(dir.path()).unwrap_err().to_string();
    for (line, place) in [
        ("check = \"scripts/db/check.sh\"", "`check` of resource db cannot be run"),
        ("start = \"scripts/agent/start.sh\"", "`start` of resource ora.agent.lsnr cannot be run"),
        ("command = \"scripts/look.sh --all\"", "`command` of monitor look cannot be run"),
    ] {
        assert!(shown.contains(line) && shown.contains(place), "{shown}");
    }
    for script in
        ["web/start.sh", "web/stop.sh", "shop/start.sh", "shop2/start.sh", "db/start.sh", "db/check.sh"]
    {
        write(&dir.path().join("scripts").join(script), "#!/bin/sh\n", 0o755);
    }
    write(&dir.path().join("scripts/agent/start.sh"), "#!/bin/sh\n", 0o755);
    assert_eq!(codes(&loaded.check_scripts(dir.path()).unwrap_err()), [Code::Script]);
    write(&dir.path().join("scripts/look.sh"), "#!/bin/sh\n", 0o755);
    assert_eq!(check_scripts(&loaded.config, Path::new("/")), Ok(()), "the paths are absolute");
}

#[test]
fn a_missing_file_a_folder_and_bytes_are_unreadable() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = dir.path().join("bytes.toml");
    fs::write(&bytes, b"name = \"\xff\"").unwrap();
    for path in [dir.path().join("none.toml"), dir.path().to_owned(), bytes] {
        let errors = load(&path).unwrap_err();
        assert_eq!(codes(&errors), [Code::Unreadable]);
        assert!(errors.to_string().contains(path.to_str().unwrap()));
    }
}

#[test]
fn scripts_are_found_from_the_files_folder_and_must_be_executable() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cluster.toml");
    fs::write(&file, SAMPLE).unwrap();
    let loaded = load(&file).unwrap();

    let errors = loaded.check_scripts(dir.path()).unwrap_err();
    assert_eq!(codes(&errors), [Code::Script; 3]);
    assert!(errors.problems().iter().all(|problem| problem.line.is_some()), "{errors}");
    let shown = errors.to_string();
    assert!(shown.contains("start = \"scripts/postgres/start.sh\""), "{shown}");
    assert!(shown.contains("No such file"), "{shown}");

    write(&dir.path().join("scripts/postgres/start.sh"), "#!/bin/sh\n", 0o644);
    write(&dir.path().join("scripts/postgres/stop.sh"), "#!/bin/sh\n", 0o755);
    write(&dir.path().join("scripts/postgres-watch/start.sh"), "#!/bin/sh\n", 0o755);
    let errors = loaded.check_scripts(dir.path()).unwrap_err();
    assert_eq!(codes(&errors), [Code::Script]);
    assert!(errors.to_string().contains("chmod +x"), "{errors}");

    write(&dir.path().join("scripts/postgres/start.sh"), "#!/bin/sh\n", 0o755);
    assert_eq!(loaded.check_scripts(dir.path()), Ok(()));
    // The paths are absolute now, so they are found from anywhere.
    assert_eq!(check_scripts(&loaded.config, Path::new("/")), Ok(()));
}

#[test]
fn a_parsed_text_keeps_relative_paths_and_is_checked_from_a_base() {
    let dir = tempfile::tempdir().unwrap();
    let config = parse(SAMPLE, "sent").unwrap().config;
    let errors = check_scripts(&config, dir.path()).unwrap_err();
    assert_eq!(codes(&errors), [Code::Script; 3]);
    assert!(errors.to_string().contains("resource database-server (group database)"), "{errors}");
    for script in ["postgres/start.sh", "postgres/stop.sh", "postgres-watch/start.sh"] {
        write(&dir.path().join("scripts").join(script), "#!/bin/sh\n", 0o755);
    }
    assert_eq!(check_scripts(&config, dir.path()), Ok(()));
}

#[test]
fn a_program_without_a_slash_is_looked_for_in_path() {
    let with = |program: &str| {
        let text = SAMPLE.replace("\"scripts/postgres-watch/start.sh --every 10\"", &format!("{program:?}"));
        let text = text.replace("scripts/postgres/st", "/bin/sh -c st");
        parse(&text, "f").unwrap()
    };
    let base = tempfile::tempdir().unwrap();
    assert_eq!(with("sleep 10").check_scripts(base.path()), Ok(()));
    let errors = with("no-such-program-here 10").check_scripts(base.path()).unwrap_err();
    assert!(errors.to_string().contains("no program called `no-such-program-here`"), "{errors}");
    write(&base.path().join("beside.sh"), "#!/bin/sh\n", 0o755);
    let errors = with("beside.sh").check_scripts(base.path()).unwrap_err();
    assert!(errors.to_string().contains("\"./beside.sh\""), "{errors}");
}

#[test]
fn a_machine_without_watchdog_is_warned_about() {
    let config = parse(SAMPLE, "f").unwrap().config;
    let dir = tempfile::tempdir().unwrap();
    let warnings = host_warnings(&config, &dir.path().join("watchdog"));
    assert_eq!(warnings.iter().map(|w| w.code).collect::<Vec<_>>(), [Code::NoWatchdog]);
    assert_eq!(host_warnings(&config, dir.path()), []);
}

#[test]
fn errors_serialise_as_a_list() {
    let errors = parse("[cluster]\nname = 7\n", "f.toml").unwrap_err();
    let json = serde_json::to_value(&errors).unwrap();
    let first = &json[0];
    for (key, want) in [("code", "TSK-1005"), ("file", "f.toml")] {
        assert_eq!(first[key], want, "{json}");
    }
    let wrong_type = json.as_array().unwrap().iter().find(|problem| problem["code"] == "TSK-1004").unwrap();
    assert_eq!((&wrong_type["line"], &wrong_type["column"]), (&2.into(), &8.into()));
    for key in ["message", "found", "expected", "remedy"] {
        assert!(wrong_type[key].is_string(), "{wrong_type}");
    }
}

#[test]
fn colour_only_when_asked() {
    let errors = parse("[cluster]\n", "f.toml").unwrap_err();
    assert!(!errors.to_string().contains('\u{1b}'));
    assert!(errors.render(true).contains("\u{1b}[1;31m"));
}
