//! `[[network]]`: a subnet that servers share.

use tasuki_core::config::NetworkUse;

use crate::{draft::NetworkDraft, net::parse_subnet, problem::Code, reader::Section};

/// The words of `use`.
pub(crate) const USES: [(&str, NetworkUse); 3] = [
    ("public", NetworkUse::Public),
    ("interconnect", NetworkUse::Interconnect),
    ("mirror", NetworkUse::Mirror),
];

pub(crate) fn read(section: Section<'_>) -> NetworkDraft {
    section.need("name", "name = \"public\"");
    section.need("subnet", "subnet = \"10.1.0.0/24\"");
    section.need("use", "use = \"public\" or use = \"interconnect\"");
    let draft = NetworkDraft {
        name: section.string("name"),
        span: section.span.clone(),
        subnet: section.string("subnet").and_then(|text| {
            let error = match parse_subnet(text.get_ref()) {
                Ok(subnet) => return Some(subnet),
                Err(error) => error,
            };
            let message = format!("{} is no subnet", section.label("subnet"));
            let problem = section
                .reading
                .problem(Code::BadAddress, &text.span(), message)
                .found(format!("`{}`", text.get_ref()))
                .expected("a subnet such as \"10.1.0.0/24\" or \"fd00:1::/64\"")
                .remedy(error);
            section.reading.add(problem);
            None
        }),
        uses: uses(&section),
    };
    section.finish();
    draft
}

fn uses(section: &Section<'_>) -> Vec<NetworkUse> {
    let mut uses = section.choices("use", &USES).unwrap_or_default();
    uses.sort_unstable();
    uses.dedup();
    uses
}
