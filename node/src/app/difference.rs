//! The difference of two texts, line by line, as a unified diff.

use std::fmt::Write as _;

/// Lines around a difference that are shown with it.
const CONTEXT: usize = 3;
/// Beyond this many comparisons the differing middle is shown as one piece.
const MOST: usize = 16 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line<'a> {
    Same(&'a str),
    Old(&'a str),
    New(&'a str),
}

/// The lines in which two texts differ; empty when there are none.
#[must_use]
pub fn unified(old: &str, new: &str, old_name: &str, new_name: &str) -> String {
    let lines = compare(&old.lines().collect::<Vec<_>>(), &new.lines().collect::<Vec<_>>());
    let changed = |line: &Line<'_>| !matches!(line, Line::Same(_));
    if !lines.iter().any(changed) {
        return String::new();
    }
    let mut text = format!("--- {old_name}\n+++ {new_name}\n");
    let (mut at, mut old_at, mut new_at) = (0, 1, 1);
    while let Some(first) = lines[at..].iter().position(changed).map(|n| at + n) {
        let begin = first.saturating_sub(CONTEXT).max(at);
        // A piece goes on as long as the next difference is near.
        let mut last = first;
        while let Some(next) = lines[last + 1..].iter().position(changed) {
            if next > 2 * CONTEXT {
                break;
            }
            last += 1 + next;
        }
        let end = (last + 1 + CONTEXT).min(lines.len());
        old_at += begin - at;
        new_at += begin - at;
        let piece = &lines[begin..end];
        let olds = piece.iter().filter(|line| !matches!(line, Line::New(_))).count();
        let news = piece.iter().filter(|line| !matches!(line, Line::Old(_))).count();
        let start = |at: usize, count: usize| if count == 0 { at - 1 } else { at };
        let _ = writeln!(text, "@@ -{},{olds} +{},{news} @@", start(old_at, olds), start(new_at, news));
        for line in piece {
            let (mark, line) = match line {
                Line::Same(line) => (' ', line),
                Line::Old(line) => ('-', line),
                Line::New(line) => ('+', line),
            };
            let _ = writeln!(text, "{mark}{line}");
        }
        (at, old_at, new_at) = (end, old_at + olds, new_at + news);
    }
    text
}

/// Every line of both texts, with a longest common subsequence as what is the same.
fn compare<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let rest = old.len().min(new.len()) - head;
    let tail = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let (old_middle, new_middle) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    let mut lines: Vec<Line<'a>> = old[..head].iter().map(|line| Line::Same(line)).collect();
    if old_middle.len().saturating_mul(new_middle.len()) > MOST {
        lines.extend(old_middle.iter().map(|line| Line::Old(line)));
        lines.extend(new_middle.iter().map(|line| Line::New(line)));
    } else {
        middle(old_middle, new_middle, &mut lines);
    }
    lines.extend(old[old.len() - tail..].iter().map(|line| Line::Same(line)));
    lines
}

fn middle<'a>(old: &[&'a str], new: &[&'a str], lines: &mut Vec<Line<'a>>) {
    // common[i][j]: how many lines old[i..] and new[j..] have in common, in order.
    let width = new.len() + 1;
    let mut common = vec![0u32; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i * width + j] = if old[i] == new[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push(Line::Same(old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len()
            || (i < old.len() && common[(i + 1) * width + j] >= common[i * width + j + 1])
        {
            lines.push(Line::Old(old[i]));
            i += 1;
        } else {
            lines.push(Line::New(new[j]));
            j += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_have_no_difference() {
        assert_eq!(unified("a\nb\n", "a\nb\n", "x", "y"), "");
    }

    #[test]
    fn a_changed_line_is_shown_with_what_is_around_it() {
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let new = "1\n2\n3\n4\nfive\n6\n7\n8\n9\n";
        let expected = "--- a\n+++ b\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n";
        assert_eq!(unified(old, new, "a", "b"), expected);
    }

    #[test]
    fn far_differences_are_pieces_of_their_own_and_numbers_follow() {
        let old: String = (1..=30).map(|n| format!("{n}\n")).collect();
        let new = old.replacen("2\n", "2\ntwo and a half\n", 1).replace("29\n", "");
        let text = unified(&old, &new, "a", "b");
        assert_eq!(text.matches("@@ -").count(), 2, "{text}");
        assert!(text.contains("@@ -1,5 +1,6 @@") && text.contains("@@ -26,5 +27,4 @@"), "{text}");
        assert!(text.contains("\n+two and a half\n") && text.contains("\n-29\n"));
    }

    #[test]
    fn something_from_nothing_begins_at_line_zero() {
        assert_eq!(unified("", "a\n", "x", "y"), "--- x\n+++ y\n@@ -0,0 +1,1 @@\n+a\n");
    }
}
