//! The outcome never depends on how the bytes were split.

use cloister_proto::client_hello::{DEFAULT_LIMIT, HelloReader, Progress};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::builder::{GREASE, Hello, PADDING, POST_QUANTUM_SHARE, records};
use crate::properties::{self, outcome};

fn server_name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => "[a-z][a-z0-9]{0,20}(\\.[a-z][a-z0-9-]{0,10}[a-z]){0,4}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 1..300),
    ]
}

prop_compose! {
    /// A hello as some client sends it, whose server name alone may be wrong.
    fn hello()(
        ancient in any::<bool>(),
        session_id in vec(any::<u8>(), 0..=32),
        name in proptest::option::of(server_name()),
        alpn in vec(vec(any::<u8>(), 1..12), 0..4),
        share in prop_oneof![Just(0), Just(32), Just(POST_QUANTUM_SHARE), Just(1800)],
        padding in proptest::option::of(0..600usize),
        encrypted in proptest::option::of(1..300usize),
        grease in any::<bool>(),
        resumed in any::<bool>(),
    ) -> Hello {
        let mut hello = if ancient { Hello::ancient() } else { Hello::new() };
        hello.session_id = session_id;
        if grease {
            hello = hello.with(GREASE, []);
        }
        if let Some(name) = name {
            hello = hello.server_name(&name);
        }
        if !alpn.is_empty() {
            hello = hello.alpn(&alpn.iter().map(Vec::as_slice).collect::<Vec<_>>());
        }
        if share > 0 {
            hello = hello.key_share(share);
        }
        if let Some(payload) = encrypted {
            hello = hello.encrypted_client_hello(payload);
        }
        if let Some(padding) = padding {
            hello = hello.with(PADDING, vec![0; padding]);
        }
        if resumed {
            hello = hello.pre_shared_key();
        }
        hello
    }
}

/// Record sizes: tiny, mixed, or everything in one.
fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![Just(vec![1]), vec(1..600usize, 1..6), Just(vec![1 << 14])]
}

/// What can happen to bytes on their way from a hostile client.
#[derive(Clone, Debug)]
enum Mutation {
    Replace(prop::sample::Index, u8),
    Insert(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Truncate(prop::sample::Index),
    Append(Vec<u8>),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = || any::<prop::sample::Index>();
    prop_oneof![
        6 => (index(), any::<u8>()).prop_map(|(at, byte)| Mutation::Replace(at, byte)),
        1 => (index(), any::<u8>()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        1 => index().prop_map(Mutation::Remove),
        1 => index().prop_map(Mutation::Truncate),
        1 => vec(any::<u8>(), 1..20).prop_map(Mutation::Append),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: &Mutation) {
    match mutation {
        Mutation::Append(more) => bytes.extend(more),
        _ if bytes.is_empty() => {}
        Mutation::Replace(at, byte) => *at.get_mut(bytes) = *byte,
        Mutation::Insert(at, byte) => bytes.insert(at.index(bytes.len()), *byte),
        Mutation::Remove(at) => drop(bytes.remove(at.index(bytes.len()))),
        Mutation::Truncate(at) => bytes.truncate(at.index(bytes.len())),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn real_hellos_read_the_same_however_they_arrive(hello in hello(), sizes in sizes()) {
        properties::client_hello(&records(&hello.message(), &sizes));
    }

    #[test]
    fn random_cuts_change_nothing(
        hello in hello(),
        sizes in sizes(),
        mutations in vec(mutation(), 0..3),
        cuts in vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut bytes = records(&hello.message(), &sizes);
        for each in &mutations {
            mutate(&mut bytes, each);
        }
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        ends.sort_unstable();
        let whole = outcome(&bytes, [], DEFAULT_LIMIT);
        prop_assert_eq!(outcome(&bytes, ends, DEFAULT_LIMIT), whole);
        properties::client_hello(&bytes);
    }

    #[test]
    fn a_record_layout_changes_only_the_length(hello in hello(), first in sizes(), second in sizes()) {
        let read = |sizes: &[usize]| {
            let bytes = records(&hello.message(), sizes);
            let answer = HelloReader::new(DEFAULT_LIMIT).advance(&bytes);
            if let Ok(Progress::Complete(hello)) = &answer {
                assert_eq!(hello.length, bytes.len());
            }
            answer.map(|progress| progress.complete().map(|hello| {
                (hello.server_name, hello.alpn, hello.encrypted_client_hello)
            }))
        };
        prop_assert_eq!(read(&first), read(&second));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
        properties::client_hello(&bytes);
    }
}
