//! The nearest right word for a wrong one.

/// The candidate that was probably meant: at most a third of its letters wrong (at least one), or a
/// part of it.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let limit = (word.chars().count() / 3).max(1);
    let score = |candidate: &'a str| {
        let lower = candidate.to_lowercase();
        let distance = strsim::osa_distance(&word, &lower);
        let part = word.len() >= 3 && lower.len() >= 3 && (lower.contains(&word) || word.contains(&lower));
        // A part of a word is meant rather than a word that merely looks alike further off.
        (distance <= limit || part).then_some((distance > limit, distance, candidate))
    };
    candidates.into_iter().filter_map(score).min().map(|(.., candidate)| candidate)
}

/// "`a`, `b` or `c`"
pub(crate) fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        None => "nothing".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

/// "did you mean …?" when there is a near word, `otherwise` if not.
pub(crate) fn did_you_mean(near: Option<&str>, otherwise: impl Into<String>) -> String {
    near.map_or_else(|| otherwise.into(), |near| format!("did you mean `{near}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let keys = ["name", "detect", "witness", "voting_file"];
        assert_eq!(nearest("detct", keys), Some("detect"));
        assert_eq!(nearest("nmae", keys), Some("name"));
        assert_eq!(nearest("Detect", keys), Some("detect"));
        assert_eq!(nearest("voting-file", keys), Some("voting_file"));
        assert_eq!(nearest("file", keys), Some("voting_file"));
        assert_eq!(nearest("colour", keys), None);
    }

    #[test]
    fn lists_words() {
        assert_eq!(one_of([]), "nothing");
        assert_eq!(one_of(["a"]), "`a`");
        assert_eq!(one_of(["a", "b", "c"]), "`a`, `b` or `c`");
    }
}
