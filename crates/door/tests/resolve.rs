//! The resolver against a real name server, real files and the real clock.

#[path = "support/name_server.rs"]
mod name_server;

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use cloister_door::confine::{confine, reach::Reach};
use cloister_door::resolve::{
    ADDRESSES, Answer, Endpoint, Query, Resolver, ResolverOptions, State, Waker,
};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};
use name_server::{NameServer, Reply, alias, eventually, record, service};
use tempfile::TempDir;

/// A resolver with files of its own, asking one server.
struct World {
    server: NameServer,
    folder: TempDir,
    reports: Arc<Mutex<Vec<String>>>,
    resolver: Resolver,
}

impl World {
    fn new() -> Self {
        Self::before(|| {})
    }

    /// The server and the files are there before `confine` is called, the resolver after.
    fn before(confine: impl FnOnce()) -> Self {
        let server = NameServer::start();
        let folder = tempfile::tempdir().expect("a folder");
        write(
            folder.path(),
            "resolv.conf",
            "options timeout:1 attempts:1\n",
        );
        write(folder.path(), "hosts", "");
        let reports = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&reports);
        confine();
        let resolver = Resolver::start(ResolverOptions {
            nameservers: vec![server.address],
            hosts: folder.path().join("hosts"),
            resolv_conf: folder.path().join("resolv.conf"),
            report: Box::new(move |line| taken.lock().expect("no panic").push(line.to_owned())),
        });
        Self {
            server,
            folder,
            reports,
            resolver: resolver.expect("started"),
        }
    }

    fn watch(&self, name: &str) -> Arc<Endpoint> {
        let name = name.to_owned();
        self.resolver.watch(Query::Host { name, port: 80 })
    }

    fn replace(&self, name: &str, text: &str) {
        write(self.folder.path(), name, text);
    }

    fn reports(&self) -> Vec<String> {
        self.reports.lock().expect("no panic").clone()
    }
}

/// As editors do: by rename.
fn write(folder: &Path, name: &str, text: &str) {
    let fresh = folder.join("fresh");
    fs::write(&fresh, text).expect("written");
    fs::rename(fresh, folder.join(name)).expect("renamed");
}

/// The answer that `accept` takes, in use all the while.
fn answer(endpoint: &Endpoint, accept: impl Fn(&Answer) -> bool) -> Arc<Answer> {
    let what = format!("an answer for {}", endpoint.query());
    eventually(&what, || {
        Some(endpoint.current()).filter(|answer| accept(answer))
    })
}

fn fresh(endpoint: &Endpoint) -> Vec<String> {
    hosts(&answer(endpoint, |answer| answer.state == State::Fresh))
}

fn hosts(answer: &Answer) -> Vec<String> {
    let hosts = answer.addresses.iter().map(|a| a.socket.ip().to_string());
    hosts.collect()
}

fn failed(endpoint: &Endpoint) -> String {
    let answer = answer(endpoint, |answer| matches!(answer.state, State::Failed(_)));
    assert!(answer.addresses.is_empty());
    let State::Failed(reason) = &answer.state else {
        panic!("{answer:?}")
    };
    reason.to_string()
}

#[test]
fn both_families_are_asked_for_and_the_answer_is_renewed() {
    let world = World::new();
    world
        .server
        .set_addresses("db.test.", 1, &["127.0.1.1", "127.0.1.2", "::1"]);
    let endpoint = world.watch("db.test");
    assert_eq!(fresh(&endpoint).len(), 3);
    assert_eq!(endpoint.current().addresses[0].socket.port(), 80);
    world.server.set_addresses("db.test.", 1, &["127.0.1.9"]);
    answer(&endpoint, |answer| hosts(answer) == ["127.0.1.9"]);
    assert_eq!(world.reports(), [""; 0]);
}

#[test]
fn the_same_name_is_one_endpoint_and_literals_are_never_asked() {
    let world = World::new();
    let endpoint = world.watch("db.test");
    assert!(Arc::ptr_eq(&endpoint, &world.watch("db.test")));
    for literal in ["192.0.2.1", "::1", "[::1]"] {
        let literal = world.watch(literal);
        assert_eq!(literal.current().state, State::Fresh);
    }
    assert_eq!(fresh(&world.watch("localhost")), ["::1", "127.0.0.1"]);
    assert_eq!(fresh(&world.watch("a.localhost.")).len(), 2);
    failed(&endpoint);
    for kind in [RecordType::A, RecordType::AAAA] {
        assert_eq!(world.server.questions("localhost.", kind), 0);
    }
}

