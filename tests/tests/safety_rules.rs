//! The safety rules, as written down and as cited: every rule that the sources name is on the page,
//! and every rule on the page has a test that is named after it.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Rules that no single test can show: R36 is what all of them together promise.
const PROMISED: [u32; 1] = [36];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        if path.is_dir() {
            // Models also speak of what there is no code for yet.
            if name != "target" && name != "models" && !name.starts_with('.') {
                sources(&path, text);
            }
        } else if name.ends_with(".rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
            text.push('\n');
        }
    }
}

fn number(text: &str) -> Option<u32> {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    let ends = text[digits.len()..].chars().next().is_none_or(|next| !next.is_alphanumeric());
    if ends { digits.parse().ok() } else { None }
}

/// `R13` as a word.
fn cited(text: &str) -> BTreeSet<u32> {
    let starts = |at: usize| at == 0 || !text.as_bytes()[at - 1].is_ascii_alphanumeric();
    text.match_indices('R')
        .filter(|(at, _)| starts(*at) && text.as_bytes()[at.saturating_sub(1)] != b'_')
        .filter_map(|(at, _)| number(&text[at + 1..]))
        .filter(|rule| (1..=40).contains(rule))
        .collect()
}

/// `fn r13_…`, and `r1_r2_…` for a test of several.
fn tested(text: &str) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("fn r") {
        let name = text[at + 3..].split('(').next().unwrap_or_default();
        let rules = name.split('_').map_while(|part| part.strip_prefix('r')?.parse::<u32>().ok());
        found.extend(rules);
    }
    found
}

#[test]
fn every_rule_that_is_cited_is_on_the_page_and_has_a_test() {
    let page = fs::read_to_string(root().join("docs/safety.md")).unwrap();
    let mut text = String::new();
    sources(&root(), &mut text);
    let written = cited(&page);
    let missing: Vec<u32> = cited(&text).difference(&written).copied().collect();
    assert!(missing.is_empty(), "docs/safety.md does not have the rules {missing:?} that the sources cite");
    let named: BTreeSet<u32> = tested(&text).into_iter().chain(PROMISED).collect();
    let untested: Vec<u32> = written.difference(&named).copied().collect();
    assert!(untested.is_empty(), "no test is named after the rules {untested:?}");
}

#[test]
fn names_are_read_as_meant() {
    assert_eq!(cited("(R13, R2) and R24. but not R1x, AR5 or R99"), BTreeSet::from([2, 13, 24]));
    assert_eq!(tested("fn r13_a_move_waits() fn r1_r9_both() fn read_it()"), BTreeSet::from([1, 9, 13]));
}
