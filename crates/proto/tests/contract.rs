//! The Rust side of the messages in `tests/contract`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use cloister_proto::messages::{cell, disk, door, holder};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// Objects whose keys are data.
const MAPS: [&str; 1] = ["outcomes"];

struct Golden {
    name: String,
    value: Value,
}

fn goldens() -> Vec<Golden> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/contract");
    let mut found = Vec::new();
    for folder in ["cell", "disk", "door", "holder"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let text = fs::read_to_string(&path).unwrap();
            found.push(Golden {
                name: format!("{folder}/{name}"),
                value: serde_json::from_str(&text).unwrap(),
            });
        }
    }
    assert!(found.len() > 20, "the golden messages are missing");
    found
}

/// Reads a value as the type that the file's name says and writes it back.
fn round_trip(name: &str, value: &Value) -> Result<Value, serde_json::Error> {
    fn as_type<T: DeserializeOwned + Serialize>(value: &Value) -> Result<Value, serde_json::Error> {
        serde_json::to_value(serde_json::from_value::<T>(value.clone())?)
    }
    match name.split('.').next().unwrap() {
        "door/request" => as_type::<door::Request>(value),
        "door/reply" => as_type::<door::Reply>(value),
        "door/snapshot" => as_type::<door::Snapshot>(value),
        "door/record" => as_type::<door::ConnectionRecord>(value),
        "cell/spec" => as_type::<cell::Spec>(value),
        "cell/effect" => as_type::<cell::Effect>(value),
        "cell/failure" => as_type::<cell::Failure>(value),
        "disk/order" => as_type::<disk::DiskOrder>(value),
        "disk/answer" => as_type::<disk::Answer>(value),
        "holder/order" => as_type::<holder::Order>(value),
        "holder/answer" => as_type::<holder::Answer>(value),
        "cell/operation" => as_type::<cell::Operation>(value),
        other => panic!("no type is known for {other}"),
    }
}

/// The JSON pointers of all objects whose keys are fields.
fn objects(value: &Value, pointer: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if !MAPS.iter().any(|map| pointer.ends_with(&format!("/{map}"))) {
                found.push(pointer.to_owned());
            }
            for (key, inner) in fields {
                objects(inner, &format!("{pointer}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                objects(inner, &format!("{pointer}/{index}"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn golden_messages_come_back_as_they_were() {
    for golden in goldens() {
        let written = round_trip(&golden.name, &golden.value)
            .unwrap_or_else(|error| panic!("{}: {error}", golden.name));
        assert_eq!(written, golden.value, "{}", golden.name);
    }
}

#[test]
fn every_object_refuses_one_field_more_and_one_less() {
    for golden in goldens() {
        let mut pointers = Vec::new();
        objects(&golden.value, "", &mut pointers);
        for pointer in pointers {
            let mut more = golden.value.clone();
            more.pointer_mut(&pointer).unwrap()["surplus"] = json!(1);
            assert!(
                round_trip(&golden.name, &more).is_err(),
                "{} {pointer}",
                golden.name
            );

            let object = golden.value.pointer(&pointer).unwrap().as_object().unwrap();
            for (key, value) in object {
                let mut less = golden.value.clone();
                let place = less.pointer_mut(&pointer).unwrap().as_object_mut().unwrap();
                place.remove(key);
                // serde takes a missing Option for None; it must not take anything else.
                let restored = round_trip(&golden.name, &less).ok();
                assert!(
                    restored.is_none() || value.is_null() || is_optional(&golden, &pointer, key),
                    "{} {pointer}/{key}",
                    golden.name
                );
            }
        }
    }
}

/// Whether null is accepted in the place of a field.
fn is_optional(golden: &Golden, pointer: &str, key: &str) -> bool {
    let mut nulled = golden.value.clone();
    nulled.pointer_mut(pointer).unwrap()[key] = Value::Null;
    round_trip(&golden.name, &nulled).is_ok()
}

/// The variants that serde knows for `T`, from its own complaint about an unknown one.
fn variants<T: DeserializeOwned>(unknown: Value) -> BTreeSet<String> {
    let Err(error) = serde_json::from_value::<T>(unknown) else {
        panic!("an unknown variant was accepted");
    };
    let text = error.to_string();
    let (_, expected) = text.split_once("expected").unwrap();
    expected
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// All strings at `key` in any golden message of a type.
fn used(prefix: &str, key: &str) -> BTreeSet<String> {
    fn collect(value: &Value, key: &str, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                for (name, inner) in fields {
                    if let (true, Value::String(text)) = (name == key, inner) {
                        found.insert(text.clone());
                    }
                    collect(inner, key, found);
                }
            }
            Value::Array(items) => items.iter().for_each(|inner| collect(inner, key, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    for golden in goldens() {
        if golden.name.starts_with(prefix) {
            collect(&golden.value, key, &mut found);
        }
    }
    found
}

#[test]
fn every_variant_has_a_golden_message() {
    let kind = json!({"kind": "none-such"});
    let r#type = json!({"type": "none-such"});
    let name = json!("none-such");

    assert_eq!(
        variants::<door::Request>(r#type.clone()),
        used("door/request", "type")
    );
    assert_eq!(
        variants::<holder::Order>(r#type.clone()),
        used("holder/order", "type")
    );
    assert_eq!(
        variants::<holder::Answer>(r#type.clone()),
        used("holder/answer", "type")
    );
    assert_eq!(
        variants::<disk::Action>(json!({"action": "none-such"})),
        used("disk/order", "action")
    );
    assert_eq!(
        variants::<disk::Answer>(json!({"answer": "none-such"})),
        used("disk/answer", "answer")
    );
    assert_eq!(
        variants::<disk::Kind>(name.clone()),
        used("disk/answer", "kind")
    );
    assert_eq!(variants::<door::Reply>(r#type), used("door/reply", "type"));
    let mut kinds = variants::<door::Route>(kind.clone());
    kinds.extend(variants::<door::Target>(kind.clone()));
    assert_eq!(kinds, used("door/snapshot", "kind"));
    assert_eq!(
        variants::<door::SendProxy>(name.clone()),
        used("door/snapshot", "send_proxy")
    );
    assert_eq!(
        variants::<door::Outcome>(name.clone()),
        used("door/record", "outcome")
    );
    assert_eq!(
        variants::<cell::Stdin>(name.clone()),
        used("cell/spec", "stdin")
    );
    assert_eq!(
        variants::<cell::LimitedResource>(name),
        used("cell/spec", "resource")
    );
    let mut kinds = variants::<cell::Content>(kind.clone());
    kinds.extend(variants::<cell::Condition>(kind.clone()));
    kinds.extend(variants::<cell::WayOut>(kind.clone()));
    kinds.extend(variants::<cell::Label>(kind));
    assert_eq!(kinds, used("cell/spec", "kind"));
}
