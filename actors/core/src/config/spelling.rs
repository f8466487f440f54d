//! The nearest right word for a wrong one.

use std::collections::BTreeMap;

/// The candidate that was probably meant: at most a third of its letters wrong (at least one), or a
/// part of it. Capital letters do not matter.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let limit = (word.chars().count() / 3).max(1);
    let score = |candidate: &'a str| {
        let lower = candidate.to_lowercase();
        let far = distance(&word, &lower);
        let part = word.len() >= 3 && lower.len() >= 3 && (lower.contains(&word) || word.contains(&lower));
        // A word that looks alike is meant rather than one that merely has it as a part.
        (far <= limit || part).then_some((far > limit, far, candidate))
    };
    candidates.into_iter().filter_map(score).min().map(|(.., candidate)| candidate)
}

/// How many letters must be put in, taken out, changed, or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut least = (above[j] + usize::from(x != y)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

/// "`a`, `b` or `c`"
#[must_use]
pub fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        None => "nothing".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

/// Two names that differ only by capital letters: the second one to come, and the first.
#[must_use]
pub fn differ_by_case<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<(&'a str, &'a str)> {
    let mut seen: BTreeMap<String, &'a str> = BTreeMap::new();
    let mut pairs = Vec::new();
    for name in names {
        match seen.get(&name.to_lowercase()) {
            Some(first) if *first != name => pairs.push((name, *first)),
            Some(_) => {}
            None => {
                seen.insert(name.to_lowercase(), name);
            }
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let keys = ["hard", "weak", "attraction", "pullup", "dispersion"];
        assert_eq!(nearest("hrad", keys), Some("hard"));
        assert_eq!(nearest("Hard", keys), Some("hard"));
        assert_eq!(nearest("pull-up", keys), Some("pullup"));
        assert_eq!(nearest("dispersal", keys), Some("dispersion"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest("net", ["ora.net1.network"]), Some("ora.net1.network"));
        assert_eq!(nearest("db", []), None);
    }

    #[test]
    fn distances() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "abc", 0),
            ("abc", "acb", 1),
            ("abc", "ab", 1),
            ("kitten", "sitting", 3),
            ("襷", "帯", 1),
        ] {
            assert_eq!((distance(a, b), distance(b, a)), (expected, expected), "{a} {b}");
        }
    }

    #[test]
    fn lists_words() {
        assert_eq!(one_of([]), "nothing");
        assert_eq!(one_of(["a"]), "`a`");
        assert_eq!(one_of(["a", "b", "c"]), "`a`, `b` or `c`");
    }

    #[test]
    fn names_that_differ_by_capital_letters() {
        assert_eq!(differ_by_case(["db", "web", "DB", "db", "Web"]), [("DB", "db"), ("Web", "web")]);
    }
}
