//! `[[server]]`: a member machine.

use std::net::IpAddr;

use toml::{Spanned, de::DeValue};

use crate::{
    draft::{Name, ServerDraft},
    net::parse_address,
    problem::Code,
    reader::Section,
};

/// Numbers go on growing while servers come and go.
const HIGHEST_NUMBER: u32 = 999;

pub(crate) fn read(section: Section<'_>) -> ServerDraft {
    section.need("name", "name = \"…\": the machine's host name, without its domain");
    section.need("addresses", "addresses = { NETWORK = \"ADDRESS\", … }");
    let draft = ServerDraft {
        name: section.string("name"),
        span: section.span.clone(),
        comment: section.comment(),
        number: section.integer("number", 1..=HIGHEST_NUMBER),
        domain: section.string("domain"),
        addresses: addresses(&section, "addresses", "a table { NETWORK = \"ADDRESS\", … }"),
        fencing: super::fence::levels(&section),
        fence_span: section.get("fence").map(Spanned::span),
    };
    if let Some(DeValue::Table(table)) = section.get("addresses").map(Spanned::get_ref)
        && table.is_empty()
    {
        let message = format!("{} has no address", section.what);
        let problem = section
            .reading
            .problem(Code::Missing, &section.key_span("addresses"), message)
            .found("an empty table")
            .expected("an address on each network that carries heartbeats")
            .remedy("add NETWORK = \"ADDRESS\" for each network that the server is on");
        section.reading.add(problem);
    }
    section.finish();
    draft
}

/// A table from names to addresses.
pub(crate) fn addresses(
    section: &Section<'_>,
    key: &'static str,
    example: &str,
) -> Vec<(Name, Option<Spanned<IpAddr>>)> {
    let Some(table) = section.table(key, example) else { return Vec::new() };
    table
        .entries()
        .map(|(name, value)| {
            let label = format!("`{}` in {}", name.get_ref(), table.what);
            let address = address(&table, value, &label);
            (name, address)
        })
        .collect()
}

/// One address.
pub(crate) fn address(
    section: &Section<'_>,
    value: &Spanned<DeValue<'_>>,
    label: &str,
) -> Option<Spanned<IpAddr>> {
    let expected = "an address in quotes, such as \"10.1.0.85\" or \"fd00::85\"";
    let text = section.as_string(value, label, expected)?;
    match parse_address(text.get_ref()) {
        Ok(address) => Some(Spanned::new(text.span(), address)),
        Err(remedy) => {
            bad_address(section, &text, label, remedy);
            None
        }
    }
}

/// Reports a text that is no address.
pub(crate) fn bad_address(section: &Section<'_>, text: &Name, label: &str, remedy: String) {
    let problem = section
        .reading
        .problem(Code::BadAddress, &text.span(), format!("{label} is no address"))
        .found(format!("`{}`", text.get_ref()))
        .expected("an IPv4 address such as \"10.1.0.85\" or an IPv6 address such as \"fd00::85\"")
        .remedy(remedy);
    section.reading.add(problem);
}
