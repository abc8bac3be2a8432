use std::fs;
use std::os::unix::fs::{chown, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::*;

/// Two users who are not root.
const ALICE: u32 = 61_001;
const MALLORY: u32 = 61_002;

struct Hosts {
    root: tempfile::TempDir,
    directory: Arc<HostsDirectory>,
}

impl Hosts {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut HostsDirectory)) -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let opened = fs::File::open(root.path()).expect("the folder").into();
        let mut directory = HostsDirectory::new("hosts", opened, false).expect("a directory");
        change(&mut directory);
        Self {
            root,
            directory: Arc::new(directory),
        }
    }

    fn folder(&self, name: &str) -> PathBuf {
        let folder = self.root.path().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    fn listen(&self, socket: &str) -> UnixListener {
        let path = self.root.path().join(socket);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        let listener = UnixListener::bind(path).expect("bound");
        listener.set_nonblocking(true).expect("a socket");
        listener
    }

    /// Runs in a thread of its own, since the working directory moves.
    fn ask(
        &self,
        name: Option<&str>,
        offered: &[&str],
        wanted: Wanted,
    ) -> Result<(Kind, SendProxy), ConnectError> {
        let name = name.map(|name| Hostname::parse(name.as_bytes()).expect("a name"));
        let offered: Vec<_> = offered.iter().map(|id| id.as_bytes().to_vec()).collect();
        let directory = Arc::clone(&self.directory);
        std::thread::spawn(move || {
            cloister_sys::threads::unshare_filesystem_attributes().expect("no privilege");
            let found = directory.connect(name.as_ref(), &offered, wanted);
            found.map(|found| (found.kind, found.send_proxy))
        })
        .join()
        .expect("the thread ends")
    }

    fn relay(&self, name: &str) -> Result<SendProxy, ConnectError> {
        self.ask(Some(name), &[], Wanted::Any).map(|found| found.1)
    }

    fn is_known(&self, name: &str) -> bool {
        self.directory.known.get(name).is_some()
    }
}

const NOTHING: Result<SendProxy, ConnectError> = Err(ConnectError::NoTarget(Errno::NOENT));
const NOBODY: Result<SendProxy, ConnectError> = Err(ConnectError::NoHost(Errno::NOENT));

