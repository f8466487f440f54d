//! `docs/grpc.md` says what the `.proto` files say: every service, call and field with its comment, who
//! may call, and which status which error has. `UPDATE=1 cargo test -p tasuki --test grpc_docs` writes
//! it anew below its mark; what is above is written by hand.

#![allow(clippy::unwrap_used)]

#[path = "grpc/errors.rs"]
mod errors;
#[path = "grpc/files.rs"]
mod files;

use std::{collections::BTreeMap, env, fmt::Write as _, fs, path::PathBuf};

use files::{Between, Call, File, Kind, Message, Package};
use tasuki::app::intentions::INTENTIONS;

const MARK: &str = "<!-- What follows is written by `UPDATE=1 cargo test -p tasuki --test grpc_docs` from the .proto \
                    files. -->\n";

#[test]
fn the_page_says_what_the_proto_files_say() {
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/grpc.md");
    let written = fs::read_to_string(&page).unwrap();
    let (head, _) = written.split_once(MARK).unwrap();
    let text = format!("{head}{MARK}\n{}\n{}", errors::table(), services(&files::read()));
    if env::var_os("UPDATE").is_some() {
        fs::write(&page, &text).unwrap();
    }
    let written = fs::read_to_string(&page).unwrap();
    assert!(written == text, "docs/grpc.md differs; UPDATE=1 writes it anew");
}

#[test]
fn everything_on_the_wire_has_a_comment() {
    let package = files::read();
    assert!(package.files.iter().flat_map(|file| &file.calls).count() > 70);
    for file in &package.files {
        assert!(!file.about.is_empty(), "{}: what is it for?", file.name);
        for call in &file.calls {
            assert!(!call.about.is_empty(), "{}: {} has no comment", file.name, call.name);
            let known = ["viewer", "operator", "admin", "none, but a token"];
            let role = call.role.as_deref();
            assert!(
                file.between_servers()
                    || role.is_some_and(|role| known.iter().any(|it| role.starts_with(it))),
                "{}: {} says no role: {role:?}",
                file.name,
                call.name
            );
        }
        for message in &file.messages {
            for field in &message.fields {
                assert!(
                    !field.about.is_empty(),
                    "{}: {}.{} has no comment",
                    file.name,
                    message.name,
                    field.name
                );
            }
        }
    }
}

fn services(package: &Package) -> String {
    let mut text = String::from("## Services\n\n| service | calls | about |\n|---|---|---|\n");
    let served = || package.files.iter().filter(|file| file.service.is_some() && !file.between_servers());
    for file in served() {
        let service = file.service.as_deref().unwrap();
        let calls: Vec<&str> = file.calls.iter().map(|call| call.name.as_str()).collect();
        let about = file.about.split_once(". ").map_or(file.about.as_str(), |(first, _)| first);
        let about = about.trim_end_matches('.');
        writeln!(text, "| [{service}](#{}) | {} | {about} |", service.to_lowercase(), calls.join(", "))
            .unwrap();
    }
    let links = links(package);
    for file in served() {
        one_service(&mut text, file, &links);
    }
    text.push_str("\n## Shared messages\n");
    for file in package.files.iter().filter(|file| file.service.is_none()) {
        writeln!(text, "\n{}", file.about).unwrap();
        messages(&mut text, &file.messages, &links);
    }
    text.push_str("\n## Between servers\n\nReflection lists these too. Only a server of the same cluster may call them.\n\n");
    text.push_str("| call | about |\n|---|---|\n");
    for file in package.files.iter().filter(|file| file.between_servers()) {
        for call in &file.calls {
            let service = file.service.as_deref().unwrap();
            writeln!(text, "| `{service}/{}` | {} |", call.name, cell(&call.about)).unwrap();
        }
    }
    text
}

fn one_service(text: &mut String, file: &File, links: &BTreeMap<String, String>) {
    let service = file.service.as_deref().unwrap();
    writeln!(text, "\n### {service}\n\n`tasuki.v1.{service}`: {}\n", file.about).unwrap();
    text.push_str("| call | request | answer | role | as a command | |\n|---|---|---|---|---|---|\n");
    for call in &file.calls {
        let Call { name, about, role, request, answer } = call;
        let role = role.as_deref().unwrap_or_default();
        let verbs: Vec<String> = INTENTIONS
            .iter()
            .filter(|intention| intention.rpc == Some(&format!("{service}/{name}")))
            .filter_map(|intention| Some(format!("`tasuki {}`", intention.verb?)))
            .collect();
        let (request, answer) = (linked(request, links), linked(answer, links));
        let verbs = verbs.join(", ");
        writeln!(text, "| **{name}** | {request} | {answer} | {role} | {verbs} | {} |", cell(about)).unwrap();
    }
    messages(text, &file.messages, links);
}

fn messages(text: &mut String, messages: &[Message], links: &BTreeMap<String, String>) {
    for Message { name, kind, about, fields } in messages {
        writeln!(text, "\n#### {name}\n").unwrap();
        if !about.is_empty() {
            writeln!(text, "{about}\n").unwrap();
        }
        if fields.is_empty() {
            text.push_str("Empty.\n");
            continue;
        }
        let head = match kind {
            Kind::Message => "| field | type | |\n|---|---|---|\n",
            Kind::Enum => "| value | number | |\n|---|---|---|\n",
        };
        text.push_str(head);
        for field in fields {
            let of = linked(&field.of, links);
            writeln!(text, "| `{}` | {of} | {} |", field.name, cell(&field.about)).unwrap();
        }
    }
}

/// Where each message and enum is on the page.
fn links(package: &Package) -> BTreeMap<String, String> {
    let all = package.files.iter().filter(|file| !file.between_servers()).flat_map(|file| &file.messages);
    all.map(|message| (message.name.clone(), message.name.to_lowercase())).collect()
}

/// A type, with the last word of it as a link where the page explains it.
fn linked(of: &str, links: &BTreeMap<String, String>) -> String {
    let (before, name) = of.rsplit_once(' ').map_or(("", of), |(before, name)| (before, name));
    let name = match links.get(name) {
        Some(anchor) => format!("[{name}](#{anchor})"),
        None => name.to_owned(),
    };
    format!("{before} {name}").trim().to_owned()
}

/// Text that stands in a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
