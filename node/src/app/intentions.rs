//! Every intention of an operator, with where it can be said. A test compares this list with the
//! services and with the command line, so that no face forgets one.

/// One intention.
#[derive(Clone, Copy, Debug)]
pub struct Intention {
    /// Its gRPC method, `Service/Method`; `None` for what needs no node.
    pub rpc: Option<&'static str>,
    /// Its words on the command line; `None` with the reason in [`Intention::why`].
    pub verb: Option<&'static str>,
    /// Why a face is missing.
    pub why: &'static str,
}

const fn both(rpc: &'static str, verb: &'static str) -> Intention {
    Intention { rpc: Some(rpc), verb: Some(verb), why: "" }
}

const fn offline(verb: &'static str, why: &'static str) -> Intention {
    Intention { rpc: None, verb: Some(verb), why }
}

const fn silent(rpc: &'static str, why: &'static str) -> Intention {
    Intention { rpc: Some(rpc), verb: None, why }
}

/// All of them.
pub const INTENTIONS: &[Intention] = &[
    offline("cluster init", "makes the cluster that a node would answer for"),
    both("Join/Join", "cluster join"),
    both("Cluster/IssueToken", "cluster token"),
    offline("cluster certificate", "signs with the authority's key, which a node hands to nobody"),
    both("Cluster/Status", "cluster status"),
    both("Cluster/Suspend", "cluster suspend"),
    both("Cluster/Resume", "cluster resume"),
    both("Cluster/Shutdown", "cluster shutdown"),
    both("Cluster/Times", "cluster times"),
    both("Cluster/Tree", "cluster tree"),
    both("Group/List", "group status"),
    both("Group/Get", "group status"),
    both("Group/Start", "group start"),
    both("Group/Stop", "group stop"),
    both("Group/Move", "group move"),
    both("Group/Reset", "group reset"),
    both("Group/Explain", "explain"),
    both("Plan/Explain", "explain"),
    both("Plan/Forecast", "plan"),
    both("Plan/Matrix", "plan"),
    both("Plan/Picture", "plan"),
    both("Decision/List", "replay"),
    both("Decision/Replay", "replay"),
    both("Resource/Add", "resource add"),
    both("Resource/Modify", "resource modify"),
    both("Resource/Delete", "resource delete"),
    both("Resource/Start", "resource start"),
    both("Resource/Stop", "resource stop"),
    both("Resource/Relocate", "resource relocate"),
    both("Resource/Enable", "resource enable"),
    both("Resource/Disable", "resource disable"),
    both("Resource/Status", "resource status"),
    both("Type/Add", "type add"),
    both("Type/List", "type list"),
    both("Type/Get", "type show"),
    both("Type/Delete", "type delete"),
    both("Pool/Add", "pool add"),
    both("Pool/Modify", "pool modify"),
    both("Pool/Delete", "pool delete"),
    both("Pool/Status", "pool status"),
    both("Fence/List", "fence list"),
    both("Fence/Status", "fence status"),
    both("Fence/Test", "fence test"),
    both("Fence/Now", "fence now"),
    both("Fence/Confirm", "fence confirm"),
    both("Fence/Lift", "fence lift"),
    both("MirrorAdmin/Status", "mirror status"),
    both("MirrorAdmin/Status", "mirror detail"),
    both("MirrorAdmin/Differences", "mirror differences"),
    silent("MirrorAdmin/Here", "asked by the server that serves `mirror status`"),
    both("MirrorAdmin/Create", "mirror create"),
    both("MirrorAdmin/Order", "mirror rebuild"),
    both("MirrorAdmin/Order", "mirror verify"),
    both("MirrorAdmin/Order", "mirror stop"),
    both("MirrorAdmin/Order", "mirror pause"),
    both("MirrorAdmin/Order", "mirror resume"),
    both("MirrorAdmin/Order", "mirror resize"),
    both("MirrorAdmin/Force", "mirror force"),
    both("Vote/List", "vote list"),
    both("Vote/Check", "vote check"),
    silent("Vote/CheckHere", "asked by the server that serves `vote check` and `vote add`"),
    both("Vote/Add", "vote add"),
    both("Vote/Remove", "vote remove"),
    both("Vote/Replace", "vote replace"),
    both("Server/List", "server list"),
    both("Server/Shutdown", "server shutdown"),
    both("Membership/Add", "server add"),
    both("Membership/Remove", "server remove"),
    both("Membership/Replace", "server replace"),
    both("Profile/Show", "profile show"),
    offline("profile verify", "compares the copies of this server, with or without its node"),
    offline("registry local", "works on the files of this server, with or without its node"),
    both("Registry/Get", "registry get"),
    both("Registry/List", "registry list"),
    both("Registry/History", "registry history"),
    both("Registry/History", "history"),
    both("Registry/Watch", "registry watch"),
    offline(
        "config check",
        "checks a file before there is a cluster; `config push --dry-run` asks the servers",
    ),
    silent("Config/Check", "for faces without files; the command line checks with the same code"),
    silent("Config/CheckHere", "asked by the server that serves `config push`"),
    both("Config/Push", "config push"),
    both("Config/Show", "config show"),
    both("Config/Diff", "config diff"),
    both("Config/Rollback", "config rollback"),
    both("Event/Watch", "event watch"),
    offline("completion", "prints a script for the shell"),
    offline("manual", "writes the program's man pages"),
];
