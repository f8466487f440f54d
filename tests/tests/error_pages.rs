//! Every code that an operator can see has its page, every page its code, and the index all of
//! them. `UPDATE=1 cargo test -p tasuki-tests --test error_pages` writes the index anew.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// `TSK-nnnn`, wherever it stands in a text.
fn codes(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("TSK-") {
        let digits: String = text[at + 4..].chars().take_while(char::is_ascii_digit).collect();
        if digits.len() == 4 {
            found.insert(format!("TSK-{digits}"));
        }
    }
    found
}

fn sources(folder: &Path, found: &mut BTreeMap<String, PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        if path.is_dir() {
            // Tests speak of codes too, but only the program makes them.
            if !["target", "tests", "golden", "docs"].contains(&&*name) && !name.starts_with('.') {
                sources(&path, found);
            }
        } else if name.ends_with(".rs") && name != "tests.rs" {
            for code in codes(&fs::read_to_string(&path).unwrap()) {
                found.entry(code).or_insert_with(|| path.clone());
            }
        }
    }
}

fn in_the_program() -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    sources(&root(), &mut found);
    // The configuration's codes are put together by a macro.
    for code in tasuki_config::Code::ALL {
        found.entry(code.to_string()).or_insert_with(|| "node/config/src/problem.rs".into());
    }
    found
}

fn pages() -> BTreeMap<String, String> {
    let folder = root().join("docs/errors");
    let page = |path: PathBuf| {
        let code = path.file_stem()?.to_str()?.to_owned();
        code.starts_with("TSK-").then(|| (code, fs::read_to_string(&path).unwrap()))
    };
    fs::read_dir(folder).unwrap().filter_map(|entry| page(entry.unwrap().path())).collect()
}

#[test]
fn every_code_has_a_page_and_every_page_a_code() {
    let (program, pages) = (in_the_program(), pages());
    for (code, place) in &program {
        assert!(pages.contains_key(code), "{code}, in {}, has no page in docs/errors", place.display());
    }
    for code in pages.keys() {
        assert!(program.contains_key(code), "docs/errors/{code}.md: nothing says {code}");
    }
}

#[test]
fn every_page_says_what_happened_and_what_to_do() {
    for (code, page) in pages() {
        assert!(page.starts_with(&format!("# {code}: ")), "{code}: its title");
        for part in ["\n## What happened\n\n", "\n## What to do\n\n"] {
            assert!(page.contains(part), "{code} has no part {part:?}");
        }
    }
}

/// What the hundreds are about.
const PARTS: [(&str, &str); 9] = [
    ("10", "Configuration"),
    ("11", "Identity, joining, TLS, heartbeats"),
    ("12", "Registry and its store"),
    ("13", "Groups, resources, programs"),
    ("14", "Addresses"),
    ("15", "Guard and lease"),
    ("16", "Command line and services"),
    ("17", "Resources, types, pools; plans, replays, history"),
    ("18", "Mirrored disks; upgrading"),
];

#[test]
fn the_index_lists_every_page() {
    let mut text = String::from(
        "# Errors by code\n\nEvery error that an operator sees has a code that stays the same. Each page says what \
         happened and what to do.\n",
    );
    for (hundred, about) in PARTS {
        text.push_str(&format!("\n## {about}\n\n| code | |\n|---|---|\n"));
        for (code, page) in pages().iter().filter(|(code, _)| code[4..].starts_with(hundred)) {
            let title = page.lines().next().unwrap().trim_start_matches(&format!("# {code}: "));
            text.push_str(&format!("| [{code}]({code}.md) | {title} |\n"));
        }
    }
    let index = root().join("docs/errors/README.md");
    if env::var_os("UPDATE").is_some() {
        fs::write(&index, &text).unwrap();
    }
    assert_eq!(codes(&text).len(), pages().len(), "a code outside the known hundreds");
    let written = fs::read_to_string(&index).unwrap();
    assert_eq!(written, text, "docs/errors/README.md differs; UPDATE=1 writes it anew");
}
