//! Reads while a repository changes: the reads, the changes, and the requirements on responses.

pub mod moves;
pub mod run;

use self::moves::{Identifier, Move, State};
pub use self::run::MAX_AGE;
use self::run::{Plan, ReadKind, reads};

/// Images with greater numbers are pushed and deleted during the test.
const LASTING: u64 = 100;

pub fn by_tag(tag: &'static str) -> Identifier {
    Identifier { number: None, tag: Some(tag) }
}

pub fn by_digest(number: u64) -> Identifier {
    Identifier { number: Some(number), tag: None }
}

pub fn a_tag_that_moves_is_always_found() -> Plan {
    Plan {
        test: "a tag that moves",
        set_up: [1, 2, 3].map(Move::Push).into_iter().chain([Move::Tag(1, "latest")]).collect(),
        next: |moves, _, _| Move::Tag(1 + moves % 3, "latest"),
        kind: ReadKind::Find(|_, _| vec![by_tag("latest")]),
        reads: reads(),
    }
}

pub fn an_image_that_exists_is_always_found_by_its_digest() -> Plan {
    Plan {
        test: "an image by its digest",
        set_up: [1, 2, 3].map(Move::Push).into(),
        next: |moves, state, random| {
            let number = 1 + random.below(3);
            match random.below(8) {
                0 => Move::DeleteTag("latest"),
                1 | 2 => come_and_go(moves, state),
                3 => Move::Tag(number, "v1"),
                4 => Move::Tag(number, "v2"),
                _ => Move::Tag(number, "latest"),
            }
        },
        // The newest as often as all others together.
        kind: ReadKind::Find(|state, random| {
            let numbers: Vec<u64> = state.0.keys().copied().collect();
            vec![by_digest(if random.below(2) == 0 {
                *numbers.last().unwrap()
            } else {
                *random.one_of(&numbers)
            })]
        }),
        reads: reads(),
    }
}

pub fn a_digest_and_a_tag_that_fit_are_found_together() -> Plan {
    Plan {
        test: "a digest and a tag",
        set_up: vec![Move::Tag(1, "stable"), Move::Push(2), Move::Tag(1, "latest")],
        // `latest` stays for a while, so that many reads begin and end meanwhile.
        next: |moves, _, random| match moves % 12 {
            0 => Move::Tag(1, "latest"),
            4 => Move::Tag(2, "latest"),
            8 => Move::DeleteTag("latest"),
            _ => Move::Tag(1 + random.below(2), "edge"),
        },
        kind: ReadKind::Find(|state, random| {
            let number = state.holder("latest").unwrap_or(1);
            vec![match random.below(2) {
                0 => Identifier { number: Some(1), tag: Some("stable") },
                _ => Identifier { number: Some(number), tag: Some("latest") },
            }]
        }),
        reads: reads(),
    }
}

pub fn of_several_identifiers_none_is_missing() -> Plan {
    const MOVING: [&str; 3] = ["latest", "edge", "v1"];
    const TAGS: [&str; 6] = ["latest", "edge", "v1", "v1.0", "v1.0.0", "stable"];
    Plan {
        test: "several identifiers",
        set_up: (1..).zip(TAGS).map(|(number, name)| Move::Tag(number, name)).collect(),
        next: |_, _, random| Move::Tag(1 + random.below(6), random.one_of::<&str>(&MOVING)),
        kind: ReadKind::Find(|_, random| {
            let mut requested: Vec<Identifier> = TAGS.map(by_tag).into();
            for number in 1..=4 {
                let place = random.below(requested.len() as u64 + 1).try_into().unwrap();
                requested.insert(place, by_digest(number));
            }
            requested
        }),
        reads: reads() / 5,
    }
}

pub fn an_image_that_existed_all_the_time_is_listed_exactly_once() -> Plan {
    let set_up = (1..=12).map(|number| match number {
        7 => Move::Tag(number, "v7"),
        8 => Move::Tag(number, "v8"),
        11 => Move::Tag(number, "v11"),
        _ => Move::Push(number),
    });
    Plan {
        test: "a listing",
        set_up: set_up.chain([6, 11, 12].map(Move::Archive)).collect(),
        next: |moves, state, random| match random.below(8) {
            0..=3 => {
                let number = *random.one_of(&[1, 3, 5, 7, 9]);
                if state.0[&number].is_archived {
                    Move::Restore(number)
                } else {
                    Move::Archive(number)
                }
            }
            4 | 5 => come_and_go(moves, state),
            _ => Move::Tag(1 + random.below(6), random.one_of::<&str>(&["latest", "edge", "v1"])),
        },
        kind: ReadKind::List,
        reads: reads() / 10,
    }
}

/// Pushes another image, or deletes the oldest of three.
fn come_and_go(moves: u64, state: &State) -> Move {
    let mut passing = state.0.keys().filter(|number| **number > LASTING);
    match (passing.next(), passing.count()) {
        (Some(oldest), 2..) => Move::Delete(*oldest),
        _ => Move::Push(LASTING + 1 + moves),
    }
}
