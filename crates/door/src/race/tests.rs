#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use proptest::prelude::*;

const ALL_STATES: [State; 4] = [State::Naming, State::Racing, State::Resting, State::Settled];
const ALL_EVENTS: [Event; 8] = [
    Event::Named,
    Event::Nameless,
    Event::Failed,
    Event::AllFailed,
    Event::Connected,
    Event::Due,
    Event::DueForNothing,
    Event::Deadline,
];

fn at(millis: u64) -> Moment {
    Moment::from_micros(millis * 1000)
}

/// A race over at 5 s that knows its addresses.
fn named(addresses: impl IntoIterator<Item = u8>) -> Race<u8, &'static str> {
    let mut race = Race::new(at(5000));
    assert_eq!(race.step(), Step::Name);
    race.named(addresses);
    race
}

#[test]
fn what_is_decided_stays_decided() {
    for event in ALL_EVENTS {
        assert_eq!(table(State::Settled, event), (State::Settled, Action::Wait));
    }
}

#[test]
fn every_state_can_end_and_only_ends_settle() {
    for state in ALL_STATES {
        for event in ALL_EVENTS {
            let (next, action) = table(state, event);
            let ends = matches!(action, Action::Win | Action::GiveUp);
            assert_eq!(ends, next == State::Settled && state != State::Settled);
        }
    }
}

#[test]
fn the_next_address_follows_after_the_stagger_and_the_first_answer_wins() {
    let mut race = named([1, 2, 3]);
    assert_eq!(race.step(), Step::Connect(1));
    race.underway(at(0), 1, "one");
    assert_eq!(race.step(), Step::Wait(at(250)));
    race.due(at(249));
    assert_eq!(race.step(), Step::Wait(at(250)));
    race.due(at(250));
    assert_eq!(race.step(), Step::Connect(2));
    race.underway(at(250), 2, "two");
    assert_eq!(race.step(), Step::Wait(at(500)));
    race.connected(1);
    assert_eq!(race.step(), Step::Won);
    assert_eq!(race.take_slow(), [1], "it had 250 ms more than the winner");
    assert!(race.running().is_empty(), "the loser is closed");
    let winner = race.into_winner().unwrap();
    assert_eq!((winner.address, winner.socket), (2, "two"));
}

#[test]
fn the_first_may_still_win_after_the_second_began() {
    let mut race = named([1, 2]);
    race.step();
    race.underway(at(0), 1, "one");
    race.due(at(250));
    race.step();
    race.underway(at(250), 2, "two");
    race.connected(0);
    assert_eq!(race.step(), Step::Won);
    assert!(
        race.take_slow().is_empty(),
        "the second was not slow, but late"
    );
    assert_eq!(race.into_winner().unwrap().socket, "one");
}

#[test]
fn a_failure_brings_the_next_address_at_once() {
    let mut race = named([1, 2]);
    race.step();
    race.refused(at(1), 1, Errno::CONNREFUSED);
    assert_eq!(race.step(), Step::Connect(2));
    race.underway(at(1), 2, "two");
    assert_eq!(race.step(), Step::Wait(at(5000)), "no address is left");
    assert_eq!(race.failed(at(9), 0, Errno::HOSTUNREACH), 2);
    assert_eq!(race.step(), Step::Wait(at(19)), "all have failed: a pause");
}

#[test]
fn a_failure_does_not_hurry_the_one_that_is_awaited() {
    let mut race = named([1, 2]);
    race.step();
    race.underway(at(0), 1, "one");
    race.due(at(250));
    race.step();
    race.refused(at(251), 2, Errno::CONNREFUSED);
    assert_eq!(race.step(), Step::Wait(at(5000)));
    race.connected(0);
    assert_eq!(race.step(), Step::Won);
}

