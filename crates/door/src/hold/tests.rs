//! A supervisor's orders against a holder in this process.

use std::fs::File;
use std::io::{Read, Write};
use std::thread::JoinHandle;

use rustix::net::{AddressFamily, SocketType, socketpair};

use super::*;

/// Connections to one holder, one after the other.
struct Supervisor {
    socket: OwnedFd,
    holder: JoinHandle<(Holder, Outcome)>,
}

impl Supervisor {
    fn begin(mut holder: Holder) -> Self {
        let (socket, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .expect("a pair");
        let holder = std::thread::spawn(move || {
            let outcome = holder.serve(theirs.as_fd());
            (holder, outcome)
        });
        Self { socket, holder }
    }

    fn order(&self, text: &str, descriptors: &[OwnedFd]) {
        let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(80))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !borrowed.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(&borrowed)));
        }
        let pieces = [IoSlice::new(text.as_bytes())];
        sendmsg(&self.socket, &pieces, &mut control, SendFlags::empty()).expect("sent");
    }

    fn answer(&self) -> (Answer, Vec<OwnedFd>) {
        let mut bytes = vec![0; PACKET];
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(80))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut pieces = [IoSliceMut::new(&mut bytes)];
        let message = recvmsg(&self.socket, &mut pieces, &mut control, RecvFlags::empty());
        let count = message.expect("an answer").bytes;
        let rights = control.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(rights) => rights.collect(),
            _ => Vec::new(),
        });
        let rights = rights.collect();
        (
            serde_json::from_slice(&bytes[..count]).expect("an answer"),
            rights,
        )
    }

    fn list(&self) -> Vec<(String, String, Vec<OwnedFd>)> {
        self.order(r#"{"type":"list"}"#, &[]);
        let mut found = Vec::new();
        loop {
            match self.answer() {
                (Answer::Kept { name, record }, rights) => found.push((name, record, rights)),
                (Answer::Listed { count }, _) => {
                    assert_eq!(count as usize, found.len());
                    return found;
                }
            }
        }
    }

    fn end(self) -> (Holder, Outcome) {
        drop(self.socket);
        self.holder.join().expect("the holder returns")
    }
}

fn store(name: &str, record: &str) -> String {
    let (name, record) = (name.to_owned(), record.to_owned());
    serde_json::to_string(&Order::Store { name, record }).expect("plain")
}

#[test]
fn the_next_supervisor_gets_what_the_last_one_stored() {
    let first = Supervisor::begin(Holder::default());
    let (mut reading, writing) = std::io::pipe().expect("a pipe");
    first.order(&store("b", "second"), &[writing.into()]);
    first.order(&store("a", "old"), &[]);
    first.order(&store("a", "first"), &[]);
    first.order(&store("c", "third"), &[]);
    first.order(r#"{"type":"forget","name":"c"}"#, &[]);
    first.order(r#"{"type":"forget","name":"never there"}"#, &[]);
    let (holder, outcome) = first.end();
    assert_eq!(outcome, Outcome::Gone);
    let second = Supervisor::begin(holder);
    let mut found = second.list();
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].0.as_str(), found[0].1.as_str()), ("a", "first"));
    let (_, _, rights) = found.pop().expect("two");
    let mut writing = File::from(rights.into_iter().next().expect("the pipe"));
    writing.write_all(b"still there").expect("written");
    drop(writing);
    second.order(r#"{"type":"end"}"#, &[]);
    let (holder, outcome) = second.end();
    assert_eq!(outcome, Outcome::Over);
    drop(holder);
    let mut text = String::new();
    reading.read_to_string(&mut text).expect("its end");
    assert_eq!(text, "still there");
}

#[test]
fn what_is_no_order_ends_the_conversation_and_loses_nothing() {
    let many = || (0..65).map(|_| std::io::pipe().expect("a pipe").0.into());
    let long = format!("{}{}", store("x", ""), " ".repeat(PACKET));
    let cases: [(String, Vec<OwnedFd>); 4] = [
        ("{".to_owned(), Vec::new()),
        (r#"{"type":"dance"}"#.to_owned(), Vec::new()),
        (store("x", ""), many().collect()),
        (long, Vec::new()),
    ];
    let mut holder = Holder::default();
    holder.entries.insert(
        "kept".to_owned(),
        Entry {
            record: String::new(),
            descriptors: Vec::new(),
        },
    );
    for (text, descriptors) in cases {
        let supervisor = Supervisor::begin(holder);
        supervisor.order(&text, &descriptors);
        let outcome;
        (holder, outcome) = supervisor.end();
        assert_eq!(outcome, Outcome::Gone);
        assert_eq!(holder.entries.keys().collect::<Vec<_>>(), ["kept"]);
    }
}
