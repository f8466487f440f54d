//! `type = "floating_ip"`: an address that moves with its group.
//!
//! | key | meaning | default |
//! |---|---|---|
//! | `address` | `ADDRESS`, or `ADDRESS%DEVICE` for a certain interface | needed |
//! | `device` | the interface, where `address` names none | the one that carries the subnet |
//! | `prefix` | the prefix length | that of its network |
//! | `per_server` | another address on single servers: `{ SERVER = "ADDRESS" }` | none |

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
    let (address, mut device) = match section.string("address") {
        Some(text) => split(section, &text),
        None => (None, None),
    };
    if let Some(other) = section.string("device") {
        if let Some(device) = &device {
            let problem = section
                .reading
                .problem(Code::BadValue, &other.span(), format!("{} names two interfaces", section.what))
                .found(format!("`{device}` and `{}`", other.get_ref()))
                .expected("one interface")
                .remedy("take `device` out, or `%` with what follows it");
            section.reading.add(problem);
        }
        device = usable(section, other.get_ref(), &other, &section.label("device")).or(device);
    }
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
    let device = device.and_then(|device| usable(section, device, text, &label));
    match parse_address(address) {
        Ok(address) => (Some(Spanned::new(text.span(), address)), device),
        Err(mut remedy) => {
            if let Some((before, prefix)) = address.split_once('/') {
                remedy = format!("write address = \"{before}\" and prefix = {prefix}");
            }
            bad_address(section, text, &label, remedy);
            (None, None)
        }
    }
}

/// The name of an interface; reports one that cannot be.
fn usable(section: &Section<'_>, device: &str, text: &Spanned<String>, label: &str) -> Option<String> {
    let bad = device.is_empty()
        || device.len() > LONGEST_DEVICE
        || device.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control());
    if !bad {
        return Some(device.to_owned());
    }
    let problem = section
        .reading
        .problem(Code::BadAddress, &text.span(), format!("{label} names no interface"))
        .found(if device.is_empty() { "nothing".to_owned() } else { format!("`{device}`") })
        .expected("the name of a network interface, such as \"bond0\"")
        .remedy("name one, or leave it out");
    section.reading.add(problem);
    None
}

fn prefix(section: &Section<'_>, address: Option<&Spanned<IpAddr>>) -> Option<Spanned<u8>> {
    let most = address.map_or(128, |address| bits(*address.get_ref()));
    let prefix = section.integer("prefix", 1..=u32::from(most))?;
    let number = u8::try_from(*prefix.get_ref()).ok()?;
    Some(Spanned::new(prefix.span(), number))
}
