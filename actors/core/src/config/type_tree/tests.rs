#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn types(list: &[(&str, &str)]) -> BTreeMap<TypeName, TypeConfig> {
    let one = |(name, base): &(&str, &str)| {
        let config = TypeConfig { comment: String::new(), base: (*base).into(), attributes: BTreeMap::new() };
        ((*name).into(), config)
    };
    list.iter().map(one).collect()
}

fn attribute(kind: ValueKind) -> AttributeConfig {
    AttributeConfig { kind, default: None, required: false, range: None, comment: String::new() }
}

fn with(name: &str, base: &str, attributes: &[(&str, AttributeConfig)]) -> (TypeName, TypeConfig) {
    let attributes = attributes.iter().map(|(name, config)| ((*name).to_owned(), config.clone())).collect();
    (name.into(), TypeConfig { comment: String::new(), base: base.into(), attributes })
}

fn faults(types: &BTreeMap<TypeName, TypeConfig>) -> Vec<String> {
    let errors = TypeTree::new(types).unwrap_err();
    errors
        .into_iter()
        .map(|error| {
            let attribute = error.attribute.clone().map(|name| format!(".{name}")).unwrap_or_default();
            format!("{}{attribute}: {error}; {}", error.type_name, error.fault.remedy())
        })
        .collect()
}

#[test]
fn the_pairs_of_the_reference_come_in_name_order() {
    let shown: Vec<String> = TypeTree::built_in()
        .list()
        .into_iter()
        .map(|(name, base)| format!("{name}={}", base.map(|base| base.to_string()).unwrap_or_default()))
        .collect();
    assert_eq!(
        shown,
        [
            "application=cluster_resource",
            "cluster_resource=resource",
            "exec=cluster_resource",
            "floating_ip=cluster_resource",
            "local_resource=resource",
            "mirror_disk=cluster_resource",
            "resource=",
        ]
    );
}

#[test]
fn types_inherit_from_types_that_inherit() {
    let tree =
        TypeTree::new(&types(&[("vip", "floating_ip"), ("scan_vip", "vip"), ("asm", "local_resource")]));
    let tree = tree.unwrap();
    let names = |name: &str| {
        tree.ancestors(&name.into()).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names("scan_vip"), "vip floating_ip cluster_resource resource");
    assert_eq!(names("resource"), "");
    assert_eq!(names("nothing"), "");
    assert!(tree.is_a(&"scan_vip".into(), &"floating_ip".into()));
    assert!(tree.is_a(&"vip".into(), &"vip".into()));
    assert!(!tree.is_a(&"vip".into(), &"scan_vip".into()));
    assert!(!tree.is_a(&"vip".into(), &"nothing".into()));
    assert_eq!(tree.scope(&"asm".into()), Some(Scope::Local));
    assert_eq!(tree.scope(&"scan_vip".into()), Some(Scope::Cluster));
    assert_eq!(tree.scope(&"resource".into()), None);
    assert_eq!(tree.nearest("floating-ip"), Some("floating_ip".into()));
}

#[test]
fn wrong_types_are_told_all_at_once() {
    assert_eq!(
        faults(&types(&[
            ("exec", "resource"),
            ("EXEC", "resource"),
            ("Db", "exec"),
            ("db", "exec"),
            ("vip", "floating-ip"),
            ("own", "own"),
            ("a", "b"),
            ("b", "c"),
            ("c", "a"),
            ("d", "a"),
            ("lost", "nowhere"),
        ])),
        [
            "EXEC: the name differs from type `exec` only by capital letters; choose another name",
            "db: the name differs from type `Db` only by capital letters; choose another name",
            "exec: a built-in type has this name; choose another name",
            "a: the type inherits from itself: `a` from `b` from `c` from `a`; have one of them inherit from \
             `local_resource` or `cluster_resource`",
            "lost: no type is called `nowhere`; inherit from `local_resource`, `cluster_resource`, or add \
             that type too",
            "own: the type inherits from itself: `own` from `own`; have one of them inherit from \
             `local_resource` or `cluster_resource`",
            "vip: no type is called `floating-ip`; did you mean `floating_ip`?",
        ]
    );
}

