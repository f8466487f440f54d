//! The `.proto` files as they describe themselves: the descriptors that reflection serves, with comments.

use std::collections::BTreeMap;

use prost::Message as _;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};

/// All of `tasuki.v1`.
pub struct Package {
    pub files: Vec<File>,
}

/// One file; at most one service is in each.
pub struct File {
    pub name: String,
    /// What its head says, without its history.
    pub about: String,
    pub service: Option<String>,
    pub calls: Vec<Call>,
    pub messages: Vec<Message>,
}

/// Whether a thing is for operators or between servers.
pub trait Between {
    fn between_servers(&self) -> bool;
}

impl Between for File {
    fn between_servers(&self) -> bool {
        matches!(self.service.as_deref(), Some("Peer" | "Mirror" | "TieBreak"))
    }
}

/// One call.
pub struct Call {
    pub name: String,
    /// Its comment, but for its role.
    pub about: String,
    pub role: Option<String>,
    pub request: String,
    pub answer: String,
}

#[derive(Clone, Copy)]
pub enum Kind {
    Message,
    Enum,
}

/// A message or an enum.
pub struct Message {
    pub name: String,
    pub kind: Kind,
    pub about: String,
    pub fields: Vec<Field>,
}

/// A field, or a value of an enum.
pub struct Field {
    pub name: String,
    pub of: String,
    pub about: String,
}

/// Comments by the path of what they are about, as descriptors number things.
type Comments = BTreeMap<Vec<i32>, String>;

/// Reads the descriptors in the program.
pub fn read() -> Package {
    let set = FileDescriptorSet::decode(tasuki_proto::FILE_DESCRIPTOR_SET).unwrap();
    let mut files: Vec<File> =
        set.file.iter().filter(|file| file.package() == "tasuki.v1").map(file).collect();
    // By service; in the descriptors they stand as they import each other.
    files.sort_by(|one, other| one.service.cmp(&other.service).then(one.name.cmp(&other.name)));
    Package { files }
}

fn file(file: &FileDescriptorProto) -> File {
    let comments: Comments = file
        .source_code_info
        .iter()
        .flat_map(|info| &info.location)
        .map(|at| (at.path.clone(), one_line(at.leading_comments())))
        .collect();
    // The head of a file is the comment of its first statement, `syntax`.
    let head = comments.get(&vec![12]).cloned().unwrap_or_default();
    let about = head.split(" History:").next().unwrap_or_default().trim().to_owned();
    assert!(file.service.len() <= 1, "{}: one service a file", file.name());
    let calls = file.service.first().map(|service| &service.method).into_iter().flatten().enumerate();
    let calls = calls.map(|(at, method)| {
        let (about, role) = split_role(&said(&comments, &[6, 0, 2, at]));
        let streams =
            |streams: bool, of: &str| format!("{}{}", if streams { "stream of " } else { "" }, plain(of));
        Call {
            name: method.name().to_owned(),
            about,
            role,
            request: streams(method.client_streaming(), method.input_type()),
            answer: streams(method.server_streaming(), method.output_type()),
        }
    });
    let messages = file.message_type.iter().enumerate();
    let mut all: Vec<Message> = messages.flat_map(|(at, it)| message(it, &comments, &[4, at], "")).collect();
    all.extend(file.enum_type.iter().enumerate().map(|(at, it)| enumeration(it, &comments, &[5, at], "")));
    File {
        name: file.name().to_owned(),
        about,
        service: file.service.first().map(|service| service.name().to_owned()),
        calls: calls.collect(),
        messages: all,
    }
}

/// A message, and those that are declared in it.
fn message(it: &DescriptorProto, comments: &Comments, path: &[usize], outer: &str) -> Vec<Message> {
    let name = format!("{outer}{}", it.name());
    let below = |kind: usize, at: usize| [path, &[kind, at]].concat();
    let fields = it.field.iter().enumerate().map(|(at, field)| Field {
        name: field.name().to_owned(),
        of: of(field, it),
        about: said(comments, &below(2, at)),
    });
    let mut all = vec![Message {
        about: said(comments, path),
        kind: Kind::Message,
        fields: fields.collect(),
        name: name.clone(),
    }];
    let outer = format!("{name}.");
    let maps = |it: &DescriptorProto| it.options.as_ref().is_some_and(|options| options.map_entry());
    for (at, nested) in it.nested_type.iter().enumerate().filter(|(_, nested)| !maps(nested)) {
        all.extend(message(nested, comments, &below(3, at), &outer));
    }
    for (at, nested) in it.enum_type.iter().enumerate() {
        all.push(enumeration(nested, comments, &below(4, at), &outer));
    }
    all
}

fn enumeration(it: &EnumDescriptorProto, comments: &Comments, path: &[usize], outer: &str) -> Message {
    let values = it.value.iter().enumerate().map(|(at, value)| Field {
        name: value.name().to_owned(),
        of: value.number().to_string(),
        about: said(comments, &[path, &[2, at]].concat()),
    });
    Message {
        name: format!("{outer}{}", it.name()),
        kind: Kind::Enum,
        about: said(comments, path),
        fields: values.collect(),
    }
}

/// A field's type in words.
fn of(field: &FieldDescriptorProto, within: &DescriptorProto) -> String {
    let entry =
        within.nested_type.iter().find(|nested| field.type_name().ends_with(&format!(".{}", nested.name())));
    let map = entry.filter(|nested| nested.options.as_ref().is_some_and(|options| options.map_entry()));
    if let Some(map) = map {
        return format!("map of {} to {}", of(&map.field[0], map), of(&map.field[1], map));
    }
    let name = match field.r#type() {
        Type::Message | Type::Enum => plain(field.type_name()),
        other => other.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    };
    let one_of = field.oneof_index.filter(|_| !field.proto3_optional());
    match (field.label(), field.proto3_optional(), one_of) {
        (Label::Repeated, ..) => format!("repeated {name}"),
        (_, true, _) => format!("optional {name}"),
        (_, _, Some(at)) => {
            let group = &within.oneof_decl[usize::try_from(at).unwrap()];
            format!("one of `{}`: {name}", group.name())
        }
        _ => name,
    }
}

fn plain(name: &str) -> String {
    name.trim_start_matches(".tasuki.v1.").trim_start_matches('.').to_owned()
}

fn said(comments: &Comments, path: &[usize]) -> String {
    let path: Vec<i32> = path.iter().map(|part| i32::try_from(*part).unwrap()).collect();
    comments.get(&path).cloned().unwrap_or_default()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `… Role: viewer.` apart from what is before it.
fn split_role(about: &str) -> (String, Option<String>) {
    match about.split_once("Role: ") {
        Some((before, role)) => (before.trim().to_owned(), Some(role.trim_end_matches('.').to_owned())),
        None => (about.to_owned(), None),
    }
}
