//! The filters' answers, found by running them as the kernel does, for both architectures.

use super::*;

const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const X86_64: u32 = 0xC000_003E;
const I386: u32 = 0x4000_0003;
const AARCH64: u32 = 0xC000_00B7;
const ARM: u32 = 0x4000_0028;

const fn errno(number: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | number.unsigned_abs()
}

/// What the kernel would make of one call: the classic BPF machine, as far as filters use it.
fn answer(program: &[sock_filter], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend(number.to_le_bytes());
    data.extend(architecture.to_le_bytes());
    data.extend([0; 8]);
    data.extend(arguments.iter().flat_map(|one| one.to_le_bytes()));
    let (mut accumulator, mut place) = (0_u32, 0);
    loop {
        let step = &program[place];
        place += 1;
        let k = step.k;
        let mut branch = |taken: bool| {
            place += usize::from(if taken { step.jt } else { step.jf });
        };
        match u32::from(step.code) {
            0x20 => {
                let at = k as usize;
                accumulator = u32::from_le_bytes(data[at..at + 4].try_into().expect("four bytes"));
            }
            0x54 => accumulator &= k,
            0x05 => place += k as usize,
            0x15 => branch(accumulator == k),
            0x25 => branch(accumulator > k),
            0x35 => branch(accumulator >= k),
            0x06 => return k,
            other => panic!("instruction {other:#x}"),
        }
    }
}

fn list(architecture: Architecture) -> AllowList {
    let mut list = AllowList::new(architecture);
    list.allow("read").expect("a call");
    list.allow("open").expect("a call of x86_64");
    let no_terminal_input = [
        Condition {
            argument: 1,
            comparison: Comparison::Differs { value: 0x5412 },
        },
        Condition {
            argument: 1,
            comparison: Comparison::Differs { value: 0x541C },
        },
    ];
    list.allow_when("ioctl", &no_terminal_input)
        .expect("a call");
    for family in [1, 2] {
        let condition = Condition {
            argument: 0,
            comparison: Comparison::Equal {
                mask: u32::MAX,
                value: family,
            },
        };
        list.allow_when("socket", &[condition]).expect("a call");
    }
    list.hide("clone3").expect("a call");
    list.hide("io_uring_setup").expect("a call");
    list
}

#[test]
fn both_architectures_get_their_own_numbers() {
    for (architecture, audit, other, read, socket) in [
        (Architecture::X86_64, X86_64, I386, 0, 41),
        (Architecture::Aarch64, AARCH64, ARM, 63, 198),
    ] {
        let program = list(architecture).compile().expect("a filter");
        let call = |number| answer(&program, audit, number, [0; 6]);
        assert_eq!(call(read), ALLOW);
        // Nothing of its arguments fits: family 0.
        assert_eq!(call(socket), errno(libc::EPERM));
        for number in 0..=NEWEST {
            assert_eq!(answer(&program, other, number, [0; 6]), KILL);
        }
        // clone3 and io_uring_setup have one number everywhere.
        for number in [435, 425, NEWEST + 1, 1000, u32::MAX] {
            assert_eq!(call(number), errno(libc::ENOSYS), "{number}");
        }
        assert_eq!(call(426), errno(libc::EPERM));
        assert_eq!(call(NEWEST), errno(libc::EPERM));
    }
}

#[test]
fn every_number_has_its_answer_whatever_the_gaps_between_them() {
    for (architecture, audit) in [
        (Architecture::X86_64, X86_64),
        (Architecture::Aarch64, AARCH64),
    ] {
        for pattern in 0..40_u32 {
            let chosen = |number: u32| match pattern {
                0 => false,
                1 => true,
                _ => (number / 3).wrapping_mul(pattern * 7 + 1) % 11 < pattern % 11,
            };
            let mut list = AllowList::new(architecture);
            for (name, number) in all(architecture) {
                if matches!(number, Number::Here(number) if chosen(number)) {
                    list.allow(name).expect("a call");
                }
            }
            let known: BTreeSet<_> = list.allowed.keys().copied().collect();
            let program = list.compile().expect("a filter");
            for number in 0..=NEWEST {
                let expected = if known.contains(&number) {
                    ALLOW
                } else {
                    errno(libc::EPERM)
                };
                assert_eq!(
                    answer(&program, audit, number, [0; 6]),
                    expected,
                    "{number}"
                );
            }
        }
    }
}

