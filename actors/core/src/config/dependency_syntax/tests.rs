#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn start(text: &str) -> Vec<String> {
    parse_start(text).unwrap().into_iter().map(|written| written.value.to_string()).collect()
}

fn stop(text: &str) -> Vec<String> {
    parse_stop(text).unwrap().into_iter().map(|written| written.value.to_string()).collect()
}

/// The wrong word with its neighbours, what is wrong with it, what is expected, what to do.
fn shown(text: &str, wrong: &SyntaxError) -> String {
    let (before, rest) = text.split_at(wrong.span.start);
    let (word, after) = rest.split_at(wrong.span.len());
    format!("{before}[{word}]{after}: {}; {}; {}", wrong, wrong.fault.expected(), wrong.fault.remedy())
}

fn wrong_start(text: &str) -> String {
    shown(text, &parse_start(text).unwrap_err())
}

fn wrong_stop(text: &str) -> String {
    shown(text, &parse_stop(text).unwrap_err())
}

#[test]
fn the_line_of_the_reference() {
    let line = "hard(a,global:b,intermediate:type:t) pullup:always(a) attraction(type:t) \
                dispersion:active(c) weak(concurrent:d)";
    assert_eq!(
        start(line),
        [
            "hard(a)",
            "hard(global:b)",
            "hard(intermediate:type:t)",
            "pullup:always(a)",
            "attraction(type:t)",
            "dispersion:active(c)",
            "weak(concurrent:d)",
        ]
    );
    assert_eq!(stop("hard(intermediate:global:shutdown:a)"), ["hard(intermediate:global:shutdown:a)"]);
    let read: Vec<_> = parse_start(line).unwrap().into_iter().map(|written| written.value).collect();
    assert_eq!(
        start_line(&read),
        "hard(a,global:b,intermediate:type:t) weak(concurrent:d) attraction(type:t) pullup:always(a) \
         dispersion:active(c)"
    );
}

#[test]
fn spaces_do_not_matter_and_nothing_is_nothing() {
    assert_eq!(start(""), Vec::<String>::new());
    assert_eq!(start("  \n "), Vec::<String>::new());
    assert_eq!(start(" hard ( a , global:b )\n pullup( a )"), ["hard(a)", "hard(global:b)", "pullup(a)"]);
    assert_eq!(start_line(&[]), "");
    assert_eq!(stop_line(&[]), "");
}

#[test]
fn the_last_word_is_the_name_whatever_it_is() {
    assert_eq!(start("hard(global)"), ["hard(global)"]);
    assert_eq!(start("hard(global:global)"), ["hard(global:global)"]);
    assert_eq!(start("hard(type)"), ["hard(type)"]);
    let typed = parse_start("hard(type:type)").unwrap();
    assert_eq!(typed[0].value.on, Named::Type("type".into()));
    assert_eq!(start("weak(ora.net1.network)"), ["weak(ora.net1.network)"]);
}

#[test]
fn spans_point_at_each_dependency() {
    let text = "hard(a, global:type:t) pullup(襷)";
    let words: Vec<&str> = parse_start(text).unwrap().iter().map(|w| &text[w.span.clone()]).collect();
    assert_eq!(words, ["a", "global:type:t", "襷"]);
}

/// Which modifier may stand before a name and before the bracket of which kind.
#[test]
fn table_of_modifiers_and_kinds() {
    let table = [
        // kind, before a name, before the bracket
        ("hard", "intermediate global", ""),
        ("weak", "concurrent global uniform", ""),
        ("attraction", "intermediate", ""),
        ("pullup", "intermediate global", "always"),
        ("dispersion", "intermediate", "active"),
    ];
    assert_eq!(table.map(|(kind, ..)| kind), START_KINDS);
    for (kind, inside, before) in table {
        for modifier in MODIFIERS {
            for named in ["a", "type:a"] {
                let text = format!("{kind}({modifier}:{named})");
                let allowed = inside.split(' ').any(|word| word == modifier);
                assert_eq!(parse_start(&text).is_ok(), allowed, "{text}");
                let text = format!("{kind}:{modifier}({named})");
                let allowed = before.split(' ').any(|word| word == modifier);
                assert_eq!(parse_start(&text).is_ok(), allowed, "{text}");
            }
        }
        assert!(parse_stop(&format!("{kind}(a)")).is_ok() == (kind == "hard"), "stop {kind}");
    }
    for modifier in MODIFIERS {
        let allowed = ["intermediate", "global", "shutdown"].contains(&modifier);
        assert_eq!(parse_stop(&format!("hard({modifier}:a)")).is_ok(), allowed, "stop {modifier}");
        assert!(parse_stop(&format!("hard:{modifier}(a)")).is_err(), "stop {modifier}");
    }
}

