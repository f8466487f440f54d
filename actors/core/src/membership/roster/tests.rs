use super::*;

const A: RaftId = RaftId(1);
const B: RaftId = RaftId(2);
const C: RaftId = RaftId(3);

fn set(ids: &[RaftId]) -> BTreeSet<RaftId> {
    ids.iter().copied().collect()
}

fn record(number: u64, mode: Mode) -> Record {
    Record { lineage: Lineage::from("one"), number, mode }
}

fn note(number: u64, mode: Mode, made: bool) -> TieBreakNote {
    TieBreakNote { record: record(number, mode), made, place: "witness".into() }
}

struct Case {
    configs: Vec<BTreeSet<RaftId>>,
    number: u64,
    wanted: BTreeSet<RaftId>,
    place: Option<&'static str>,
    found: Found,
    note: Option<TieBreakNote>,
}

impl Case {
    fn settled(voters: &[RaftId], number: u64, mode: Mode) -> Self {
        Self {
            configs: vec![set(voters)],
            number,
            wanted: set(voters),
            place: Some("witness"),
            found: Found::Read(Some(record(number, mode))),
            note: Some(note(number, mode, true)),
        }
    }

    fn step(&self) -> Result<Option<Step>, Trouble> {
        next_step(&Input {
            me: A,
            lineage: &Lineage::from("one"),
            configs: &self.configs,
            number: self.number,
            committed: true,
            wanted: &self.wanted,
            place: self.place,
            found: &self.found,
            note: self.note.as_ref(),
        })
    }
}

fn pair() -> Case {
    Case::settled(&[A, B], 3, Mode::Pair(A, B))
}

fn writes(from: (u64, Mode), to: (u64, Mode)) -> Result<Option<Step>, Trouble> {
    Ok(Some(Step::Write { from: Some(record(from.0, from.1)), to: record(to.0, to.1) }))
}

fn votes(voters: &[RaftId], number: u64) -> Result<Option<Step>, Trouble> {
    Ok(Some(Step::Vote { voters: set(voters), number }))
}

#[test]
fn r17_founding_commits_before_it_writes_and_again_after() {
    let founder = Case { found: Found::Read(None), note: None, ..Case::settled(&[A], 1, Mode::Sole(A)) };
    assert_eq!(founder.step(), Ok(Some(Step::Write { from: None, to: record(1, Mode::Sole(A)) })));
    let written = Case { note: Some(note(1, Mode::Sole(A), false)), ..Case::settled(&[A], 1, Mode::Sole(A)) };
    let made = Step::Note { record: record(1, Mode::Sole(A)), made: true };
    assert_eq!(written.step(), Ok(Some(made)));
    assert_eq!(Case::settled(&[A], 1, Mode::Sole(A)).step(), Ok(None));
}

#[test]
fn r17_a_record_that_is_gone_is_a_loss_and_one_of_others_is_refused() {
    let lost = Case { found: Found::Read(None), ..pair() };
    assert_eq!(lost.step(), Err(Trouble::Lost("witness".into())));
    let foreign = Record { lineage: Lineage::from("other"), ..record(3, Mode::Pair(A, B)) };
    let foreign = Case { found: Found::Read(Some(foreign)), ..pair() };
    assert_eq!(foreign.step(), Err(Trouble::Foreign("witness".into())));
}

#[test]
fn r15_widened_only_with_the_number_that_both_have() {
    let joined = Case { wanted: set(&[A, B]), ..Case::settled(&[A], 1, Mode::Sole(A)) };
    assert_eq!(joined.step(), votes(&[A, B], 2));
    let both = Case { configs: vec![set(&[A, B])], number: 2, ..joined };
    assert_eq!(both.step(), writes((1, Mode::Sole(A)), (2, Mode::Pair(A, B))));
    let stale = Case { number: 1, ..both };
    assert_eq!(stale.step(), votes(&[A, B], 2), "the same voters again, with a higher number");
}

