//! Every mistake that the reader knows, with the exact text that its author gets to read.
//!
//! `tests/bad/NAME.toml` has one mistake (or, where the name says so, several); `NAME.txt` is what
//! is shown. `UPDATE=1 cargo test -p tasuki-config --test golden` writes the texts anew.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, env, fs, path::Path};

use tasuki_config::{Code, parse};

fn compare(folder: &str, render: impl Fn(&str, &str) -> String) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut wrong = Vec::new();
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    assert!(!files.is_empty(), "no files in {}", folder.display());
    let mut shown_all = Vec::new();
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let shown = render(&fs::read_to_string(&path).unwrap(), &name) + "\n";
        let expected = path.with_extension("txt");
        if env::var_os("UPDATE").is_some() {
            fs::write(&expected, &shown).unwrap();
        }
        if fs::read_to_string(&expected).unwrap_or_default() != shown {
            wrong.push(format!("{name} now gives:\n{shown}"));
        }
        shown_all.push(shown);
    }
    assert!(wrong.is_empty(), "{}\nUPDATE=1 accepts this.", wrong.join("\n"));
    shown_all
}

#[test]
fn every_mistake_has_its_text() {
    let shown = compare("bad", |text, name| match parse(text, name) {
        Ok(_) => panic!("{name} was accepted"),
        Err(errors) => errors.to_string(),
    });
    // What needs a file system is in tests/files.rs, what needs a running cluster in tests/edits.rs.
    let elsewhere = [Code::Unreadable, Code::Script, Code::StillNeeded];
    let covered: BTreeSet<Code> = Code::ALL
        .iter()
        .copied()
        .filter(|code| shown.iter().any(|text| text.contains(code.as_str())))
        .collect();
    for code in Code::ALL.iter().filter(|code| !code.is_warning() && !elsewhere.contains(code)) {
        assert!(covered.contains(code), "no golden file shows {code}");
    }
}

#[test]
fn every_warning_has_its_text() {
    compare("warn", |text, name| match parse(text, name) {
        Ok(loaded) => loaded.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n"),
        Err(errors) => panic!("{name}: {errors}"),
    });
}

#[test]
fn every_code_has_its_page() {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
    for code in Code::ALL {
        let page = fs::read_to_string(pages.join(format!("{code}.md"))).unwrap_or_default();
        assert!(page.starts_with(&format!("# {code}: ")), "docs/errors/{code}.md");
    }
}
