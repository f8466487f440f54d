//! AUTO_START: what is wanted when the cluster or a server starts.

use super::*;

const STARTUPS: [(&str, Startup); 3] =
    [("always", Startup::Always), ("restore", Startup::Restore), ("never", Startup::Never)];

impl Play {
    /// For each word, an instance that runs anywhere and a local resource.
    fn with_startups() -> Self {
        let mut play = Self::all_up();
        play.configure(|config| {
            for (name, auto_start) in STARTUPS {
                let one = ResourceDefinition { auto_start, ..definition(Cardinality::Number(1)) };
                let local = ResourceDefinition { auto_start, ..definition(Cardinality::Local) };
                config.resources.insert(name.into(), one);
                config.resources.insert(format!("local_{name}").as_str().into(), local);
            }
        });
        play
    }

    fn all_down(&mut self) {
        for server in ["kiki", "lala", "momo"] {
            let incarnation = self.state.presence(&server.into()).unwrap().incarnation;
            self.ok(stopped(server, incarnation.0));
        }
    }

    /// The targets of `always`, `restore` and `never`, with a prefix and a number.
    fn targets(&self, prefix: &str, number: u32) -> [Target; 3] {
        STARTUPS.map(|(name, _)| self.target(&format!("{prefix}{name}#{number}")))
    }

    fn set_targets(&mut self, prefix: &str, number: u32, target: Target) {
        for (name, _) in STARTUPS {
            let group = GroupName::new(format!("{prefix}{name}#{number}"));
            if self.state.groups[&group].target.value != target {
                self.ok(match target {
                    Target::Online => Command::StartGroup { group, on: None },
                    Target::Offline => Command::StopGroup { group, force: false },
                });
            }
        }
    }
}

use Target::{Offline, Online};

#[test]
fn a_new_group_is_wanted_unless_it_never_starts_by_itself_or_is_disabled() {
    let mut play = Play::with_startups();
    assert_eq!(play.targets("", 1), [Online, Online, Offline]);
    play.configure(|config| {
        let disabled = ResourceDefinition { enabled: false, ..definition(Cardinality::Number(1)) };
        config.resources.insert("off".into(), disabled);
    });
    assert_eq!(play.target("off#1"), Offline);
}

#[test]
fn the_start_of_the_cluster_follows_auto_start() {
    for before in [Online, Offline] {
        let mut play = Play::with_startups();
        play.set_targets("", 1, before);
        play.all_down();
        play.start("lala", 2, "boot-2");
        assert_eq!(play.targets("", 1), [Online, before, Offline]);
        let vacated = play.state.groups[&"always#1".into()].ownership.value.vacated.clone().unwrap();
        assert_eq!((vacated.reason, vacated.event), (Reason::ClusterStarted, StartEvent::Start));
        // The next server starts no cluster any more.
        play.set_targets("", 1, Offline);
        play.start("kiki", 2, "boot-2");
        assert_eq!(play.targets("", 1), [Offline; 3]);
    }
}

#[test]
fn a_cluster_that_lost_its_only_server_starts_again_with_its_new_boot() {
    let mut play = Play::with_startups();
    play.ok(gone("lala", 1));
    play.ok(gone("momo", 1));
    play.set_targets("", 1, Offline);
    play.start("kiki", 2, "boot-1");
    assert_eq!(play.targets("", 1), [Offline; 3], "only the node has started again");
    play.start("kiki", 3, "boot-2");
    assert_eq!(play.targets("", 1), [Online, Offline, Offline]);
}

#[test]
fn so_does_the_end_of_a_shutdown() {
    let mut play = Play::with_startups();
    play.set_targets("", 1, Offline);
    play.stop_cluster();
    play.ok(stopped("kiki", 1));
    play.start("kiki", 2, "boot-2");
    assert_eq!(play.targets("", 1), [Offline; 3], "the others still stop");
    play.ok(stopped("lala", 1));
    play.ok(stopped("momo", 1));
    assert_eq!(play.targets("", 1), [Online, Offline, Offline]);
}

#[test]
fn what_is_bound_to_a_server_follows_that_server() {
    for (down, boot, starts) in [(true, "boot-1", true), (false, "boot-2", true), (false, "boot-1", false)] {
        let mut play = Play::with_startups();
        for number in [1, 2] {
            play.set_targets("local_", number, Offline);
        }
        play.set_targets("", 1, Offline);
        if down {
            play.ok(gone("lala", 1));
        }
        play.start("lala", 2, boot);
        let always = if starts { Online } else { Offline };
        assert_eq!(play.targets("local_", 2), [always, Offline, Offline], "{down} {boot}");
        assert_eq!(play.targets("local_", 1), [Offline; 3], "kiki's are kiki's");
        assert_eq!(play.targets("", 1), [Offline; 3], "and so is what may run anywhere");
        let vacated = play.state.groups[&"local_always#2".into()].ownership.value.vacated.clone().unwrap();
        let why = Reason::ServerStarted { server: "lala".into() };
        assert_eq!(vacated.reason == why, starts, "{vacated:?}");
    }
    let mut play = Play::with_startups();
    play.set_targets("local_", 2, Online);
    play.start("lala", 2, "boot-2");
    assert_eq!(play.targets("local_", 2), [Online, Online, Offline]);
}

#[test]
fn what_is_disabled_is_left_alone() {
    let mut play = Play::with_startups();
    play.set_targets("", 1, Offline);
    play.set_targets("local_", 2, Offline);
    play.configure(|config| config.resources.values_mut().for_each(|resource| resource.enabled = false));
    let before = play.state.groups.clone();
    play.all_down();
    play.start("kiki", 2, "boot-2");
    play.start("lala", 2, "boot-2");
    assert_eq!(play.state.groups[&"always#1".into()], before[&"always#1".into()]);
    assert_eq!(play.state.groups[&"local_always#2".into()], before[&"local_always#2".into()]);
}

#[test]
fn what_somebody_owns_is_left_alone() {
    let mut play = Play::with_startups();
    play.set_targets("", 1, Online);
    play.assign("never#1", "kiki", 1);
    play.stop_cluster();
    // A node that comes back on the same boot does not stop with the others, and still owns what
    // it runs.
    play.start("kiki", 2, "boot-1");
    play.ok(stopped("lala", 1));
    play.ok(stopped("momo", 1));
    assert!(!play.stopping());
    assert_eq!(play.target("never#1"), Online);
}