#[test]
fn r15_closed_before_a_third_comes_and_narrowed_before_one_of_two_leaves() {
    let third = Case { wanted: set(&[A, B, C]), ..pair() };
    assert_eq!(third.step(), writes((3, Mode::Pair(A, B)), (4, Mode::Majority)));
    let closed = Case { found: Found::Read(Some(record(4, Mode::Majority))), ..third };
    let closed = Case { note: Some(note(4, Mode::Majority, true)), ..closed };
    assert_eq!(closed.step(), votes(&[A, B, C], 5));

    let leaves = Case { wanted: set(&[A]), ..pair() };
    assert_eq!(leaves.step(), writes((3, Mode::Pair(A, B)), (4, Mode::Sole(A))));
    let narrowed = Case { found: Found::Read(Some(record(4, Mode::Sole(A)))), ..leaves };
    assert_eq!(narrowed.step(), votes(&[A], 5));
    let stays = Case { wanted: set(&[A, B]), ..narrowed };
    assert_eq!(stays.step(), votes(&[A, B], 5), "and back: a number that both have first");
}

#[test]
fn three_become_two_straight_from_closed_to_both() {
    let two = Case { wanted: set(&[A, B]), ..Case::settled(&[A, B, C], 5, Mode::Majority) };
    assert_eq!(two.step(), votes(&[A, B], 6));
    let two = Case { configs: vec![set(&[A, B])], number: 6, ..two };
    assert_eq!(two.step(), writes((5, Mode::Majority), (6, Mode::Pair(A, B))));
}

#[test]
fn r15_the_write_of_an_earlier_leader_is_overtaken_before_the_voters_change() {
    // It noted "both" and is gone; its write may still be under way.
    let mut third = Case { wanted: set(&[A, B, C]), ..Case::settled(&[A, B], 6, Mode::Majority) };
    third.found = Found::Read(Some(record(5, Mode::Majority)));
    third.note = Some(note(6, Mode::Pair(A, B), true));
    assert_eq!(third.step(), writes((5, Mode::Majority), (7, Mode::Majority)));
}

#[test]
fn r15_only_its_owner_changes_a_record_that_names_one() {
    let other = Case { found: Found::Read(Some(record(4, Mode::Sole(B)))), ..pair() };
    assert_eq!(other.step(), Ok(Some(Step::HandOver(B))));
    let gone = Case { found: Found::Read(Some(record(4, Mode::Sole(C)))), ..pair() };
    assert_eq!(gone.step(), Err(Trouble::Taken(C)));
}

#[test]
fn after_a_claim_the_note_follows_the_record() {
    let claimed =
        Case { note: Some(note(3, Mode::Pair(A, B), true)), ..Case::settled(&[A], 4, Mode::Sole(A)) };
    assert_eq!(claimed.step(), Ok(Some(Step::Note { record: record(4, Mode::Sole(A)), made: true })));
}

#[test]
fn a_record_at_another_place_is_outnumbered_before_one_is_made_here() {
    let moved = Case { place: Some("files"), found: Found::Read(None), ..pair() };
    assert_eq!(moved.step(), votes(&[A, B], 4));
    let moved = Case { number: 4, ..moved };
    assert_eq!(moved.step(), Ok(Some(Step::Write { from: None, to: record(4, Mode::Pair(A, B)) })));
    let dropped = Case { place: None, found: Found::NotRead, ..pair() };
    assert_eq!(dropped.step(), votes(&[A, B], 4));
    let dropped = Case { number: 4, ..dropped };
    let reset = Step::Note { record: record(4, Mode::Majority), made: false };
    assert_eq!(dropped.step(), Ok(Some(reset)));
}

#[test]
fn nothing_without_a_reading_and_nothing_while_the_last_change_is_not_committed() {
    let unread = Case { found: Found::NotRead, ..pair() };
    assert_eq!(unread.step(), Ok(Some(Step::Read)));
    let case = Case { wanted: set(&[A, B, C]), ..pair() };
    let (lineage, configs) = (Lineage::from("one"), case.configs.clone());
    let input = Input {
        me: A,
        lineage: &lineage,
        configs: &configs,
        number: 3,
        committed: false,
        wanted: &case.wanted,
        place: case.place,
        found: &case.found,
        note: case.note.as_ref(),
    };
    assert_eq!(next_step(&input), Ok(None));
}

#[test]
fn a_change_that_was_left_half_done_is_ended() {
    let half = Case {
        configs: vec![set(&[A, B]), set(&[A, B, C])],
        number: 5,
        wanted: set(&[A, B, C]),
        ..Case::settled(&[A, B], 4, Mode::Majority)
    };
    assert_eq!(half.step(), votes(&[A, B, C], 6));
}
