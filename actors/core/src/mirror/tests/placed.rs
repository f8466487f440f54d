//! R40: whom a group with a mirrored disk is given to, when all servers lost their power and one boots.

use std::{collections::BTreeSet, time::Duration};

use super::{
    disk::name,
    lapse::{self, Lapse},
    settings::Settings,
    world::World,
};
use crate::{
    placement::plan::{Input, decide},
    registry::Command,
};

/// Both lost their power, and lala's copy lacks what was written last; these boot. Whom the group is given to.
fn given(boots: &[usize]) -> Option<usize> {
    let mut world = World::new(Settings { known_equal: true, ..Settings::of(2) });
    for line in [
        "open kiki",
        "write kiki 0",
        "cut kiki lala",
        "write kiki 1",
        "power kiki and power lala and gone kiki and gone lala",
    ] {
        world.line(line);
    }
    for boot in boots {
        world.line(&format!("start {}", name(*boot)));
    }
    let fit: BTreeSet<_> = boots.iter().map(|boot| name(*boot)).collect();
    let input = Input { state: &world.state, fit: &fit, since_start: Duration::from_secs(3600) };
    decide(&input).into_iter().find_map(|decision| match decision.command {
        Command::Assign { server, .. } => (0..2).find(|side| name(*side) == server),
        _ => None,
    })
}

#[test]
fn r40_a_group_is_given_to_nobody_until_the_one_with_the_good_copy_boots() {
    lapse::take_out(None);
    assert_eq!(given(&[1]), None);
    assert_eq!(given(&[1, 0]), Some(0));
}

#[test]
fn r40_without_it_whoever_boots_first_is_given_the_group() {
    lapse::take_out(Some(Lapse::AnyCopy));
    let given = given(&[1]);
    lapse::take_out(None);
    assert_eq!(given, Some(1));
}
