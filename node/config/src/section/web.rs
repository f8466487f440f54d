//! `[web]`: the web manager, which this version does not have.

use crate::reader::Section;

pub(crate) fn read(file: &Section<'_>) {
    file.unsupported(
        "web",
        "the web manager ([web])",
        "take the section [web] out; use `tasuki cluster status`",
    );
}
