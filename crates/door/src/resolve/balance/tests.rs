use super::*;

use proptest::collection::vec;
use proptest::prelude::*;

const START: Moment = Moment::from_micros(1_000_000_000);

fn socket(index: u8) -> SocketAddr {
    // Every third one is IPv6.
    let text = match index % 3 {
        2 => format!("[2001:db8::{index:x}]:80"),
        _ => format!("10.0.0.{index}:80"),
    };
    text.parse().expect("a socket address")
}

fn address(index: u8, priority: u32, weight: u32) -> Address {
    Address {
        socket: socket(index),
        priority,
        weight,
    }
}

fn equals(number: u8) -> Vec<Address> {
    (0..number).map(|index| address(index, 0, 1)).collect()
}

fn pool(addresses: &[Address]) -> Pool {
    let mut pool = Pool::default();
    pool.update(START, addresses);
    pool
}

/// How often each of the first `number` sockets came first.
fn firsts(pool: &mut Pool, number: u8, rounds: usize, balance: Balance) -> Vec<usize> {
    let chosen: Vec<_> = (0..rounds)
        .map(|_| pool.choose(START, balance)[0])
        .collect();
    let count = |index| {
        chosen
            .iter()
            .filter(|first| **first == socket(index))
            .count()
    };
    (0..number).map(count).collect()
}

#[derive(Clone, Debug)]
enum Step {
    Update(Vec<u8>),
    Choose(bool),
    Succeed(u8),
    Fail(u8),
    Close(u8),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        vec(0..20_u8, 0..12).prop_map(Step::Update),
        any::<bool>().prop_map(Step::Choose),
        (0..20_u8).prop_map(Step::Succeed),
        (0..20_u8).prop_map(Step::Fail),
        (0..20_u8).prop_map(Step::Close),
        (0..5_000_u64).prop_map(Step::Pass),
    ];
    vec(step, 1..200)
}

proptest! {
    #[test]
    fn every_choice_names_each_address_once_the_resting_ones_last(steps in steps()) {
        let mut pool = Pool::default();
        let mut now = START;
        let mut set: Vec<SocketAddr> = Vec::new();
        for step in steps {
            match step {
                Step::Update(indices) => {
                    let new: Vec<_> =
                        indices.iter().map(|i| address(*i, u32::from(i % 2), u32::from(*i))).collect();
                    pool.update(now, &new);
                    set = new.iter().map(|address| address.socket).collect();
                    set.sort();
                    set.dedup();
                }
                Step::Choose(least) => {
                    let balance =
                        if least { Balance::LeastConnections } else { Balance::RoundRobin };
                    let order = pool.choose(now, balance);
                    let mut sorted = order.clone();
                    sorted.sort();
                    prop_assert_eq!(&sorted, &set);
                    let rests = |s: &SocketAddr| {
                        pool.entries.iter().any(|e| e.address.socket == *s && e.rests(now))
                    };
                    prop_assert!(order.is_sorted_by_key(rests));
                    let awake = order.iter().filter(|socket| !rests(socket));
                    let priority = |s: &&SocketAddr| {
                        pool.entries.iter().find(|e| e.address.socket == **s).map(|e| e.address.priority)
                    };
                    prop_assert!(awake.is_sorted_by_key(|socket| priority(&socket)));
                }
                Step::Succeed(index) => pool.succeeded(socket(index)),
                Step::Fail(index) => pool.failed(now, socket(index)),
                Step::Close(index) => pool.closed(socket(index)),
                Step::Pass(millis) => now = now.after(Duration::from_millis(millis)),
            }
            prop_assert!(pool.entries.len() <= KNOWN);
            let longest = now.after(LONGEST_REST);
            prop_assert!(pool.entries.iter().all(|entry| entry.rests_until <= longest));
        }
    }

    #[test]
    fn turns_are_fair_by_weight(weights in vec(1..20_u32, 1..8)) {
        let number = u8::try_from(weights.len()).expect("few");
        let addresses: Vec<_> =
            (0..number).map(|i| address(i, 0, weights[usize::from(i)])).collect();
        let sum: u32 = weights.iter().sum();
        let rounds = 20 * usize::try_from(sum).expect("small");
        let firsts = firsts(&mut pool(&addresses), number, rounds, Balance::RoundRobin);
        for (count, weight) in firsts.iter().zip(&weights) {
            let expected = 20 * usize::try_from(*weight).expect("small");
            prop_assert!(count.abs_diff(expected) <= 1 + expected / 20, "{firsts:?} {weights:?}");
        }
    }

    #[test]
    fn the_fewest_connections_come_first(counts in vec(0..50_usize, 1..8)) {
        let number = u8::try_from(counts.len()).expect("few");
        let mut pool = pool(&equals(number));
        for (index, count) in (0..number).zip(&counts) {
            for _ in 0..*count {
                pool.succeeded(socket(index));
            }
        }
        let first = pool.choose(START, Balance::LeastConnections)[0];
        let least = counts.iter().min().expect("one");
        let chosen = (0..number).find(|index| socket(*index) == first).expect("known");
        prop_assert_eq!(counts[usize::from(chosen)], *least);
    }
}