fn took(listener: &UnixListener) -> bool {
    listener.accept().is_ok()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Until a look into folders that exist now would be remembered.
fn settle() {
    std::thread::sleep(Duration::from_millis(3100));
}

#[test]
fn the_folder_decides() {
    let hosts = Hosts::new();
    let folder = hosts.folder("a.example");
    assert_eq!(hosts.relay("a.example"), NOTHING);
    assert_eq!(hosts.relay("b.example"), NOBODY);
    let listener = hosts.listen("a.example/tls-socket");
    assert_eq!(hosts.relay("a.example"), Ok(SendProxy::None));
    for (file, header) in [
        (SEND_PROXY_V1, SendProxy::V1),
        (SEND_PROXY_V2, SendProxy::V2),
    ] {
        fs::write(folder.join(file), "").expect("written");
        assert_eq!(hosts.relay("a.example"), Ok(header));
    }
    symlink("a.example", hosts.root.path().join("c.example")).expect("a link");
    assert_eq!(hosts.relay("c.example"), Ok(SendProxy::V2));
    drop(listener);
    assert_eq!(
        hosts.relay("a.example"),
        Err(ConnectError::NoTarget(Errno::CONNREFUSED))
    );
}

#[test]
fn a_link_does_not_lead_out_of_the_directory() {
    let outside = tempfile::tempdir().expect("a folder");
    let _listener = UnixListener::bind(outside.path().join(SOCKET)).expect("bound");
    let hosts = Hosts::new();
    let link = |to: &Path, name: &str| symlink(to, hosts.root.path().join(name)).expect("a link");
    link(outside.path(), "a.example");
    link(Path::new("/proc/self/cwd"), "b.example");
    link(&Path::new("../../..").join(outside.path()), "c.example");
    hosts.folder("d.example");
    link(&outside.path().join(SOCKET), "d.example/tls-socket");
    for name in ["a.example", "b.example", "c.example", "d.example"] {
        assert_eq!(hosts.relay(name), NOTHING, "{name}");
    }
}

#[test]
fn a_name_longer_than_an_address_is_reached() {
    let hosts = Hosts::new();
    let label = "x".repeat(60);
    let name = format!("{label}.{label}.{label}.{label}.example");
    hosts.folder(&name);
    symlink(&name, hosts.root.path().join("short")).expect("a link");
    let _listener = hosts.listen("short/tls-socket");
    assert_eq!(hosts.relay(&name), Ok(SendProxy::None));
}

#[test]
fn own_before_parent_before_default() {
    let hosts = Hosts::new();
    let default = hosts.listen("_default/tls-socket");
    assert_eq!(hosts.relay("a.example"), Ok(SendProxy::None));
    assert!(took(&default));
    let parent = hosts.listen("*.example/tls-socket");
    assert_eq!(hosts.relay("a.example"), Ok(SendProxy::None));
    assert!(took(&parent));
    // One label only, as in a certificate.
    assert_eq!(hosts.relay("b.a.example"), Ok(SendProxy::None));
    assert_eq!(hosts.relay("example"), Ok(SendProxy::None));
    assert!(took(&default) && took(&default) && !took(&parent));
    // What is there and does not serve keeps its clients from the others.
    hosts.folder("a.example");
    assert_eq!(hosts.relay("a.example"), NOTHING);
    fs::write(hosts.root.path().join("file.example"), "").expect("written");
    assert!(hosts.relay("file.example").is_err());
    symlink("nowhere", hosts.root.path().join("link.example")).expect("a link");
    assert_eq!(hosts.relay("link.example"), NOTHING);
    assert!(!took(&parent) && !took(&default));
    assert!(hosts.ask(None, &[], Wanted::Any).is_ok() && took(&default));
}

#[test]
fn a_protocol_has_a_folder_of_its_own() {
    let hosts = Hosts::new();
    let usual = hosts.listen("a.example/tls-socket");
    let acme = hosts.listen("a.example/alpn/acme-tls%2F1/tls-socket");
    let http = hosts.listen("a.example/alpn/http%2F1.1/tls-socket");
    fs::write(hosts.root.path().join("a.example/send-proxy-v1"), "").expect("written");
    let header = |offered: &[&str]| {
        let found = hosts.ask(Some("a.example"), offered, Wanted::Any);
        found.map(|found| found.1)
    };
    assert_eq!(header(&["acme-tls/1"]), Ok(SendProxy::None));
    assert!(took(&acme));
    // A browser prefers h2, which is served with all the rest.
    assert_eq!(header(&["h2", "http/1.1"]), Ok(SendProxy::V1));
    assert!(took(&usual));
    assert_eq!(header(&["http/1.1"]), Ok(SendProxy::None));
    assert!(took(&http));
    for odd in ["../a.example", "..", ".", "", "a\0b", &"x".repeat(255)] {
        assert_eq!(header(&[odd]), Ok(SendProxy::V1), "{odd:?}");
        assert!(took(&usual));
    }
    hosts.folder("a.example/alpn/h2");
    assert_eq!(header(&["h2", "http/1.1"]), NOTHING);
}

#[test]
fn a_socket_for_handing_over_comes_first() {
    let hosts = Hosts::new();
    let bind = |path: &str| {
        let socket = rustix::net::socket(rustix::net::AddressFamily::UNIX, HANDOFF_TYPE, None);
        let socket = socket.expect("a socket");
        let address = SocketAddrUnix::new(hosts.root.path().join(path)).expect("short");
        rustix::net::bind(&socket, &address).expect("bound");
        rustix::net::listen(&socket, 8).expect("listening");
        socket
    };
    hosts.folder("a.example");
    let _handoff = bind("a.example/handoff-socket");
    let kind = |wanted| {
        hosts
            .ask(Some("a.example"), &[], wanted)
            .map(|found| found.0)
    };
    assert_eq!(kind(Wanted::Any), Ok(Kind::Handoff { fallback: false }));
    assert_eq!(
        kind(Wanted::Relay),
        Err(ConnectError::NoTarget(Errno::NOENT))
    );
    let _relay = hosts.listen("a.example/tls-socket");
    assert_eq!(kind(Wanted::Any), Ok(Kind::Handoff { fallback: true }));
    assert_eq!(kind(Wanted::Relay), Ok(Kind::Relay));
}

#[test]
fn hashed_names() {
    let hosts = Hosts::with(|directory| directory.hashed = true);
    let _own = hosts.listen(&format!("{}/tls-socket", hashed_name("a.example")));
    assert_eq!(hosts.relay("a.example"), Ok(SendProxy::None));
    assert_eq!(hosts.relay("b.example"), NOBODY);
    hosts.listen("b.example/tls-socket");
    assert_eq!(hosts.relay("b.example"), NOBODY);
    let _parent = hosts.listen(&format!("{}/tls-socket", hashed_name("*.example")));
    assert_eq!(hosts.relay("b.example"), Ok(SendProxy::None));
}

#[test]
fn what_was_looked_at_is_remembered_and_every_change_counts_at_once() {
    let hosts = Hosts::new();
    let socket = hosts.root.path().join("a.example/tls-socket");
    let mut listener = hosts.listen("a.example/tls-socket");
    assert_eq!(hosts.relay("a.example"), Ok(SendProxy::None));
    assert!(!hosts.is_known("a.example"), "its times are too new");
    settle();
    for _ in 0..3 {
        assert_eq!(hosts.relay("a.example"), Ok(SendProxy::None));
        assert!(hosts.is_known("a.example"));
    }
    // As fast as changes can follow each other: many within one tick of the clock.
    let proxy = hosts.root.path().join("a.example/send-proxy-v2");
    for _ in 0..500 {
        fs::write(&proxy, "").expect("written");
        assert_eq!(hosts.relay("a.example"), Ok(SendProxy::V2));
        fs::remove_file(&proxy).expect("removed");
        assert_eq!(hosts.relay("a.example"), Ok(SendProxy::None));
        fs::remove_file(&socket).expect("removed");
        assert_eq!(hosts.relay("a.example"), NOTHING);
        drop(listener);
        listener = hosts.listen("a.example/tls-socket");
        assert_eq!(hosts.relay("a.example"), Ok(SendProxy::None));
    }
}

#[test]
fn a_folder_that_took_another_s_place_is_looked_into() {
    let hosts = Hosts::new();
    let _old = hosts.listen("a.example/tls-socket");
    let _new = hosts.listen("new/tls-socket");
    fs::write(hosts.root.path().join("new/send-proxy-v2"), "").expect("written");
    settle();
    assert_eq!(hosts.relay("a.example"), Ok(SendProxy::None));
    assert!(hosts.is_known("a.example"));
    let path = |name| hosts.root.path().join(name);
    fs::rename(path("a.example"), path("old")).expect("renamed");
    assert_eq!(hosts.relay("a.example"), NOBODY);
    fs::rename(path("new"), path("a.example")).expect("renamed");
    assert_eq!(hosts.relay("a.example"), Ok(SendProxy::V2));
}

/// Alice's folder and socket, and a folder of Mallory's.
fn tenants(hosts: &Hosts) -> UnixListener {
    let alice = hosts.listen("alice.example/tls-socket");
    let path = |name| hosts.root.path().join(name);
    chown(path("alice.example"), Some(ALICE), Some(ALICE)).expect("root");
    chown(path("alice.example/tls-socket"), Some(ALICE), Some(ALICE)).expect("root");
    hosts.folder("mallory.example");
    chown(path("mallory.example"), Some(MALLORY), Some(MALLORY)).expect("root");
    alice
}

fn link_of(owner: u32, to: &str, path: &Path) {
    symlink(to, path).expect("a link");
    lchown(path, Some(owner), Some(owner)).expect("root");
}

#[test]
fn a_link_leads_to_what_its_owner_owns() {
    if !is_root() {
        return;
    }
    let hosts = Hosts::new();
    let alice = tenants(&hosts);
    let path = |name: &str| hosts.root.path().join(name);
    let refused = Err(ConnectError::Link {
        owner: MALLORY,
        target: ALICE,
    });
    let cases = [
        ("one.example", "alice.example"),
        ("two.example", "/alice.example"),
        ("mallory.example/tls-socket", "../alice.example/tls-socket"),
    ];
    for (entry, to) in cases {
        link_of(MALLORY, to, &path(entry));
        assert_eq!(
            hosts.relay(entry.split('/').next().expect("a name")),
            refused
        );
    }
    // By way of a link of hers, and of root's.
    link_of(ALICE, "alice.example", &path("hers.example"));
    link_of(0, "alice.example", &path("roots.example"));
    link_of(MALLORY, "hers.example", &path("three.example"));
    link_of(MALLORY, "roots.example", &path("four.example"));
    assert_eq!(hosts.relay("three.example"), refused);
    assert_eq!(hosts.relay("four.example"), refused);
    assert!(!took(&alice), "never reached");
    for (number, entry) in ["hers.example", "roots.example"].into_iter().enumerate() {
        assert_eq!(hosts.relay(entry), Ok(SendProxy::None), "{number}");
        assert!(took(&alice));
    }
}

#[test]
fn links_that_lead_in_circles_end() {
    let hosts = Hosts::new();
    let path = |name: &str| hosts.root.path().join(name);
    symlink("b.example", path("a.example")).expect("a link");
    symlink("a.example", path("b.example")).expect("a link");
    let looped = Err(ConnectError::NoTarget(Errno::LOOP));
    assert_eq!(hosts.relay("a.example"), looped);
    symlink("./".repeat(2000), path("c.example")).expect("a link");
    assert_eq!(hosts.relay("c.example"), looped);
}

#[test]
fn nobody_takes_names_that_are_not_theirs() {
    if !is_root() {
        return;
    }
    let hosts = Hosts::new();
    let path = |name: &str| hosts.root.path().join(name);
    let mallory = hosts.listen("mallory.example/tls-socket");
    for name in ["mallory.example", "mallory.example/tls-socket"] {
        chown(path(name), Some(MALLORY), Some(MALLORY)).expect("root");
    }
    link_of(MALLORY, "mallory.example", &path("*.example"));
    link_of(MALLORY, "nowhere", &path("_default"));
    assert_eq!(hosts.relay("a.example"), NOBODY);
    assert!(!took(&mallory));
    // They are the directory's owner's to give.
    chown(hosts.root.path(), Some(MALLORY), None).expect("root");
    assert_eq!(hosts.relay("a.example"), Ok(SendProxy::None));
    assert_eq!(hosts.relay("a.other"), NOTHING);
}

/// One thread renames a link to Alice's socket and a socket of Mallory's over each other as
/// fast as it can; no connection reaches Alice.
#[test]
fn a_race_by_renaming_is_lost() {
    if !is_root() {
        return;
    }
    let hosts = Hosts::new();
    let alice = tenants(&hosts);
    let path = |name: &str| hosts.root.path().join("mallory.example").join(name);
    let mallory = hosts.listen("mallory.example/own");
    chown(path("own"), Some(MALLORY), Some(MALLORY)).expect("root");
    link_of(MALLORY, "/alice.example/tls-socket", &path("tls-socket"));
    // The kernel exchanges both names in one step.
    let folder = fs::File::open(hosts.root.path().join("mallory.example")).expect("a folder");
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let swapper = std::thread::spawn(move || {
        let exchange = rustix::fs::RenameFlags::EXCHANGE;
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            rustix::fs::renameat_with(&folder, "own", &folder, "tls-socket", exchange)
                .expect("exchanged");
        }
    });
    let mut reached = 0;
    for _ in 0..3_000 {
        match hosts.relay("mallory.example") {
            Ok(_) => {
                reached += 1;
                assert!(took(&mallory), "a connection that went elsewhere");
            }
            Err(ConnectError::Link { .. } | ConnectError::Listener { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    swapper.join().expect("ended");
    assert!(reached > 0, "the race was never run");
    assert!(!took(&alice));
}

#[test]
fn without_proc_the_listener_proves_whose_it_is() {
    if !is_root() {
        return;
    }
    let hosts = Hosts::with(|directory| directory.reach = Reach::by_name());
    let _root = hosts.listen("root.example/tls-socket");
    assert_eq!(hosts.relay("root.example"), Ok(SendProxy::None));
    let _alice = tenants(&hosts);
    assert_eq!(
        hosts.relay("alice.example"),
        Err(ConnectError::Listener {
            owner: ALICE,
            listener: 0
        })
    );
    chown(hosts.root.path().join("alice.example"), Some(0), Some(0)).expect("root");
    assert_eq!(hosts.relay("alice.example"), Ok(SendProxy::None));
}