#[test]
fn wrong_attributes_of_types() {
    let text = |text: &str| Some(Value::String(text.to_owned()));
    let types = BTreeMap::from([
        with(
            "db",
            "exec",
            &[
                ("Port", attribute(ValueKind::Integer)),
                ("name", attribute(ValueKind::String)),
                ("target", attribute(ValueKind::String)),
                ("address", attribute(ValueKind::String)),
                ("load", attribute(ValueKind::String)),
                ("zone", AttributeConfig { range: Some((1, 2)), ..attribute(ValueKind::String) }),
                ("size", AttributeConfig { range: Some((9, 2)), ..attribute(ValueKind::Duration) }),
                ("port", AttributeConfig { default: text("x"), ..attribute(ValueKind::Integer) }),
                (
                    "wide",
                    AttributeConfig {
                        default: Some(Value::Integer(70_000)),
                        range: Some((1, 65_535)),
                        ..attribute(ValueKind::Integer)
                    },
                ),
                ("placement", AttributeConfig { default: text("best"), ..attribute(ValueKind::String) }),
                (
                    "start_dependencies",
                    AttributeConfig { default: text("hrad(a)"), ..attribute(ValueKind::String) },
                ),
                (
                    "failure_threshold",
                    AttributeConfig { default: Some(Value::Integer(21)), ..attribute(ValueKind::Integer) },
                ),
                ("ok", AttributeConfig { default: text(""), ..attribute(ValueKind::String) }),
            ],
        ),
        with("sub", "db", &[("ok", attribute(ValueKind::Integer))]),
        with("loc", "local_resource", &[("placement", attribute(ValueKind::String))]),
        with("ip", "floating_ip", &[("start", attribute(ValueKind::String))]),
    ]);
    assert_eq!(
        faults(&types),
        [
            "db.Port: `Port` cannot be the name of an attribute; use small letters, digits and `_`, with a \
             letter at the beginning",
            "db.address: `address` exists on `floating_ip`, from which this type does not inherit; take it \
             out, or have the type inherit from `floating_ip`",
            "db.failure_threshold: the default is 21; give another default, or none",
            "db.load: `load` of `resource` is a whole number, not text; keep the kind that it has, or give \
             the new attribute another name",
            "db.name: `name` cannot be changed by a type; take it out of the type",
            "db.placement: the default is `best`; give another default, or none",
            "db.port: the default is text, not a whole number; give another default, or none",
            "db.size: no value lies between 9ms and 2ms; make `min` the smaller one",
            "db.start_dependencies: the default cannot be read: `hrad` is no kind of start dependency; give \
             another default, or none",
            "db.target: `target` is a word for the state of a resource; choose another name",
            "db.wide: the default is 70000; give another default, or none",
            "db.zone: only whole numbers and durations have a least and a greatest value; take `min` and \
             `max` out",
            "ip.start: `start` exists on `exec`, from which this type does not inherit; take it out, or have \
             the type inherit from `exec`",
            "loc.placement: `placement` exists on `cluster_resource`, from which this type does not inherit; \
             take it out, or have the type inherit from `cluster_resource`",
            "sub.ok: `ok` of `db` is text, not a whole number; keep the kind that it has, or give the new \
             attribute another name",
        ]
    );
}

fn database() -> TypeTree {
    let number =
        |default, range| AttributeConfig { default, range: Some(range), ..attribute(ValueKind::Integer) };
    let seconds = |n: u64| Some(Value::Duration(n * 1000));
    let types = BTreeMap::from([
        with(
            "database",
            "exec",
            &[
                ("port", number(Some(Value::Integer(5432)), (1, 65_535))),
                ("sid", AttributeConfig { required: true, ..attribute(ValueKind::String) }),
                ("grace", AttributeConfig { range: Some((0, 60_000)), ..attribute(ValueKind::Duration) }),
                ("check_interval", AttributeConfig { default: seconds(5), ..attribute(ValueKind::Duration) }),
            ],
        ),
        with(
            "cache",
            "database",
            &[
                ("port", number(Some(Value::Integer(6379)), (1024, 70_000))),
                (
                    "sid",
                    AttributeConfig {
                        default: Some(Value::String("c".into())),
                        ..attribute(ValueKind::String)
                    },
                ),
            ],
        ),
        with("asm", "local_resource", &[]),
    ]);
    TypeTree::new(&types).unwrap()
}