#[test]
fn families_alternate_behind_the_first() {
    let mut pool = pool(&[2, 5, 0, 1].map(|index| address(index, 0, 1)));
    let order = pool.choose(START, Balance::RoundRobin);
    assert_eq!(order, [2, 0, 5, 1].map(socket));
    let order = pool.choose(START, Balance::RoundRobin);
    assert_eq!(order, [5, 0, 2, 1].map(socket));
}

#[test]
fn weight_zero_is_a_last_resort_beside_others_and_nothing_alone() {
    let mut uneven = pool(&[address(0, 0, 0), address(1, 0, 10)]);
    let counts = firsts(&mut uneven, 2, 500, Balance::RoundRobin);
    assert!(counts[0] < 3, "{counts:?}");
    let mut zeros = pool(&[address(0, 0, 0), address(1, 0, 0)]);
    assert_eq!(firsts(&mut zeros, 2, 10, Balance::RoundRobin), [5, 5]);
}

#[test]
fn a_rest_grows_with_each_failure_up_to_a_minute_and_ends_with_a_success() {
    let mut pool = pool(&equals(2));
    let mut now = START;
    let mut rests = Vec::new();
    for _ in 0..8 {
        pool.failed(now, socket(0));
        // A crowd that met the same refusal counts once.
        pool.failed(now, socket(0));
        let entry = pool.find(socket(0)).expect("known");
        rests.push(entry.rests_until.since(now).as_secs());
        now = entry.rests_until;
    }
    assert_eq!(rests, [1, 2, 4, 8, 16, 32, 60, 60]);
    pool.succeeded(socket(0));
    pool.failed(now, socket(0));
    let entry = pool.find(socket(0)).expect("known");
    assert_eq!(entry.rests_until.since(now), FIRST_REST);
}

#[test]
fn a_worse_priority_serves_while_the_better_one_rests() {
    let mut pool = pool(&[address(0, 10, 1), address(1, 20, 1)]);
    assert_eq!(pool.choose(START, Balance::RoundRobin), [0, 1].map(socket));
    pool.failed(START, socket(0));
    assert_eq!(pool.choose(START, Balance::RoundRobin), [1, 0].map(socket));
    pool.failed(START, socket(1));
    assert_eq!(
        pool.choose(START, Balance::RoundRobin).len(),
        2,
        "all rest: all are tried"
    );
    let later = START.after(FIRST_REST);
    assert_eq!(pool.choose(later, Balance::RoundRobin), [0, 1].map(socket));
}

#[test]
fn what_is_known_outlives_a_set_without_the_address() {
    let mut pool = pool(&equals(3));
    pool.succeeded(socket(0));
    pool.failed(START, socket(1));
    pool.update(START, &equals(0));
    assert!(pool.choose(START, Balance::RoundRobin).is_empty());
    pool.update(START, &equals(3));
    let order = pool.choose(START, Balance::LeastConnections);
    assert_eq!(order[0], socket(2), "0 has a connection, 1 rests");
    pool.closed(socket(0));
    pool.update(START.after(LONGEST_REST), &[]);
    assert!(pool.entries.is_empty(), "nothing is left to remember");
}
