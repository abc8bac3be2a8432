//! Specifications for tests.

use cloister_proto::messages::cell::{
    Bind, Clocks, Condition, ConditionalCall, Content, ControlGroups, Descriptor, Egress, Fences,
    File, Filesystem, HostName, Hosts, IdRange, Identity, Label, Landlock, LimitedResource, Link,
    Namespaces, Protections, ResourceLimit, Spec, Stdin, SystemCalls, Temporary, Variable, WayOut,
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
            uid_map: vec![range(1000, 500_001, 1)],
            gid_map: vec![range(1000, 500_001, 1)],
            host_root: false,
        },
        host_groups: vec![33],
        control_groups: ControlGroups {
            unified: Some(12),
            members: vec![13, 14],
        },
        init: true,
        namespaces: namespaces(true),
        clocks: Clocks {
            monotonic_ns: 0,
            boottime_ns: 0,
        },
        filesystem: Filesystem {
            root: None,
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
                executable: true,
            }],
            hosts: Some(Hosts {
                names: vec![HostName {
                    address: [127, 0, 1, 1].into(),
                    name: "db.internal".into(),
                }],
                otherwise: "127.0.0.1 localhost\n".into(),
            }),
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
        egress: Some(Egress {
            descriptor: 15,
            ways: vec![
                loopback([127, 0, 1, 1], 5432),
                loopback([127, 0, 1, 2], 443),
                WayOut::Socket {
                    path: "/run/db.sock".into(),
                },
            ],
        }),
        stdin: Stdin::Null,
        protections: protections(true),
        fences: fences(),
    }
}

/// One of everything.
pub fn fences() -> Fences {
    let equal = |argument, mask, value| Condition::Equal {
        argument,
        mask,
        value,
    };
    Fences {
        system_calls: Some(SystemCalls {
            profile: "default".into(),
            allowed: ["read", "write", "execve", "open"].map(Into::into).into(),
            conditional: vec![
                ConditionalCall {
                    name: "socket".into(),
                    conditions: vec![equal(0, u32::MAX, 1)],
                },
                ConditionalCall {
                    name: "socket".into(),
                    conditions: vec![equal(0, u32::MAX, 2), equal(1, 0xF, 1)],
                },
                ConditionalCall {
                    name: "ioctl".into(),
                    conditions: vec![Condition::Differs {
                        argument: 1,
                        value: 0x5412,
                    }],
                },
            ],
            absent: vec!["clone3".into()],
        }),
        landlock: Some(Landlock {
            required: false,
            files: true,
            signals: true,
            abstract_sockets: true,
            tcp_bind: Some(vec![8080]),
            tcp_connect: Some(Vec::new()),
        }),
        limits: vec![
            ResourceLimit {
                resource: LimitedResource::OpenFiles,
                value: 1024,
            },
            ResourceLimit {
                resource: LimitedResource::Processes,
                value: 64,
            },
            ResourceLimit {
                resource: LimitedResource::LockedMemory,
                value: 65536,
            },
            ResourceLimit {
                resource: LimitedResource::FileSize,
                value: 1 << 30,
            },
        ],
        proc: vec!["meminfo".into(), "sys".into()],
        labels: vec![
            Label::Selinux {
                context: "system_u:system_r:blog_t:s0".into(),
            },
            Label::Apparmor {
                profile: "blog".into(),
            },
        ],
    }
}

pub fn no_fences() -> Fences {
    Fences {
        system_calls: None,
        landlock: None,
        limits: Vec::new(),
        proc: Vec::new(),
        labels: Vec::new(),
    }
}

/// The same cell with every namespace and protection taken away.
pub fn bare() -> Spec {
    Spec {
        namespaces: namespaces(false),
        protections: protections(false),
        fences: no_fences(),
        stdin: Stdin::Inherit,
        descriptors: Vec::new(),
        egress: None,
        host_groups: Vec::new(),
        control_groups: ControlGroups::default(),
        ..full()
    }
}

pub fn loopback(host: [u8; 4], port: u16) -> WayOut {
    WayOut::Loopback {
        host: host.into(),
        port,
    }
}

pub fn bind(source: &str, destination: &str) -> Bind {
    Bind {
        source: source.into(),
        destination: destination.into(),
        writable: false,
        executable: true,
        optional: false,
        owners: None,
    }
}

pub fn range(inside: u32, outside: u32, size: u32) -> IdRange {
    IdRange {
        inside,
        outside,
        size,
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
        time: own,
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
