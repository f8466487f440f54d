//! Witnesses: that each can be reached, that nothing is to run there, and that one of them at most
//! keeps the tie-break record.

use std::{collections::BTreeMap, net::IpAddr};

use crate::{
    draft::{Draft, Name, WitnessDraft, WitnessKind, label},
    problem::{Code, Problem},
    source::Reading,
};

pub(crate) fn check(reading: &Reading, draft: &Draft) {
    addresses(reading, draft);
    nothing_runs_there(reading, draft);
    let mut registers = draft.registers();
    let Some(first) = registers.next() else { return };
    for second in registers {
        let message = format!(
            "two witnesses would keep the tie-break record: {} and {}",
            label(first.name.as_ref()),
            label(second.name.as_ref())
        );
        let problem = reading
            .problem(Code::BadWitness, &second.span, message)
            .found("a second witness of kind \"register\"")
            .expected("one of them: there is one record, and it is in one place")
            .remedy("take one out, or give both kind = \"voter\"; two servers with one voter need no record");
        reading.add(problem);
    }
}

/// A witness on the address of a server would be lost together with it.
fn addresses(reading: &Reading, draft: &Draft) {
    let mut users: BTreeMap<IpAddr, (String, std::ops::Range<usize>)> = BTreeMap::new();
    for server in &draft.servers {
        for address in server.addresses.iter().filter_map(|(_, address)| address.as_ref()) {
            let user = (format!("server {}", label(server.name.as_ref())), address.span());
            users.insert(*address.get_ref(), user);
        }
    }
    for witness in &draft.witnesses {
        let name = format!("witness {}", label(witness.name.as_ref()));
        for address in &witness.addresses {
            let ip = *address.get_ref();
            let Some((first, span)) = users.get(&ip) else {
                users.insert(ip, (name.clone(), address.span()));
                continue;
            };
            let problem = reading
                .problem(
                    Code::DuplicateAddress,
                    &address.span(),
                    format!("{name} has the same address as {first}: it would be lost together with it"),
                )
                .found(format!("`{ip}`, first used{}", reading.source.in_line(span)))
                .expected("a machine of its own")
                .remedy("run the witness on another machine, and give its address here");
            reading.add(problem);
        }
    }
}

/// Lists of servers in which somebody named a witness.
fn nothing_runs_there(reading: &Reading, draft: &Draft) {
    let groups = draft.groups.iter().map(|group| (format!("group {}", group.label()), &group.servers));
    let pools = draft.pools.iter().map(|pool| (format!("pool {}", label(pool.name.as_ref())), &pool.servers));
    let resources = draft.definitions.iter().map(|alone| {
        (format!("`hosting_members` of {}", label(alone.resource.name.as_ref())), &alone.hosting_members)
    });
    let monitors = draft
        .monitors
        .iter()
        .map(|monitor| (format!("monitor {}", label(monitor.name.as_ref())), &monitor.servers));
    for (user, names) in groups.chain(pools).chain(resources).chain(monitors) {
        for name in names.iter().filter(|name| is_witness(draft, name)) {
            let message = format!("{user} names `{}`, which is a witness and runs nothing", name.get_ref());
            let problem = reading
                .problem(Code::NotAServer, &name.span(), message)
                .found(format!("`{}`", name.get_ref()))
                .expected("a name of a [[server]]")
                .remedy("take it out here, or make that machine a [[server]] rather than a [[witness]]");
            reading.add(problem);
        }
    }
}

/// Whether a name is that of a witness and of no server.
pub(super) fn is_witness(draft: &Draft, name: &Name) -> bool {
    let called = |one: Option<&Name>| one.is_some_and(|one| one.get_ref() == name.get_ref());
    !draft.servers.iter().any(|server| called(server.name.as_ref()))
        && draft.witnesses.iter().any(|witness| called(witness.name.as_ref()))
}

/// A witness that keeps a record which nobody would read.
pub(crate) fn idle(reading: &Reading, draft: &Draft) -> Option<Problem> {
    let register: &WitnessDraft = draft.registers().next()?;
    let votes = draft.votes();
    if votes == 2 {
        return None;
    }
    let message = format!(
        "witness {} keeps a tie-break record that nobody reads: {votes} members vote, and it is for two",
        label(register.name.as_ref())
    );
    Some(
        reading
            .problem(Code::IdleWitness, &register.span, message)
            .found(format!("a witness of kind \"register\" beside {votes} voters"))
            .expected("two voters")
            .remedy("take it out, or give it kind = \"voter\""),
    )
}

impl Draft {
    /// What a witness is, when the file does not say.
    pub(crate) fn kind_of(&self, witness: &WitnessDraft) -> WitnessKind {
        let by_count = if self.servers.len() <= 2 { WitnessKind::Register } else { WitnessKind::Voter };
        witness.kind.as_ref().map_or(by_count, |kind| *kind.get_ref())
    }

    /// The witnesses that keep the tie-break record.
    pub(crate) fn registers(&self) -> impl Iterator<Item = &WitnessDraft> {
        self.witnesses.iter().filter(|witness| self.kind_of(witness) == WitnessKind::Register)
    }

    /// How many members could vote.
    pub(crate) fn votes(&self) -> usize {
        self.servers.len() + self.witnesses.len() - self.registers().count()
    }
}