#[test]
fn attributes_are_inherited_with_who_defines_them() {
    let tree = database();
    let seen = |name: &str| {
        let found = tree.attribute(&"cache".into(), name).unwrap();
        (found.defined_by.to_string(), found.changed_by.map(|by| by.to_string()), found.default, found.range)
    };
    let by = |name: &str| Some(name.to_owned());
    assert_eq!(seen("load"), ("resource".into(), None, Some(Value::Integer(1)), Some((0, 1_000_000))));
    assert_eq!(
        seen("port"),
        ("database".into(), by("cache"), Some(Value::Integer(6379)), Some((1024, 65_535)))
    );
    assert_eq!(
        seen("check_interval"),
        ("resource".into(), by("database"), Some(Value::Duration(5000)), Some((1000, 86_400_000)))
    );
    assert_eq!(seen("sid"), ("database".into(), by("cache"), Some(Value::String("c".into())), None));
    assert_eq!(
        tree.presets(&"cache".into()),
        BTreeMap::from([("check_interval".to_owned(), Value::Duration(5000))])
    );
    assert_eq!(tree.presets(&"exec".into()), BTreeMap::new());
    let names: Vec<String> = tree.attributes(&"cache".into()).into_iter().map(|a| a.name).collect();
    assert!(names.is_sorted());
}

/// The reference: PLACEMENT, SERVER_POOLS and other failover attributes exist on cluster_resource,
/// not on local_resource.
#[test]
fn only_what_is_placed_has_a_placement() {
    let tree = database();
    for name in ["cardinality", "placement", "hosting_members", "server_pools", "failover", "failback"] {
        for (type_name, has) in [
            ("resource", false),
            ("local_resource", false),
            ("asm", false),
            ("cluster_resource", true),
            ("application", true),
            ("exec", true),
            ("floating_ip", true),
            ("cache", true),
        ] {
            assert_eq!(tree.attribute(&type_name.into(), name).is_some(), has, "{type_name} {name}");
        }
    }
    for (type_name, has) in
        [("local_resource", true), ("application", true), ("exec", true), ("floating_ip", false)]
    {
        assert_eq!(tree.attribute(&type_name.into(), "start").is_some(), has, "{type_name}");
        assert_eq!(tree.attribute(&type_name.into(), "address").is_some(), !has, "{type_name}");
    }
    let error = tree.check_value(&"asm".into(), "placement", &Value::String("balanced".into())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`placement` exists on `cluster_resource`, not on `asm`: a resource of type `asm` has one instance on \
         every server, so there is nothing to place"
    );
    assert_eq!(error.fault.remedy(), "take it out, or use a type that inherits from `cluster_resource`");
    let error = tree.check_value(&"floating_ip".into(), "stop", &Value::String("x".into())).unwrap_err();
    assert_eq!(error.to_string(), "`stop` exists on `exec`, not on `floating_ip`");
}

#[test]
fn values_are_checked_and_defaults_filled_in() {
    let tree = database();
    let given = |list: &[(&str, Value)]| -> BTreeMap<String, Value> {
        list.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    };
    let sid = ("sid", Value::String("orcl".into()));
    assert_eq!(
        tree.check(&"database".into(), &given(std::slice::from_ref(&sid))).unwrap(),
        given(&[sid.clone(), ("port", Value::Integer(5432))])
    );
    assert_eq!(
        tree.check(&"cache".into(), &given(&[("grace", Value::Duration(0))])).unwrap(),
        given(&[
            ("grace", Value::Duration(0)),
            ("port", Value::Integer(6379)),
            ("sid", Value::String("c".into()))
        ])
    );
    assert_eq!(tree.check(&"exec".into(), &BTreeMap::new()).unwrap(), BTreeMap::new());
    // Built-in attributes are checked but are no part of the answer.
    assert_eq!(
        tree.check(&"database".into(), &given(&[sid.clone(), ("load", Value::Integer(3))])).unwrap(),
        given(&[sid, ("port", Value::Integer(5432))])
    );
    let wrong = [
        ("prot", Value::Integer(1)),
        ("port", Value::Integer(0)),
        ("grace", Value::Duration(90_000)),
        ("load", Value::String("much".into())),
        ("auto_start", Value::String("often".into())),
        ("cardinality", Value::String("many".into())),
        ("colour", Value::Boolean(true)),
    ];
    let errors = tree.check(&"database".into(), &given(&wrong)).unwrap_err();
    let shown: Vec<String> = errors
        .iter()
        .map(|error| format!("{error}; {}; {}", error.fault.expected(), error.fault.remedy()))
        .collect();
    assert_eq!(
        shown,
        [
            "`auto_start` is `often`; `always`, `restore` or `never`; correct the value",
            "`cardinality` is `many`; a whole number or `uniform`; correct the value",
            "type `database` has no attribute `colour`; an attribute of type `database`; take it out, or add \
             it to type `database`",
            "`grace` is 90s; 0s to 1m; correct the value",
            "`load` is text, not a whole number; a whole number; correct the value",
            "`port` is 0; 1 to 65535; correct the value",
            "type `database` has no attribute `prot`; an attribute of type `database`; did you mean `port`?",
            "`sid` is missing: type `database` requires it; text; give `sid`",
        ]
    );
}