#[test]
fn a_name_that_nobody_uses_is_left_alone() {
    let world = World::new();
    world.server.set_addresses("db.test.", 1, &["127.0.1.1"]);
    let endpoint = world.watch("db.test");
    fresh(&endpoint);
    // Looking counts as use, so look from outside: the questions end.
    let asked = || world.server.questions("db.test.", RecordType::A);
    let mut last = (asked(), std::time::Instant::now());
    eventually("no more questions", || {
        if asked() != last.0 {
            last = (asked(), std::time::Instant::now());
        }
        (last.1.elapsed().as_secs() >= 3).then_some(())
    });
    assert!(last.0 <= 3, "{} questions", last.0);
    world.server.set_addresses("db.test.", 1, &["127.0.1.2"]);
    let sleeping = endpoint.current();
    assert_eq!(sleeping.state, State::Pending);
    assert_eq!(hosts(&sleeping), ["127.0.1.1"]);
    answer(&endpoint, |answer| hosts(answer) == ["127.0.1.2"]);
}

#[test]
fn who_waits_is_woken_by_the_answer() {
    struct Count(AtomicUsize);
    impl Waker for Count {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let world = World::new();
    world.server.set_all(Some(Reply::Silence));
    let endpoint = world.watch("db.test");
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker: Arc<dyn Waker> = count.clone();
    let seen = endpoint.current();
    assert_eq!(seen.state, State::Pending);
    endpoint.wait(seen.generation, &waker);
    endpoint.wait(seen.generation, &waker);
    eventually("woken", || {
        (count.0.load(Ordering::SeqCst) == 1).then_some(())
    });
    assert!(endpoint.current().generation > seen.generation);
    endpoint.wait(seen.generation, &waker);
    assert_eq!(
        count.0.load(Ordering::SeqCst),
        2,
        "not woken for what is there"
    );
}

#[test]
fn the_last_good_answer_is_served_while_no_server_answers() {
    for dead in [
        Reply::Silence,
        Reply::Code(ResponseCode::ServFail),
        Reply::Code(ResponseCode::Refused),
    ] {
        let world = World::new();
        world.server.set_addresses("db.test.", 1, &["127.0.1.1"]);
        let endpoint = world.watch("db.test");
        fresh(&endpoint);
        world.server.set_all(Some(dead.clone()));
        let stale = answer(&endpoint, |answer| matches!(answer.state, State::Stale(_)));
        assert_eq!(hosts(&stale), ["127.0.1.1"]);
        let asked = world.server.questions("db.test.", RecordType::A);
        world
            .server
            .wait_for_questions("db.test.", RecordType::A, asked + 1);
        assert_eq!(hosts(&endpoint.current()), ["127.0.1.1"]);
        world.server.set_all(None);
        world.server.set_addresses("db.test.", 1, &["127.0.1.2"]);
        answer(&endpoint, |answer| hosts(answer) == ["127.0.1.2"]);
        // An answer is served before it is told of.
        let reports = eventually("two reports", || {
            Some(world.reports()).filter(|reports| reports.len() >= 2)
        });
        assert_eq!(reports.len(), 2, "{dead:?}: {reports:?}");
        assert!(reports[0].contains("last good answer") && reports[1].contains("again"));
    }
}

#[test]
fn a_name_that_is_gone_is_held_and_one_that_never_was_appears() {
    let world = World::new();
    let endpoint = world.watch("new.test");
    assert!(failed(&endpoint).contains("NXDOMAIN"));
    world.server.set_addresses("new.test.", 1, &["127.0.1.1"]);
    fresh(&endpoint);
    world
        .server
        .set_all(Some(Reply::Code(ResponseCode::NXDomain)));
    let stale = answer(&endpoint, |answer| matches!(answer.state, State::Stale(_)));
    assert_eq!(hosts(&stale), ["127.0.1.1"]);
}

#[test]
fn an_alias_is_followed_and_a_loop_of_them_ends() {
    let world = World::new();
    let a = |name: &str| record(name, 60, RData::from(IpAddr::from([127, 0, 1, 7])));
    let chain = vec![alias("www.test.", 60, "lb.test."), a("lb.test.")];
    world
        .server
        .set("www.test.", RecordType::A, Reply::Records(chain));
    // A server that leaves the rest of the chain to the asker.
    let half = vec![alias("half.test.", 60, "lb.test.")];
    world
        .server
        .set("half.test.", RecordType::A, Reply::Records(half));
    world.server.set(
        "lb.test.",
        RecordType::A,
        Reply::Records(vec![a("lb.test.")]),
    );
    for name in ["www.test", "half.test"] {
        assert_eq!(fresh(&world.watch(name)), ["127.0.1.7"], "{name}");
    }
    for kind in [RecordType::A, RecordType::AAAA] {
        let ring = vec![
            alias("a.test.", 60, "b.test."),
            alias("b.test.", 60, "a.test."),
        ];
        world
            .server
            .set("a.test.", kind, Reply::Records(ring.clone()));
        world.server.set("b.test.", kind, Reply::Records(ring));
    }
    failed(&world.watch("a.test"));
    assert!(world.server.questions("a.test.", RecordType::A) < 32);
}

#[test]
fn a_lying_server_is_bounded() {
    let world = World::new();
    let many: Vec<_> = (0..2000_u16)
        .map(|i| {
            let [high, low] = i.to_be_bytes();
            record(
                "many.test.",
                1 << 31,
                RData::from(IpAddr::from([127, 1, high, low])),
            )
        })
        .collect();
    world
        .server
        .set("many.test.", RecordType::A, Reply::Truncated(many));
    let endpoint = world.watch("many.test");
    let found = fresh(&endpoint).len();
    assert!((1..=ADDRESSES).contains(&found), "{found}");
    let nobody = [
        "0.0.0.0",
        "0.1.2.3",
        "255.255.255.255",
        "224.0.0.1",
        "::",
        "ff02::1",
        "fe80::1",
    ];
    world.server.set_addresses("nobody.test.", 60, &nobody);
    assert!(failed(&world.watch("nobody.test")).contains("no host has"));
    // Records of somebody else are no answer to the question.
    let other = record("other.test.", 60, RData::from(IpAddr::from([127, 0, 1, 7])));
    world
        .server
        .set("mine.test.", RecordType::A, Reply::Records(vec![other]));
    failed(&world.watch("mine.test"));
}

#[test]
fn services_come_by_priority_and_a_dot_means_none() {
    let world = World::new();
    world.server.set_addresses("one.test.", 60, &["127.0.1.1"]);
    world.server.set_addresses("two.test.", 60, &["127.0.1.2"]);
    let records = vec![
        service("_x._tcp.test.", 20, 0, 8002, "two.test."),
        service("_x._tcp.test.", 10, 5, 8001, "one.test."),
        service("_x._tcp.test.", 30, 5, 8003, "nowhere.test."),
    ];
    world
        .server
        .set("_x._tcp.test.", RecordType::SRV, Reply::Records(records));
    let watch = |name: &str| {
        world.resolver.watch(Query::Service {
            name: name.to_owned(),
        })
    };
    let endpoint = watch("_x._tcp.test");
    let found = answer(&endpoint, |answer| answer.state == State::Fresh);
    let sockets: Vec<SocketAddr> = found.addresses.iter().map(|a| a.socket).collect();
    let expected = ["127.0.1.1:8001", "127.0.1.2:8002"].map(|s| s.parse().expect("a socket"));
    assert_eq!(sockets, expected);
    assert_eq!(found.addresses[0].priority, 10);
    let none = vec![service("_none._tcp.test.", 0, 0, 0, ".")];
    world
        .server
        .set("_none._tcp.test.", RecordType::SRV, Reply::Records(none));
    assert!(failed(&watch("_none._tcp.test")).contains("no such service"));
}

#[test]
fn a_truncated_answer_is_asked_for_again_by_tcp() {
    let world = World::new();
    let records =
        (1..=20).map(|i| record("big.test.", 60, RData::from(IpAddr::from([127, 0, 2, i]))));
    world.server.set(
        "big.test.",
        RecordType::A,
        Reply::Truncated(records.collect()),
    );
    assert_eq!(fresh(&world.watch("big.test")).len(), 20);
}

#[test]
fn one_silent_family_does_not_hold_the_other_up() {
    let world = World::new();
    world.server.set_addresses("db.test.", 60, &["127.0.1.1"]);
    world
        .server
        .set("db.test.", RecordType::AAAA, Reply::Silence);
    let begun = std::time::Instant::now();
    assert_eq!(fresh(&world.watch("db.test")), ["127.0.1.1"]);
    assert!(begun.elapsed().as_millis() < 900, "{:?}", begun.elapsed());
}

#[test]
fn the_hosts_file_comes_first_and_its_changes_are_seen() {
    let world = World::new();
    world.server.set_addresses("db.test.", 60, &["127.0.1.1"]);
    let endpoint = world.watch("db.test");
    assert_eq!(fresh(&endpoint), ["127.0.1.1"]);
    world.replace("hosts", "127.0.9.1 db.test\n");
    answer(&endpoint, |answer| hosts(answer) == ["127.0.9.1"]);
    world.replace("hosts", "127.0.9.1 db.test\n127.0.9.2 db.test\n");
    answer(&endpoint, |answer| {
        hosts(answer) == ["127.0.9.1", "127.0.9.2"]
    });
    fs::remove_file(world.folder.path().join("hosts")).expect("removed");
    answer(&endpoint, |answer| hosts(answer) == ["127.0.1.1"]);
}

#[test]
fn what_cannot_be_read_is_said_and_the_rest_goes_on() {
    let world = World::new();
    world.server.set_addresses("db.test.", 60, &["127.0.1.1"]);
    let name = world.watch("db.test");
    fresh(&name);
    for file in ["hosts", "resolv.conf"] {
        let path = world.folder.path().join(file);
        fs::remove_file(&path).expect("removed");
        fs::create_dir(&path).expect("a folder in its place");
        eventually("a report", || {
            let reports = world.reports();
            reports
                .iter()
                .any(|line| line.contains(file) && line.contains("no regular file"))
                .then_some(())
        });
    }
    fresh(&world.watch("db.test."));
    assert_eq!(fresh(&name), ["127.0.1.1"]);
}

#[test]
fn search_domains_appear_without_a_restart_and_a_trailing_dot_ends_them() {
    let world = World::new();
    world
        .server
        .set_addresses("db.corp.test.", 60, &["127.0.1.1"]);
    let (relative, absolute) = (world.watch("db"), world.watch("db."));
    failed(&relative);
    failed(&absolute);
    world.replace(
        "resolv.conf",
        "search corp.test\noptions timeout:1 attempts:1\n",
    );
    assert_eq!(fresh(&relative), ["127.0.1.1"]);
    failed(&absolute);
}

#[test]
fn an_endpoint_that_nobody_holds_is_asked_for_no_more() {
    let world = World::new();
    world.server.set_addresses("db.test.", 1, &["127.0.1.1"]);
    let endpoint = world.watch("db.test");
    fresh(&endpoint);
    let weak = Arc::downgrade(&endpoint);
    drop(endpoint);
    eventually("gone", || weak.upgrade().is_none().then_some(()));
    let again = world.watch("db.test");
    assert_eq!(fresh(&again), ["127.0.1.1"]);
}

/// A resolver whose thread has the system calls of a confined door with this reach.
fn confined(reach: &'static str) -> World {
    let thread = std::thread::spawn(move || {
        let reach = Reach::parse(reach).expect("words");
        // The filter is the thread's own, and that of the threads it starts.
        World::before(move || {
            let protections = confine(None, false, reach).expect("confined");
            assert!(protections.iter().any(|p| p.name == "seccomp" && p.active));
        })
    });
    thread.join().expect("the thread ends")
}

#[test]
fn all_of_it_works_with_the_system_calls_of_a_confined_door() {
    let world = confined("tcp,names");
    let big = (1..=20).map(|i| record("big.test.", 1, RData::from(IpAddr::from([127, 0, 2, i]))));
    world
        .server
        .set("big.test.", RecordType::A, Reply::Truncated(big.collect()));
    world
        .server
        .set_addresses("db.corp.test.", 1, &["127.0.1.1", "::1"]);
    assert_eq!(fresh(&world.watch("big.test")).len(), 20);
    let name = world.watch("db");
    failed(&name);
    world.replace(
        "resolv.conf",
        "search corp.test\noptions timeout:1 attempts:1\n",
    );
    assert_eq!(fresh(&name).len(), 2);
    world.replace("hosts", "127.0.9.1 db\n");
    answer(&name, |answer| hosts(answer) == ["127.0.9.1"]);
    let reports = world.reports();
    assert!(
        reports.iter().all(|line| line.contains("resolve")),
        "{reports:?}"
    );
}

#[test]
fn a_door_without_names_cannot_look_one_up() {
    let world = confined("tcp");
    world.server.set_addresses("db.test.", 1, &["127.0.1.1"]);
    failed(&world.watch("db.test"));
    assert_eq!(world.server.questions("db.test.", RecordType::A), 0);
    eventually("a report", || {
        let told = |line: &String| line.contains("not seen");
        world.reports().iter().any(told).then_some(())
    });
}