/// Each modifier sets its own field, and its absence the other value.
#[test]
fn table_of_modifiers_and_fields() {
    let kind = |text: &str| parse_start(text).unwrap()[0].value.kind;
    for (a, b) in [(false, false), (false, true), (true, false), (true, true)] {
        let word = |is: bool, word: &str| if is { format!("{word}:") } else { String::new() };
        let (i, g) = (word(a, "intermediate"), word(b, "global"));
        assert_eq!(kind(&format!("hard({i}{g}x)")), StartKind::Hard { intermediate: a, global: b });
        assert_eq!(kind(&format!("attraction({i}x)")), StartKind::Attraction { intermediate: a });
        for always in [false, true] {
            let mark = if always { ":always" } else { "" };
            assert_eq!(
                kind(&format!("pullup{mark}({g}{i}x)")),
                StartKind::Pullup { always, intermediate: a, global: b }
            );
            let mark = if always { ":active" } else { "" };
            assert_eq!(
                kind(&format!("dispersion{mark}({i}x)")),
                StartKind::Dispersion { active: always, intermediate: a }
            );
            let (c, u) = (word(always, "concurrent"), word(a, "uniform"));
            assert_eq!(
                kind(&format!("weak({u}{g}{c}x)")),
                StartKind::Weak { concurrent: always, global: b, uniform: a }
            );
            let s = word(always, "shutdown");
            let read = parse_stop(&format!("hard({i}{g}{s}x)")).unwrap()[0].value.clone();
            let on = Named::Resource("x".into());
            assert_eq!(read, StopDependency { on, intermediate: a, global: b, shutdown: always });
        }
    }
}

