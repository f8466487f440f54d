//! R33: a mirrored disk answers when both copies have a write, and there is no other level: what a file asks
//! for besides is refused, whatever it is called.
#![allow(clippy::unwrap_used)]

use tasuki_config::{Code, parse};

const RECEIVE: &str = include_str!("bad/mirror_answers_early.toml");
const LEVEL: &str = "acknowledge = \"receive\"";

#[test]
fn r33_a_level_at_which_a_good_copy_may_lack_an_answered_write_is_refused() {
    assert!(RECEIVE.contains(LEVEL));
    for level in
        [LEVEL, "acknowledge = \"async\"", "level = \"receive\"", "mode = \"async\"", "protocol = \"A\""]
    {
        let errors = parse(&RECEIVE.replace(LEVEL, level), "level.toml").unwrap_err();
        let codes: Vec<Code> = errors.problems().iter().map(|problem| problem.code).collect();
        assert_eq!(codes, [Code::UnknownKey], "{errors}");
    }
    assert!(parse(&RECEIVE.replace(LEVEL, ""), "level.toml").is_ok(), "nothing else is wrong with it");
}
