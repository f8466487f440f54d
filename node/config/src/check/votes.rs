//! Voting files and the tie-break: an odd number of different files, and what the tie-break needs.

use std::{collections::BTreeMap, path::PathBuf};

use toml::Spanned;

use crate::{
    draft::{Draft, TieBreakWord},
    problem::{Code, Problem},
    source::{Reading, Span},
};

/// As in the reference system.
const MOST_FILES: usize = 15;
/// The names of all files together stand in every block of the register, twice.
const LONGEST_NAMES: usize = 1400;

pub(crate) fn check(reading: &Reading, draft: &Draft) {
    both_forms(reading, draft);
    files(reading, draft);
    tie_break(reading, draft);
}

fn both_forms(reading: &Reading, draft: &Draft) {
    let short = draft.cluster.as_ref().and_then(|cluster| cluster.voting_file.as_ref());
    let Some(short) = short.filter(|_| draft.voting.as_ref().is_some_and(|votes| !votes.files.is_empty()))
    else {
        return;
    };
    let problem = reading
        .problem(Code::BadVotingFile, &short.span(), "voting files are given in [cluster] and in [votes]")
        .found("`voting_file` in [cluster], and `files` in [votes]")
        .expected("one of them")
        .remedy("put every file into `files` of [votes], and take `voting_file` out");
    reading.add(problem);
}

fn files(reading: &Reading, draft: &Draft) {
    let files = draft.voting_files();
    let mut seen: BTreeMap<&PathBuf, Span> = BTreeMap::new();
    for file in &files {
        let path = file.get_ref();
        if let Some(first) = seen.get(path) {
            let problem = reading
                .problem(
                    Code::BadVotingFile,
                    &file.span(),
                    format!("voting file {} is given twice", path.display()),
                )
                .found(format!("`{}`, first given{}", path.display(), reading.source.in_line(first)))
                .expected("each file once: the same file is one vote, and fails as one")
                .remedy("take one out, or name a file on another disk");
            reading.add(problem);
            return;
        }
        seen.insert(path, file.span());
    }
    let Some(last) = files.last() else { return };
    let names: usize = files.iter().map(|file| file.get_ref().as_os_str().len()).sum();
    if files.len() > MOST_FILES || names > LONGEST_NAMES {
        let problem = reading
            .problem(Code::BadVotingFile, &last.span(), "these voting files are more than a block can name")
            .found(format!("{} files, whose names have {names} bytes", files.len()))
            .expected(format!("at most {MOST_FILES} files, and {LONGEST_NAMES} bytes of names"))
            .remedy(
                "three files survive the loss of any one; take the others out, or give them shorter names",
            );
        reading.add(problem);
    } else if files.len().is_multiple_of(2) {
        let count = files.len();
        let problem = reading
            .problem(
                Code::EvenVotingFiles,
                &last.span(),
                format!("{count} voting files survive no more losses than {}", count - 1),
            )
            .found(format!("{count} voting files"))
            .expected("an odd number: a majority of them must answer")
            .remedy("add one on another disk, or take one out");
        reading.add(problem);
    }
}

fn tie_break(reading: &Reading, draft: &Draft) {
    let Some(word) = draft.voting.as_ref().and_then(|votes| votes.tie_break.as_ref()) else { return };
    let (lacks, remedy) = match word.get_ref() {
        TieBreakWord::Witness if draft.registers().next().is_none() => (
            "a [[witness]] that keeps the record",
            "add a [[witness]] with kind = \"register\" on a third machine, or take `tie_break` out",
        ),
        TieBreakWord::VotingFiles if draft.voting_files().is_empty() => (
            "`files` with an odd number of voting files",
            "add files = [\"/shared/vote\"] to [votes], or take `tie_break` out",
        ),
        _ => return,
    };
    let problem = reading
        .problem(Code::BadTieBreak, &word.span(), "the tie-break has nothing to be kept in")
        .found("`tie_break` alone")
        .expected(lacks)
        .remedy(remedy);
    reading.add(problem);
}

/// The weak tie-break is said loudly.
pub(crate) fn unsafe_ping(reading: &Reading, draft: &Draft) -> Option<Problem> {
    let word = draft.voting.as_ref()?.tie_break.as_ref()?;
    if *word.get_ref() != TieBreakWord::UnsafePing {
        return None;
    }
    Some(
        reading
            .problem(
                Code::UnsafeTieBreak,
                &word.span(),
                "with this tie-break TWO MASTERS ARE POSSIBLE: both servers may reach the addresses and not \
                 each other",
            )
            .found("tie_break = \"unsafe_ping\"")
            .expected("a witness, voting files, or a fence")
            .remedy("add a [[witness]] on a third machine, or a voting file on storage that both reach"),
    )
}

impl Draft {
    /// All voting files, whichever way they are given.
    pub(crate) fn voting_files(&self) -> Vec<Spanned<PathBuf>> {
        let long = self.voting.iter().flat_map(|votes| votes.files.iter().cloned());
        let short = self.cluster.iter().filter_map(|cluster| cluster.voting_file.clone());
        short.chain(long).collect()
    }

    /// Whether two servers that lose each other need not both stop.
    pub(crate) fn has_tie_break(&self) -> bool {
        match self.voting.as_ref().and_then(|votes| votes.tie_break.as_ref()) {
            Some(word) => *word.get_ref() != TieBreakWord::None,
            None => {
                let record = self.registers().next().is_some() || !self.voting_files().is_empty();
                record || self.fence_is_tie_break()
            }
        }
    }
}
