//! Definitions make instances, which come and go with the configuration.

use super::*;

impl Play {
    fn with_db(cardinality: Cardinality) -> Self {
        let mut play = Self::all_up();
        play.set_db(cardinality);
        play
    }

    fn set_db(&mut self, cardinality: Cardinality) {
        self.configure(|config| {
            config.resources.insert("db".into(), definition(cardinality));
        });
    }

    fn instances(&self) -> Vec<&str> {
        self.state.groups.keys().map(GroupName::as_str).filter(|name| name.starts_with("db#")).collect()
    }
}

#[test]
fn a_smaller_cardinality_stops_what_is_too_many() {
    let mut play = Play::with_db(Cardinality::Number(3));
    assert_eq!(play.instances(), ["db#1", "db#2", "db#3"]);
    play.assign("db#1", "kiki", 1);
    play.assign("db#2", "lala", 1);
    play.set_db(Cardinality::Number(1));
    // db#2 runs: its owner stops it first. db#3 ran nowhere.
    assert_eq!(play.instances(), ["db#1", "db#2"]);
    let two = &play.state.groups[&"db#2".into()];
    assert_eq!((two.config.is_none(), two.target.value), (true, Target::Offline));
    assert_eq!(two.ownership.value.release.as_ref().unwrap().reason, Reason::NotConfigured);
    let one = &play.state.groups[&"db#1".into()].ownership.value;
    assert_eq!((one.owner.clone(), one.release.clone()), (Some("kiki".into()), None));
    play.ok(Command::Released { group: "db#2".into(), epoch: Epoch(1), server: "lala".into() });
    assert_eq!(play.instances(), ["db#1"]);
    // Its epochs do not come again.
    play.set_db(Cardinality::Number(2));
    assert!(matches!(play.refused(assign("db#2", "lala", 1)), Refusal::OtherEpoch { .. }));
    play.assign("db#2", "lala", 2);
}

#[test]
fn an_instance_that_comes_back_while_it_is_released_is_wanted_again() {
    let mut play = Play::with_db(Cardinality::Number(2));
    play.assign("db#2", "lala", 1);
    play.set_db(Cardinality::Number(1));
    play.set_db(Cardinality::Number(2));
    assert_eq!(play.target("db#2"), Target::Online);
    assert!(play.state.groups[&"db#2".into()].ownership.value.release.is_some());
    play.ok(Command::Released { group: "db#2".into(), epoch: Epoch(1), server: "lala".into() });
    play.assign("db#2", "momo", 2);
}

#[test]
fn a_local_resource_has_one_on_each_server_also_on_those_that_come() {
    let mut play = Play::with_db(Cardinality::Local);
    assert_eq!(play.instances(), ["db#1", "db#2", "db#3"]);
    let not_allowed = Refusal::NotAllowed { group: "db#2".into(), server: "kiki".into() };
    assert_eq!(play.refused(assign("db#2", "kiki", 1)), not_allowed);
    play.assign("db#2", "lala", 1);
    play.configure(|config| {
        let server = ServerConfig {
            role: Default::default(),
            domain: None,
            fencing: Vec::new(),
            number: 4,
            comment: String::new(),
            addresses: BTreeMap::new(),
        };
        config.servers.insert("nana".into(), server);
    });
    assert_eq!(play.instances(), ["db#1", "db#2", "db#3", "db#4"]);
    assert_eq!(play.refused(assign("db#4", "nana", 1)), Refusal::NotJoined("nana".into()));
}

#[test]
fn a_definition_that_is_taken_out_goes_with_its_instances_and_types_and_pools_just_go() {
    let mut play = Play::with_db(Cardinality::Number(1));
    play.assign("db#1", "kiki", 1);
    let revision = play.configure(|config| config.resources.clear());
    assert!(play.state.definitions.is_empty());
    assert!(play.state.groups[&"db#1".into()].ownership.value.release.is_some());
    let keys = &play.state.history.back().unwrap().keys;
    for key in [Key::Definition("db".into()), Key::GroupConfig("db#1".into()), Key::Ownership("db#1".into())]
    {
        assert!(keys.contains(&key), "{key}");
    }
    assert_eq!(play.state.config_revision(), revision);
    assert!(!play.state.config().unwrap().groups.contains_key(&"db#1".into()));
}

#[test]
fn disabling_leaves_what_runs_and_lets_nothing_start() {
    let mut play = Play::web_on_kiki();
    let before = play.state.groups[&web()].clone();
    play.configure_web(|web| web.enabled = false);
    let now = &play.state.groups[&web()];
    assert_eq!((&now.ownership, &now.target), (&before.ownership, &before.target));
    let disabled = Refusal::Disabled(web());
    let to = Command::MoveGroup { group: web(), to: Some("lala".into()), force: false };
    assert_eq!(play.refused(to), disabled);
    play.ok(Command::StopGroup { group: web(), force: false });
    play.ok(released(1, "kiki"));
    assert_eq!(play.refused(Command::StartGroup { group: web(), on: None }), disabled);
    assert_eq!(play.refused(assign("web", "kiki", 2)), disabled);
    let needed = Reason::NeededBy { group: "mail".into() };
    let by_leader = play.leader_says(Command::StartGroup { group: web(), on: None }, needed);
    assert_eq!(refusal(&by_leader), &disabled);
    play.configure_web(|web| web.enabled = true);
    play.ok(Command::StartGroup { group: web(), on: None });
}