#[test]
fn x32_kills() {
    let program = list(Architecture::X86_64).compile().expect("a filter");
    for number in [0x4000_0000, 0x4000_0001, 0x7FFF_FFFF, 0xFFFF_FFFE] {
        assert_eq!(
            answer(&program, X86_64, number, [0; 6]),
            KILL,
            "{number:#x}"
        );
    }
    // aarch64 has no such bit: the number is an unknown one.
    let program = list(Architecture::Aarch64).compile().expect("a filter");
    let unknown = answer(&program, AARCH64, 0x4000_0000, [0; 6]);
    assert_eq!(unknown, errno(libc::ENOSYS));
}

#[test]
fn a_call_of_another_architecture_is_passed_over() {
    let program = list(Architecture::X86_64).compile().expect("a filter");
    assert_eq!(answer(&program, X86_64, 2, [0; 6]), ALLOW);
    let list = list(Architecture::Aarch64);
    assert_eq!(list.allowed.len(), 3);
}

#[test]
fn conditions_hold_together_and_alternatives_apart() {
    let program = list(Architecture::X86_64).compile().expect("a filter");
    let ioctl = |request| answer(&program, X86_64, 16, [0, request, 0, 0, 0, 0]);
    assert_eq!(ioctl(0x5401), ALLOW);
    assert_eq!(ioctl(0x5412), errno(libc::EPERM));
    assert_eq!(ioctl(0x541C), errno(libc::EPERM));
    // The kernel takes 32 bits of the request: more above them is the same request.
    assert_eq!(ioctl(0x1_0000_5412), errno(libc::EPERM));
    let socket = |family| answer(&program, X86_64, 41, [family, 0, 0, 0, 0, 0]);
    assert_eq!([socket(1), socket(2)], [ALLOW; 2]);
    assert_eq!([socket(0), socket(40)], [errno(libc::EPERM); 2]);
}

#[test]
fn without_conditions_is_more_than_with_them_in_either_order() {
    let condition = Condition {
        argument: 0,
        comparison: Comparison::Equal { mask: 1, value: 1 },
    };
    for first in [true, false] {
        let mut list = AllowList::new(Architecture::X86_64);
        if first {
            list.allow("socket").expect("a call");
        }
        list.allow_when("socket", &[condition]).expect("a call");
        list.allow("socket").expect("a call");
        let program = list.compile().expect("a filter");
        assert_eq!(answer(&program, X86_64, 41, [0; 6]), ALLOW);
    }
}

#[test]
fn a_name_that_is_none_is_an_error() {
    let mut list = AllowList::new(Architecture::X86_64);
    assert_eq!(list.allow("opeen"), Err(UnknownCall));
    assert_eq!(list.allow_when("opeen", &[]), Err(UnknownCall));
    assert_eq!(list.hide("opeen"), Err(UnknownCall));
}

#[test]
fn too_many_absent_calls_are_an_error_and_not_a_wrong_jump() {
    let mut list = AllowList::new(Architecture::X86_64);
    for (name, _) in all(Architecture::X86_64).take(ABSENT_LIMIT) {
        list.hide(name).expect("a call");
    }
    let program = list.compile().expect("as many as may be");
    for number in &list.absent {
        assert_eq!(
            answer(&program, X86_64, *number, [0; 6]),
            errno(libc::ENOSYS)
        );
    }
    for (name, _) in all(Architecture::X86_64).take(ABSENT_LIMIT + 1) {
        list.hide(name).expect("a call");
    }
    assert!(list.compile().is_err());
}

#[test]
fn the_kernel_takes_the_filter() {
    let thread = std::thread::spawn(|| {
        let mut list = AllowList::new(Architecture::native().expect("known"));
        for (name, _) in all(list.architecture) {
            if name != "getppid" {
                list.allow(name).expect("a call");
            }
        }
        list.hide("getpgid").expect("a call");
        list.apply().expect("a filter");
        // SAFETY: neither call takes or touches memory.
        let results = unsafe {
            let parent = libc::syscall(libc::SYS_getppid);
            let first = io::Error::last_os_error().raw_os_error();
            let group = libc::syscall(libc::SYS_getpgid, 0);
            let second = io::Error::last_os_error().raw_os_error();
            ((parent, first), (group, second))
        };
        assert_eq!(results, ((-1, Some(libc::EPERM)), (-1, Some(libc::ENOSYS))));
    });
    thread.join().expect("the thread ends");
}
