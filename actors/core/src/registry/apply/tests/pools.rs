//! Which server is in which pool, and what may run there.

use super::*;

fn pool(max: Option<u32>, servers: &[&str]) -> PoolConfig {
    let servers = servers.iter().map(|name| (*name).into()).collect();
    PoolConfig { comment: String::new(), min: 0, max, importance: 1, servers }
}

fn fill(members: &[(&str, &str)]) -> Command {
    let members = members.iter().map(|(server, pool)| ((*server).into(), (*pool).into())).collect();
    Command::FillPools { members }
}

impl Play {
    /// Pools `front` (one server at most) and `back` (not momo); `web` only in `front`.
    fn pooled() -> Self {
        let mut play = Self::all_up();
        play.configure(|config| {
            config.pools.insert("front".into(), pool(Some(1), &[]));
            config.pools.insert("back".into(), pool(None, &["kiki", "lala"]));
            config.groups.get_mut(&web()).unwrap().pools = vec!["front".into()];
        });
        play
    }
}

#[test]
fn pools_have_the_servers_that_their_rules_allow() {
    let mut play = Play::pooled();
    let unknown = Refusal::NoSuchPool("side".into());
    assert_eq!(play.refused(fill(&[("kiki", "side")])), unknown);
    assert_eq!(play.refused(fill(&[("nobody", "front")])), Refusal::NoSuchServer("nobody".into()));
    let full = Refusal::PoolFull { pool: "front".into(), max: 1 };
    assert_eq!(play.refused(fill(&[("kiki", "front"), ("lala", "front")])), full);
    let not = |pool: &str, server: &str| Refusal::NotForPool { pool: pool.into(), server: server.into() };
    assert_eq!(play.refused(fill(&[("momo", "back")])), not("back", "momo"));
    assert_eq!(play.refused(fill(&[("momo", "Generic")])), not("Generic", "momo"));

    play.ok(fill(&[("kiki", "front"), ("lala", "back"), ("momo", "Free")]));
    let what = &play.state.history.back().unwrap().what;
    assert_eq!(what, "server pools have Free: momo; back: lala; front: kiki");
    let members = play.state.pool_members.clone().unwrap();
    let expected = [("kiki".into(), "front".into()), ("lala".into(), "back".into())];
    assert_eq!(members.value, BTreeMap::from(expected));
    play.ok(fill(&[("kiki", "front"), ("lala", "back")]));
    assert_eq!(play.state.pool_members, Some(members), "the same again");
}

#[test]
fn what_is_named_in_generic_is_there_and_nowhere_else() {
    let mut play = Play::pooled();
    play.configure_web(|web| web.pools = vec!["Generic".into()]);
    let not = |pool: &str| Refusal::NotForPool { pool: pool.into(), server: "lala".into() };
    assert_eq!(play.refused(fill(&[("lala", "back")])), not("back"));
    assert_eq!(play.refused(fill(&[("lala", "Free")])), not("Free"));
    play.ok(fill(&[("lala", "Generic")]));
    assert_eq!(
        play.refused(assign("web", "kiki", 1)),
        Refusal::NotInPool { group: web(), server: "kiki".into() }
    );
    play.assign("web", "lala", 1);
}

#[test]
fn a_group_runs_only_in_its_pools() {
    let mut play = Play::pooled();
    play.ok(fill(&[("lala", "front"), ("kiki", "back")]));
    let not = |server: &str| Refusal::NotInPool { group: web(), server: server.into() };
    assert_eq!(play.refused(assign("web", "kiki", 1)), not("kiki"));
    assert_eq!(play.refused(Command::StartGroup { group: web(), on: Some("kiki".into()) }), not("kiki"));
    play.assign("web", "lala", 1);
    let to = Command::MoveGroup { group: web(), to: Some("kiki".into()), force: false };
    assert_eq!(play.refused(to), not("kiki"));
    let anywhere = Command::MoveGroup { group: web(), to: None, force: false };
    assert_eq!(play.refused(anywhere), Refusal::NowhereToGo(web()));
}

#[test]
fn who_is_in_no_pool_is_in_free_and_local_resources_do_not_mind() {
    let mut play = Play::pooled();
    play.configure(|config| {
        config.groups.get_mut(&web()).unwrap().pools = vec!["Free".into()];
        let local = definition(Cardinality::Local);
        config
            .resources
            .insert("disk".into(), ResourceDefinition { server_pools: vec!["back".into()], ..local });
    });
    play.assign("disk#1", "kiki", 1);
    play.assign("web", "kiki", 1);
    play.ok(released(1, "kiki"));
    play.ok(fill(&[("kiki", "back")]));
    assert!(matches!(play.refused(assign("web", "kiki", 2)), Refusal::NotInPool { .. }));
    play.assign("web", "lala", 2);
}

#[test]
fn a_configuration_moves_nobody_out_of_a_pool() {
    let mut play = Play::pooled();
    play.ok(fill(&[("kiki", "front")]));
    let members = play.state.pool_members.clone();
    play.configure(|config| {
        config.pools.clear();
    });
    assert_eq!(play.state.pool_members, members, "that is for the leader to decide");
    assert_eq!(play.refused(fill(&[("kiki", "front")])), Refusal::NoSuchPool("front".into()));
    play.ok(fill(&[]));
    assert_eq!(play.state.history.back().unwrap().what, "all servers are in pool Free");
}