/// What a user's type may change of each built-in attribute: its default, never its kind.
#[test]
fn table_of_built_in_attributes_and_kinds() {
    let kinds = [ValueKind::String, ValueKind::Integer, ValueKind::Boolean, ValueKind::Duration];
    for built_in in built_in::ATTRIBUTES.iter().filter(|a| !["name", "type"].contains(&a.name)) {
        let base = if ["floating_ip", "mirror_disk"].contains(&built_in.on) { built_in.on } else { "exec" };
        for kind in kinds {
            let types = BTreeMap::from([with("t", base, &[(built_in.name, attribute(kind))])]);
            let number = matches!(built_in.kind, AttributeKind::NumberOr(_)) && kind == ValueKind::Integer;
            let fits = built_in.kind.as_value() == kind || number;
            assert_eq!(TypeTree::new(&types).is_ok(), fits, "{} {kind}", built_in.name);
        }
    }
}

/// What only disks have is free for others: `port` and `size` are too common to be refused.
#[test]
fn a_type_may_have_an_attribute_called_as_one_of_disks() {
    let types = BTreeMap::from([with("t", "exec", &[("size", attribute(ValueKind::Boolean))])]);
    let tree = TypeTree::new(&types).unwrap();
    let size = tree.attribute(&"t".into(), "size").unwrap();
    assert_eq!((size.kind, size.defined_by), (AttributeKind::Value(ValueKind::Boolean), "t".into()));
    assert!(tree.presets(&"t".into()).is_empty());
    assert!(tree.attribute(&"exec".into(), "size").is_none());
    // Its own times are those of disks.
    let start = tree.attribute(&"mirror_disk".into(), "start_timeout").unwrap();
    assert_eq!(start.default, Some(Value::Duration(300_000)));
    assert!(tree.attribute(&"mirror_disk".into(), "start").is_none());
}

proptest! {
    /// Every tree that is accepted ends in the root; every one that is not says why.
    #[test]
    fn every_way_ends_in_the_root(bases in prop::collection::vec(0..9usize, 1..7)) {
        let name = |n: usize| format!("t{n}");
        let list: Vec<(String, String)> = bases
            .iter()
            .enumerate()
            .map(|(n, base)| (name(n), if *base > 6 { "exec".to_owned() } else { name(*base) }))
            .collect();
        let list: Vec<(&str, &str)> = list.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let user = types(&list);
        match TypeTree::new(&user) {
            Ok(tree) => {
                for name in user.keys() {
                    prop_assert_eq!(tree.ancestors(name).pop(), Some(ROOT.into()));
                    prop_assert_eq!(tree.scope(name), Some(Scope::Cluster));
                }
            }
            Err(errors) => {
                prop_assert!(!errors.is_empty());
                for error in errors {
                    if let TypeFault::Circle { path } = error.fault {
                        prop_assert_eq!(path.first(), path.last());
                        for pair in path.windows(2) {
                            prop_assert_eq!(&user[&pair[0]].base, &pair[1]);
                        }
                    }
                }
            }
        }
    }
}