#[test]
fn rounds_go_on_until_the_deadline_with_growing_pauses() {
    let mut race = named([1]);
    let mut now = 0;
    let mut rounds = 0;
    let mut pauses = Vec::new();
    loop {
        match race.step() {
            Step::Name => race.named([1]),
            Step::Connect(1) => {
                rounds += 1;
                race.refused(at(now), 1, Errno::CONNREFUSED);
            }
            Step::Wait(moment) => {
                let millis = moment.as_micros() / 1000;
                pauses.push(millis - now);
                now = millis;
                race.due(moment);
            }
            Step::Lost => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(now, 5000, "the deadline is kept");
    assert_eq!(pauses[..7], [10, 20, 40, 80, 160, 320, 320]);
    assert!(rounds >= 18, "{rounds}");
    assert_eq!(race.loss(), &Loss::Failed(1, Errno::CONNREFUSED));
}

#[test]
fn a_name_is_awaited_until_the_deadline() {
    let mut race: Race<u8, ()> = Race::new(at(5000));
    assert_eq!(race.step(), Step::Name);
    assert_eq!(race.step(), Step::Wait(at(5000)));
    assert!(race.awaits_addresses());
    race.named([7]);
    assert!(!race.awaits_addresses());
    assert_eq!(race.step(), Step::Connect(7));

    let mut race: Race<u8, ()> = Race::new(at(5000));
    race.step();
    race.due(at(5000));
    assert_eq!(race.step(), Step::Lost);
    assert_eq!(race.loss(), &Loss::NotNamed);
}

#[test]
fn a_name_that_leads_nowhere_is_said_so() {
    let mut race: Race<u8, ()> = Race::new(at(5000));
    race.step();
    race.nameless("no such name");
    assert_eq!(race.step(), Step::Lost);
    assert_eq!(race.loss(), &Loss::Nameless("no such name".to_owned()));
}

#[test]
fn silence_is_slow_and_its_own_loss() {
    let mut race = named([1]);
    race.step();
    race.underway(at(0), 1, "one");
    assert_eq!(race.step(), Step::Wait(at(5000)));
    race.due(at(5000));
    assert_eq!(race.step(), Step::Lost);
    assert_eq!(race.loss(), &Loss::Silent(1));
    assert_eq!(race.take_slow(), [1]);
}

/// What an address does to whoever connects to it.
#[derive(Clone, Copy, Debug)]
enum Behaviour {
    RefuseAtOnce,
    AcceptAtOnce,
    Refuse(u64),
    Accept(u64),
    Silence,
}

fn behaviour() -> impl Strategy<Value = Behaviour> {
    prop_oneof![
        Just(Behaviour::RefuseAtOnce),
        Just(Behaviour::AcceptAtOnce),
        (0..2000_u64).prop_map(Behaviour::Refuse),
        (0..2000_u64).prop_map(Behaviour::Accept),
        Just(Behaviour::Silence),
    ]
}

proptest! {
    /// Against any behaviour of up to twelve addresses: it ends by the deadline; it wins
    /// where an address accepts at all within what is left; never too many attempts; the
    /// next one begins only after the stagger or a failure.
    #[test]
    fn any_network(behaviours in proptest::collection::vec(behaviour(), 0..12)) {
        const DEADLINE: u64 = 6000;
        let mut race: Race<usize, u64> = Race::new(at(DEADLINE));
        let mut now = 0_u64;
        let mut last_start: Option<u64> = None;
        let mut steps = 0;
        let won = loop {
            steps += 1;
            prop_assert!(steps < 10_000, "it goes round in circles");
            match race.step() {
                Step::Name => race.named(0..behaviours.len()),
                Step::Connect(address) => {
                    if let Some(before) = last_start {
                        prop_assert!(now >= before + 250, "{before} and then {now}");
                    }
                    match behaviours[address] {
                        Behaviour::RefuseAtOnce => {
                            last_start = None;
                            race.refused(at(now), address, Errno::CONNREFUSED);
                        }
                        Behaviour::AcceptAtOnce => race.connected_at_once(at(now), address, now),
                        _ => {
                            last_start = Some(now);
                            race.underway(at(now), address, now);
                        }
                    }
                    prop_assert!(race.running().len() <= ATTEMPTS);
                }
                Step::Wait(moment) => {
                    let due = moment.as_micros() / 1000;
                    prop_assert!(due > now || due == DEADLINE, "a wait for nothing at {now}");
                    // The earliest thing that happens until then.
                    let next = race.running().iter().enumerate().filter_map(|(place, attempt)| {
                        let (after, accepts) = match behaviours[attempt.address] {
                            Behaviour::Refuse(after) => (after, false),
                            Behaviour::Accept(after) => (after, true),
                            _ => return None,
                        };
                        Some((attempt.socket + after, place, accepts))
                    }).min();
                    match next {
                        Some((then, place, accepts)) if then < due => {
                            now = then.max(now);
                            if accepts {
                                race.connected(place);
                            } else {
                                last_start = None;
                                race.failed(at(now), place, Errno::CONNREFUSED);
                            }
                        }
                        _ => {
                            now = due;
                            if race.running().is_empty() {
                                last_start = None;
                            }
                            race.due(at(now));
                        }
                    }
                }
                Step::Won => break true,
                Step::Lost => break false,
            }
        };
        prop_assert!(now <= DEADLINE);
        prop_assert!(race.running().is_empty());
        let accepts = behaviours.iter().any(|one| matches!(one,
            Behaviour::AcceptAtOnce | Behaviour::Accept(0..1000)));
        // Twelve staggers are 3 s: each address had its turn and 1 s, and six attempts at
        // once leave each 1.5 s.
        prop_assert_eq!(won || !accepts, true, "nobody was reached");
        if behaviours.is_empty() {
            prop_assert!(matches!(race.loss(), Loss::NotNamed | Loss::Nameless(_)));
        }
    }
}
