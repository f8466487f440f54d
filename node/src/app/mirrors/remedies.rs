//! What to do about a copy that is not open, in a sentence: the pages of `docs/errors` say more.

/// The remedy for a problem whose text begins with its code.
#[must_use]
pub fn remedy(problem: &str) -> Option<&'static str> {
    let code = problem.get(..8)?;
    Some(match code {
        "TSK-1807" => {
            "replace the disk or put it in order, then `tasuki mirror rebuild`: all of it is compared, and copied \
             where it differs"
        }
        "TSK-1820" => {
            "look after the disk, or correct the path with `tasuki resource modify`; it is tried again by itself"
        }
        "TSK-1821" => "unmount it, or end who uses it; it is tried again by itself",
        "TSK-1822" => {
            "check the path; if nobody needs that copy, write zeroes over the area's first 10 MB: it is made anew"
        }
        "TSK-1823" => "check the path; if nobody needs what is there, write zeroes over its first 10 MB",
        "TSK-1824" => {
            "where another copy is good: write zeroes over the first 10 MB of the management area, and \
             everything is copied from there; where this one is the last: `docs/errors/TSK-1824.md`"
        }
        "TSK-1825" => "install the newer version of Tasuki here too",
        "TSK-1826" => "make both data areas equally large, or correct `size`",
        "TSK-1827" => "check the path; `docs/errors/TSK-1827.md` says how to go on without what it held",
        "TSK-1828" => "make space; it is tried again by itself",
        "TSK-1829" => "use a partition or file of its own",
        "TSK-1862" => {
            "look after the other server's disk; a `peer_timeout` other than `0s` goes on without it"
        }
        "TSK-1861" => "end the program that listens there, or give the disk another `port`",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_with_a_code_has_a_remedy_and_other_text_has_none() {
        assert!(remedy("TSK-1821: /d is in use: mounted").is_some_and(|text| text.contains("unmount")));
        assert_eq!(remedy("TSK-1805: apart"), None, "what it says stands in a line of its own");
        assert_eq!(remedy("short"), None);
        assert_eq!(remedy("ääääääää"), None);
    }
}
