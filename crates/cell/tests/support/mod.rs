//! Specifications for tests.

use cloister_proto::messages::cell::{
    Bind, Content, Descriptor, File, Filesystem, Identity, Link, Namespaces, Protections, Spec,
    Stdin, Temporary, Variable,
};

/// A cell with something of everything.
pub fn full() -> Spec {
    Spec {
        name: "blog".into(),
        command: vec!["/usr/bin/python3".into(), "-c".into(), "print(1)".into()],
        environment: vec![Variable {
            name: "TOKEN".into(),
            value: "secret-value".into(),
        }],
        working_directory: "/srv/blog".into(),
        hostname: "blog".into(),
        identity: Identity {
            uid: 1000,
            gid: 1000,
            host_uid: 500_001,
            host_gid: 500_001,
        },
        namespaces: namespaces(true),
        filesystem: Filesystem {
            // Not in the order in which they must be mounted.
            binds: vec![
                bind("/srv/blog", "/tmp/blog"),
                bind("/usr", "/usr"),
                Bind {
                    writable: true,
                    executable: false,
                    optional: true,
                    ..bind("/var/lib/blog", "/dev/blog")
                },
            ],
            temporary: vec![Temporary {
                path: "/tmp".into(),
                size_bytes: 64 * 1024 * 1024,
                mode: 0o1777,
            }],
            files: vec![
                File {
                    path: "/etc/hostname".into(),
                    mode: 0o444,
                    content: Content::Text {
                        text: "secret-text\n".into(),
                    },
                },
                File {
                    path: "/run/credentials/key".into(),
                    mode: 0o400,
                    content: Content::Descriptor { descriptor: 8 },
                },
            ],
            links: vec![Link {
                path: "/bin".into(),
                target: "usr/bin".into(),
            }],
            proc: true,
            dev: true,
        },
        descriptors: vec![Descriptor {
            name: "blog".into(),
            descriptor: 7,
        }],
        stdin: Stdin::Null,
        protections: protections(true),
    }
}

/// The same cell with every namespace and protection taken away.
pub fn bare() -> Spec {
    Spec {
        namespaces: namespaces(false),
        protections: protections(false),
        stdin: Stdin::Inherit,
        descriptors: Vec::new(),
        ..full()
    }
}

pub fn bind(source: &str, destination: &str) -> Bind {
    Bind {
        source: source.into(),
        destination: destination.into(),
        writable: false,
        executable: true,
        optional: false,
    }
}

pub fn namespaces(own: bool) -> Namespaces {
    Namespaces {
        user: own,
        mount: own,
        pid: own,
        ipc: own,
        uts: own,
        cgroup: own,
        network: own,
    }
}

pub fn protections(taken: bool) -> Protections {
    Protections {
        drop_capabilities: taken,
        no_new_privileges: taken,
        new_session: taken,
        new_keyring: taken,
        no_core_dumps: taken,
        close_descriptors: taken,
    }
}