#[test]
fn what_is_wrong_is_pointed_at() {
    let cases = [
        (
            "hrad(a)",
            "[hrad](a): `hrad` is no kind of start dependency; `hard`, `weak`, `attraction`, `pullup` or \
             `dispersion`; did you mean `hard`?",
        ),
        (
            "hard(a) exclusion(preempt_pre:e)",
            "hard(a) [exclusion](preempt_pre:e): `exclusion` belongs to later versions of the reference and \
             does not exist here; `hard`, `weak`, `attraction`, `pullup` or `dispersion`; use `dispersion` to \
             keep two resources on different servers",
        ),
        (
            "hard(gobal:a)",
            "hard([gobal]:a): `gobal` is no modifier of `hard`; `intermediate`, `global` or `type`, each at \
             most once, then the name; did you mean `global`?",
        ),
        (
            "hard(a,concurrent:b)",
            "hard(a,[concurrent]:b): `concurrent` is no modifier of `hard`; `intermediate`, `global` or \
             `type`, each at most once, then the name; `hard` does not have it: take it out",
        ),
        (
            "hard:global(a)",
            "hard:[global](a): `global` of `hard` stands at the wrong side of the bracket; \
             `hard(global:NAME)`; write `hard(global:NAME)`",
        ),
        (
            "pullup(always:a)",
            "pullup([always]:a): `always` of `pullup` stands at the wrong side of the bracket; \
             `pullup:always(NAME)`; write `pullup:always(NAME)`",
        ),
        (
            "weak:soon(a)",
            "weak:[soon](a): `soon` is no modifier of `weak`; `weak(` without a modifier; take it out, or \
             correct it",
        ),
        (
            "hard(global:global:a)",
            "hard(global:[global]:a): `global` stands here twice; each modifier once; take one of the two out",
        ),
        (
            "pullup:always:always(a)",
            "pullup:always:[always](a): `always` stands here twice; each modifier once; take one of the two \
             out",
        ),
        (
            "hard(type:global:t)",
            "hard([type]:global:t): `type` does not stand last, before the name; modifiers, then `type:`, \
             then the name of a type; put `type:` directly before the name",
        ),
        (
            "hard()",
            "hard([]): a name is missing; the name of a resource, or `type:` and the name of a type; write a \
             name there, or take the comma or the brackets out",
        ),
        (
            "hard(a,,b)",
            "hard(a,[],b): a name is missing; the name of a resource, or `type:` and the name of a type; \
             write a name there, or take the comma or the brackets out",
        ),
        (
            "hard(type:)",
            "hard(type:[]): a name is missing; the name of a resource, or `type:` and the name of a type; \
             write a name there, or take the comma or the brackets out",
        ),
        (
            "hard a",
            "hard[] a: an opening bracket is missing after `hard`; `kind(name,name)`; write `hard(NAME)`",
        ),
        (
            "hard(a",
            "hard(a[]: the bracket is not closed; `)` after the last name, or `,` before another one; close \
             the bracket",
        ),
        (
            "hard(a weak(b)",
            "hard(a[] weak(b): the bracket is not closed; `)` after the last name, or `,` before another one; \
             close the bracket",
        ),
        (
            "hard(a), weak(b)",
            "hard(a)[,] weak(b): ',' does not belong here; kinds separated by spaces: `hard(a) pullup(a)`; \
             take it out",
        ),
        (
            "hard(db#1)",
            "hard([db#1]): `db#1` has '#' in it; a name, then `,` or `)`; correct the name, or close the \
             bracket before it goes on",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(wrong_start(text), expected);
    }
    assert_eq!(
        wrong_stop("pullup(a)"),
        "[pullup](a): `pullup` is no kind of stop dependency; `hard`, the only kind of stop dependency; use \
         `hard`, or make it a start dependency"
    );
    assert_eq!(
        wrong_stop("hard(uniform:a)"),
        "hard([uniform]:a): `uniform` is no modifier of `hard`; `intermediate`, `global`, `shutdown` or \
         `type`, each at most once, then the name; `hard` does not have it: take it out"
    );
}

fn named() -> impl Strategy<Value = Named> {
    // Also names that look like modifiers.
    let name = prop_oneof!["[a-zA-Z][a-zA-Z0-9_.-]{0,6}", "global|type|always|hard"];
    (name, any::<bool>()).prop_map(|(name, is_type)| {
        if is_type { Named::Type(name.as_str().into()) } else { Named::Resource(name.as_str().into()) }
    })
}

fn start_kind() -> impl Strategy<Value = StartKind> {
    (0..5, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(kind, a, b, c)| match kind {
        0 => StartKind::Hard { intermediate: a, global: b },
        1 => StartKind::Weak { concurrent: a, global: b, uniform: c },
        2 => StartKind::Attraction { intermediate: a },
        3 => StartKind::Pullup { always: a, intermediate: b, global: c },
        _ => StartKind::Dispersion { active: a, intermediate: b },
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        mut list in prop::collection::vec((named(), start_kind()), 0..8)
            .prop_map(|list| list.into_iter().map(|(on, kind)| StartDependency { on, kind }).collect::<Vec<_>>()),
        stops in prop::collection::vec((named(), any::<[bool; 3]>()), 0..8),
    ) {
        let line = start_line(&list);
        let read: Vec<_> = parse_start(&line).unwrap().into_iter().map(|w| w.value).collect();
        normalise_start(&mut list);
        prop_assert_eq!(&read, &list);
        prop_assert_eq!(start_line(&read), line);
        for one in &list {
            prop_assert_eq!(&parse_start(&one.to_string()).unwrap()[0].value, one);
        }

        let mut stops: Vec<_> = stops
            .into_iter()
            .map(|(on, [intermediate, global, shutdown])| StopDependency { on, intermediate, global, shutdown })
            .collect();
        let line = stop_line(&stops);
        let read: Vec<_> = parse_stop(&line).unwrap().into_iter().map(|w| w.value).collect();
        normalise_stop(&mut stops);
        prop_assert_eq!(read, stops);
    }

    /// Any text gives an answer, and what is wrong lies within it.
    #[test]
    fn no_text_is_too_wrong(text in "([ (),:a-d#]|hard|type|global|pullup|襷){0,12}") {
        for wrong in [parse_start(&text).err(), parse_stop(&text).err()].into_iter().flatten() {
            prop_assert!(text.get(wrong.span.clone()).is_some(), "{:?} in {:?}", wrong, text);
            prop_assert!(!wrong.to_string().is_empty() && !wrong.fault.remedy().is_empty());
        }
    }
}
