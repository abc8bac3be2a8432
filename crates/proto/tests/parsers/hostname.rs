//! The names that Python and Rust agree on: `tests/contract/hostnames.json`.
//!
//! `tests/unit/hosts/test_hostname.py` reads the same file.

use std::collections::BTreeMap;
use std::path::Path;

use cloister_proto::hostname::Hostname;
use proptest::prelude::*;
use serde::Deserialize;

/// Names by what both sides do with them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    /// Both turn the key into the value.
    canonical: BTreeMap<String, String>,
    /// Only Python takes the key, as people write it; Rust refuses it and takes the value.
    written_by_people: BTreeMap<String, String>,
    /// Both refuse.
    refused: Vec<String>,
}

fn vectors() -> Vectors {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/contract/hostnames.json");
    let text = std::fs::read_to_string(&path).expect("tests/contract/hostnames.json");
    serde_json::from_str(&text).expect("the vectors' schema")
}

fn canonical(name: &str) -> Option<String> {
    name.parse::<Hostname>().ok().map(|name| name.to_string())
}

#[test]
fn canonical_names_are_taken() {
    let vectors = vectors();
    assert!(vectors.canonical.len() > 10);
    for (name, expected) in vectors.canonical {
        assert_eq!(canonical(&name).as_deref(), Some(&*expected), "{name}");
        assert_eq!(
            canonical(&expected).as_deref(),
            Some(&*expected),
            "{expected}"
        );
    }
}

#[test]
fn what_people_write_is_taken_only_in_its_canonical_form() {
    let vectors = vectors();
    assert!(vectors.written_by_people.len() > 5);
    for (name, expected) in vectors.written_by_people {
        assert_eq!(canonical(&name), None, "{name}");
        assert_eq!(canonical(&expected).as_deref(), Some(&*expected), "{name}");
    }
}

#[test]
fn refused_names_are_refused() {
    let vectors = vectors();
    assert!(vectors.refused.len() > 20);
    for name in vectors.refused {
        assert_eq!(canonical(&name), None, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_taken_is_one_safe_path_component(name in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..260),
        "[a-zA-Z0-9./_-]{0,70}".prop_map(String::into_bytes),
        "([a-zA-Z0-9-]{1,64}\\.){0,5}[a-zA-Z0-9]{1,5}".prop_map(String::into_bytes),
    ]) {
        let Ok(parsed) = Hostname::parse(&name) else {
            return Ok(());
        };
        let text = parsed.as_str();
        prop_assert!(text.len() <= 253 && text.len() == name.len());
        prop_assert!(text.eq_ignore_ascii_case(std::str::from_utf8(&name).expect("ASCII")));
        prop_assert_eq!(Path::new(text).components().count(), 1);
        prop_assert!(matches!(
            Path::new(text).components().next(),
            Some(std::path::Component::Normal(component)) if component == text
        ));
        prop_assert!(!text.contains(['/', '\0', '_', '*']) && !text.contains(".."));
        prop_assert!(!text.starts_with(['-', '.']) && !text.ends_with('.'));
        prop_assert!(text.parse::<std::net::IpAddr>().is_err());
        prop_assert_eq!(Hostname::parse(text.as_bytes()), Ok(parsed.clone()));
    }
}
