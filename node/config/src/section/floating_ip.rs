//! `type = "floating_ip"`: an address that moves with its group.

use std::net::IpAddr;

use toml::Spanned;

use crate::{
    draft::FloatingIpDraft,
    net::{bits, parse_address},
    problem::Code,
    reader::Section,
    section::server::{addresses, bad_address},
};

/// The kernel's limit for interface names.
const LONGEST_DEVICE: usize = 15;

pub(crate) fn read(section: &Section<'_>) -> FloatingIpDraft {
    section.need("address", "address = \"ADDRESS\" or address = \"ADDRESS%DEVICE\"");
    let (address, device) = match section.string("address") {
        Some(text) => split(section, &text),
        None => (None, None),
    };
    FloatingIpDraft {
        prefix: prefix(section, address.as_ref()),
        address,
        device,
        per_server: addresses(section, "per_server", "a table { SERVER = \"ADDRESS\", … }"),
    }
}

/// `ADDRESS` or `ADDRESS%DEVICE`.
fn split(section: &Section<'_>, text: &Spanned<String>) -> (Option<Spanned<IpAddr>>, Option<String>) {
    let label = section.label("address");
    let (address, device) = match text.get_ref().split_once('%') {
        Some((address, device)) => (address, Some(device)),
        None => (text.get_ref().as_str(), None),
    };
    let usable = |device: &str| {
        !device.is_empty()
            && device.len() <= LONGEST_DEVICE
            && !device.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control())
    };
    if let Some(device) = device.filter(|device| !usable(device)) {
        let problem = section
            .reading
            .problem(Code::BadAddress, &text.span(), format!("{label} names no interface after `%`"))
            .found(if device.is_empty() { "nothing".to_owned() } else { format!("`{device}`") })
            .expected("the name of a network interface, such as \"bond0\"")
            .remedy("write \"ADDRESS%DEVICE\", or leave %DEVICE out");
        section.reading.add(problem);
    }
    match parse_address(address) {
        Ok(address) => (Some(Spanned::new(text.span(), address)), device.map(ToOwned::to_owned)),
        Err(mut remedy) => {
            if let Some((before, prefix)) = address.split_once('/') {
                remedy = format!("write address = \"{before}\" and prefix = {prefix}");
            }
            bad_address(section, text, &label, remedy);
            (None, None)
        }
    }
}

fn prefix(section: &Section<'_>, address: Option<&Spanned<IpAddr>>) -> Option<Spanned<u8>> {
    let most = address.map_or(128, |address| bits(*address.get_ref()));
    let prefix = section.integer("prefix", 1..=u32::from(most))?;
    let number = u8::try_from(*prefix.get_ref()).ok()?;
    Some(Spanned::new(prefix.span(), number))
}
