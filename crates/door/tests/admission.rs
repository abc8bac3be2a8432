//! Limits for each client and each host, and PROXY headers, on a door without a command line.

mod support;

use std::io::{Read, Write};
use std::net::Shutdown;

use cloister_door::admission::trusted::TrustedPeers;
use cloister_proto::messages::door::Outcome;
use support::{Door, NAME, Plan, end_writing, hello, read_all, read_until_reset, wait_for};

const HEADER: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n";

fn behind_a_proxy() -> Plan {
    Plan {
        trusted: TrustedPeers::parse(&["127.0.0.0/8"]).expect("a network"),
        ..Plan::default()
    }
}

#[test]
fn a_client_has_its_limit_over_all_workers() {
    let mut plan = Plan {
        workers: 4,
        ..Plan::default()
    };
    plan.limits.per_client = 3;
    let door = Door::start(&plan);
    let mut held: Vec<_> = (0..3).map(|_| door.relay()).collect();
    for _ in 0..8 {
        assert_eq!(read_until_reset(door.connect()), b"");
    }
    drop(held.pop());
    wait_for("room", || (door.workers.active() == 2).then_some(()));
    held.push(door.relay());
    let statistics = door.statistics();
    assert_eq!(statistics.outcomes["refused-client-limit"], 8);
    let listener = &door.runtime.listeners[0].terms.counters.read();
    assert_eq!(listener.outcomes["refused-client-limit"], 8);
}

#[test]
fn a_host_has_its_limit_and_tells_by_an_alert() {
    let mut plan = Plan::default();
    plan.limits.per_host = 1;
    let door = Door::start(&plan);
    let (first, target) = door.relay();
    let mut second = door.connect();
    second.write_all(&hello(NAME)).expect("sent");
    assert_eq!(read_all(&second), [21, 3, 3, 0, 2, 2, 80]);
    drop((first, target, second));
    door.wait_idle();
    let (_third, _target) = door.relay();
    assert_eq!(door.statistics().outcomes["refused-host-limit"], 1);
}

#[test]
fn a_header_names_the_client_however_it_is_cut() {
    let door = Door::start(&behind_a_proxy());
    let whole = [HEADER, &hello(NAME)].concat();
    for cut in [0, 1, HEADER.len() - 1, HEADER.len(), HEADER.len() + 1] {
        let mut client = door.connect();
        client.write_all(&whole[..cut]).expect("sent");
        door_has_read(&door);
        client.write_all(&whole[cut..]).expect("sent");
        let mut target = door.accept();
        let mut received = vec![0; whole.len() - HEADER.len()];
        target.read_exact(&mut received).expect("the hello");
        assert_eq!(received, hello(NAME), "the header is not part of it");
    }
    let mut client = door.connect();
    client.set_nodelay(true).expect("set");
    for byte in &whole {
        client.write_all(&[*byte]).expect("sent");
    }
    let mut target = door.accept();
    target
        .read_exact(&mut vec![0; hello(NAME).len()])
        .expect("the hello");
    drop((client, target));
    let records = door.finish();
    let relayed = records.iter().filter(|record| record.name.is_some());
    let clients: Vec<_> = relayed.map(|record| record.client.as_str()).collect();
    assert_eq!(clients, ["192.0.2.1:4711"; 6]);
}

/// Lets the only worker serve what came before.
fn door_has_read(door: &Door) {
    let mut other = door.connect();
    other.write_all(b"no header").expect("sent");
    assert_eq!(read_until_reset(other), b"");
}

#[test]
fn a_trusted_peer_without_a_header_is_refused() {
    let mut plan = behind_a_proxy();
    plan.limits.hello = std::time::Duration::from_millis(200);
    let door = Door::start(&plan);
    let mut bare = door.connect();
    bare.write_all(&hello(NAME)).expect("sent");
    assert_eq!(read_until_reset(&bare), b"");
    let silent = door.connect();
    assert_eq!(read_until_reset(&silent), b"");
    let mut half = door.connect();
    half.write_all(&HEADER[..20]).expect("sent");
    assert_eq!(read_until_reset(&half), b"");
    let mut ended = door.connect();
    ended.write_all(&HEADER[..20]).expect("sent");
    end_writing(&ended);
    assert_eq!(read_until_reset(&ended), b"");
    let records = door.finish();
    assert_eq!(records.len(), 4);
    for record in &records {
        assert_eq!(record.outcome, Outcome::RefusedProxy, "{record:?}");
    }
}

#[test]
fn nobody_else_may_name_a_client() {
    let mut plan = behind_a_proxy();
    plan.trusted = TrustedPeers::parse(&["192.0.2.0/24", "unix"]).expect("a network");
    let door = Door::start(&plan);
    let mut client = door.connect();
    client
        .write_all(&[HEADER, &hello(NAME)].concat())
        .expect("sent");
    assert_eq!(read_all(&client)[0], 21, "an alert: this is no hello");
    drop(client);
    let record = &door.finish()[0];
    assert_eq!(record.outcome, Outcome::RefusedHello);
    assert!(record.client.starts_with("127.0.0.1:"));
}

#[test]
fn a_limit_counts_whom_the_header_names() {
    let mut plan = behind_a_proxy();
    plan.limits.per_client = 1;
    let door = Door::start(&plan);
    let connect = |client: &str| {
        let mut stream = door.connect();
        let header = format!("PROXY TCP4 {client} 192.0.2.2 1 443\r\n");
        let bytes = [header.as_bytes(), &hello(NAME)].concat();
        stream.write_all(&bytes).expect("sent");
        stream
    };
    let first = connect("192.0.2.1");
    let first_target = door.accept();
    let refused = connect("192.0.2.1");
    assert_eq!(read_until_reset(&refused), b"");
    let other = connect("192.0.2.9");
    let other_target = door.accept();
    drop((first, first_target, other, other_target));
    assert_eq!(
        door.finish()
            .iter()
            .filter(|record| record.outcome == Outcome::RefusedClientLimit)
            .map(|record| record.client.as_str())
            .collect::<Vec<_>>(),
        ["192.0.2.1:1"]
    );
}

#[test]
fn a_health_check_keeps_the_real_address() {
    let door = Door::start(&behind_a_proxy());
    let mut check = door.connect();
    check
        .write_all(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0")
        .expect("sent");
    check.shutdown(Shutdown::Write).expect("sent");
    let address = check.local_addr().expect("bound").to_string();
    assert_eq!(read_all(&check)[0], 21);
    drop(check);
    assert_eq!(door.finish()[0].client, address);
}

#[test]
fn a_listener_with_one_target_takes_headers_too() {
    let mut plan = behind_a_proxy();
    plan.raw = true;
    let door = Door::start(&plan);
    let mut client = door.connect();
    client.write_all(HEADER).expect("sent");
    let target = door.accept();
    client.write_all(b"anything").expect("sent");
    end_writing(&client);
    assert_eq!(read_all(&target), b"anything");
    drop((client, target));
    assert_eq!(door.finish()[0].client, "192.0.2.1:4711");
}
