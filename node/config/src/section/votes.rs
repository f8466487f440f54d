//! `[votes]`: voting files and the tie-break of two servers; and the short form `voting_file` of
//! `[cluster]`.
//!
//! | key | meaning | default |
//! |---|---|---|
//! | `files` | voting files on storage that the servers share: an odd number | none |
//! | `tie_break` | `none`, `witness`, `voting_files`, `fence`, `unsafe_ping` | what there is: a witness, else voting files |
//! | `disk_timeout` | a voting file that does not answer for so long is lost | 200s |
//! | `addresses` | for `unsafe_ping`: who must answer | needed there |

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use toml::Spanned;

use super::server::bad_address;
use crate::{
    draft::{TieBreakWord, VotesDraft},
    net::parse_address,
    problem::Code,
    reader::Section,
};

/// As in the reference system: `disktimeout`.
pub(crate) const DEFAULT_DISK_TIMEOUT: Duration = Duration::from_secs(200);
/// The words of `tie_break`.
pub(crate) const TIE_BREAKS: [(&str, TieBreakWord); 5] = [
    ("none", TieBreakWord::None),
    ("witness", TieBreakWord::Witness),
    ("voting_files", TieBreakWord::VotingFiles),
    ("fence", TieBreakWord::Fence),
    ("unsafe_ping", TieBreakWord::UnsafePing),
];

pub(crate) fn read(mut section: Section<'_>) -> VotesDraft {
    section.what = "[votes]".to_owned();
    let files = section.words("files", "a path in quotes, or a list of them").unwrap_or_default();
    let tie_break = section.choice("tie_break", &TIE_BREAKS);
    let mut addresses = Vec::new();
    let pings = tie_break.as_ref().is_some_and(|word| *word.get_ref() == TieBreakWord::UnsafePing);
    if pings {
        section.need("addresses", "addresses = [\"10.1.0.1\"]: who must answer for a server to go on");
        addresses = read_addresses(&section);
    } else {
        let message =
            format!("{} has `addresses`, which only the tie-break \"unsafe_ping\" asks", section.what);
        section.refuse("addresses", message, "tie_break = \"unsafe_ping\"", "take `addresses` out");
    }
    let draft = VotesDraft {
        files: files.into_iter().filter_map(|file| place(&section, "files", file)).collect(),
        tie_break,
        addresses,
        disk_timeout: section
            .positive_duration("disk_timeout")
            .map_or(DEFAULT_DISK_TIMEOUT, Spanned::into_inner),
    };
    section.finish();
    draft
}

/// `voting_file = "/shared/vote"` in `[cluster]`.
pub(crate) fn short(section: &Section<'_>) -> Option<Spanned<PathBuf>> {
    let file = section.string("voting_file")?;
    place(section, "voting_file", file)
}

fn place(section: &Section<'_>, key: &str, file: Spanned<String>) -> Option<Spanned<PathBuf>> {
    if Path::new(file.get_ref()).is_absolute() {
        return Some(Spanned::new(file.span(), PathBuf::from(file.into_inner())));
    }
    let problem = section
        .reading
        .problem(
            Code::BadVotingFile,
            &file.span(),
            format!("{} is no place that every server finds", section.label(key)),
        )
        .found(format!("`{}`", file.get_ref()))
        .expected("a path from the root, such as \"/dev/sdc1\" or \"/shared/vote\"")
        .remedy("write the whole path, beginning with /");
    section.reading.add(problem);
    None
}

fn read_addresses(section: &Section<'_>) -> Vec<Spanned<IpAddr>> {
    let texts = section.words("addresses", "an address in quotes, or a list of them").unwrap_or_default();
    let mut addresses = Vec::new();
    for text in &texts {
        match parse_address(text.get_ref()) {
            Ok(address) => addresses.push(Spanned::new(text.span(), address)),
            Err(remedy) => bad_address(section, text, "an address that must answer", remedy),
        }
    }
    addresses
}
