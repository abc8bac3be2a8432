//! A name server that a test scripts while it runs, on UDP and TCP of one port of loopback.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{CNAME, SOA, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

/// What a question is answered with.
#[derive(Clone, Debug)]
pub enum Reply {
    /// These records.
    Records(Vec<Record>),
    /// This code, with an SOA record whose negative time of life is a second.
    Code(ResponseCode),
    /// Nothing.
    Silence,
    /// TC over UDP, these records over TCP.
    Truncated(Vec<Record>),
}

#[derive(Default)]
struct Script {
    replies: HashMap<(String, RecordType), Reply>,
    /// For everything, while set.
    all: Option<Reply>,
    questions: Vec<(String, RecordType)>,
}

/// The server; its threads end with the test.
pub struct NameServer {
    script: Arc<Mutex<Script>>,
    pub address: SocketAddr,
}

impl NameServer {
    pub fn start() -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = tcp.local_addr().expect("bound");
        let udp = UdpSocket::bind(address).expect("the same port is free for UDP");
        let script = Arc::new(Mutex::new(Script::default()));
        let shared = Arc::clone(&script);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = udp.recv_from(&mut buffer) {
                if let Some(answer) = answer(&shared, &buffer[..length], false) {
                    udp.send_to(&answer, from).expect("sent");
                }
            }
        });
        let shared = Arc::clone(&script);
        thread::spawn(move || {
            for connection in tcp.incoming() {
                let mut connection = connection.expect("accepted");
                let mut head = [0; 2];
                while connection.read_exact(&mut head).is_ok() {
                    let mut question = vec![0; usize::from(u16::from_be_bytes(head))];
                    connection.read_exact(&mut question).expect("a question");
                    let answer = answer(&shared, &question, true).unwrap_or_default();
                    let length = u16::try_from(answer.len()).expect("fits");
                    let message = [&length.to_be_bytes()[..], &answer].concat();
                    connection.write_all(&message).expect("sent");
                }
            }
        });
        Self { script, address }
    }

    /// Answers a name's questions of one type so.
    pub fn set(&self, name: &str, kind: RecordType, reply: Reply) {
        let mut script = self.script.lock().expect("no panic");
        script.replies.insert((name.to_owned(), kind), reply);
    }

    /// A name with these addresses, of both families.
    pub fn set_addresses(&self, name: &str, ttl: u32, addresses: &[&str]) {
        let addresses: Vec<IpAddr> = addresses.iter().map(|a| a.parse().expect("one")).collect();
        for kind in [RecordType::A, RecordType::AAAA] {
            let own = addresses
                .iter()
                .filter(|a| a.is_ipv6() == (kind == RecordType::AAAA));
            let records = own.map(|a| record(name, ttl, RData::from(*a))).collect();
            self.set(name, kind, Reply::Records(records));
        }
    }

    /// Answers everything so; `None` ends it.
    pub fn set_all(&self, reply: Option<Reply>) {
        self.script.lock().expect("no panic").all = reply;
    }

    /// How often a type has been asked for.
    pub fn questions(&self, name: &str, kind: RecordType) -> usize {
        let script = self.script.lock().expect("no panic");
        let asked = script.questions.iter();
        asked.filter(|(n, k)| n == name && *k == kind).count()
    }

    pub fn wait_for_questions(&self, name: &str, kind: RecordType, count: usize) {
        let what = format!("{count} questions for {name}");
        eventually(&what, || {
            (self.questions(name, kind) >= count).then_some(())
        });
    }
}

/// The first value, within ten seconds.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(Instant::now() < until, "{what}: not in time");
        thread::sleep(Duration::from_millis(2));
    }
}

pub fn record(name: &str, ttl: u32, data: RData) -> Record {
    Record::from_rdata(name.parse().expect("a name"), ttl, data)
}

pub fn alias(name: &str, ttl: u32, target: &str) -> Record {
    record(
        name,
        ttl,
        RData::CNAME(CNAME(target.parse().expect("a name"))),
    )
}

pub fn service(name: &str, priority: u16, weight: u16, port: u16, target: &str) -> Record {
    let target = target.parse().expect("a name");
    record(
        name,
        60,
        RData::SRV(SRV::new(priority, weight, port, target)),
    )
}

fn answer(script: &Mutex<Script>, question: &[u8], tcp: bool) -> Option<Vec<u8>> {
    let question = Message::from_vec(question).expect("a question");
    let query = question.queries[0].clone();
    let key = (query.name().to_string().to_lowercase(), query.query_type());
    let reply = {
        let mut script = script.lock().expect("no panic");
        script.questions.push(key.clone());
        let known = script.replies.get(&key).cloned();
        let reply = script.all.clone().or(known);
        reply.unwrap_or(Reply::Code(ResponseCode::NXDomain))
    };
    let mut answer = Message::response(question.id, question.op_code);
    answer.add_query(query);
    answer.metadata.recursion_desired = true;
    answer.metadata.recursion_available = true;
    match reply {
        Reply::Silence => return None,
        Reply::Code(code) => {
            answer.metadata.response_code = code;
            answer.add_authorities([start_of_authority()]);
        }
        Reply::Truncated(_) if !tcp => answer.metadata.truncation = true,
        Reply::Records(records) | Reply::Truncated(records) => {
            if records.is_empty() {
                answer.add_authorities([start_of_authority()]);
            }
            answer.add_answers(records);
        }
    }
    Some(answer.to_vec().expect("encoded"))
}

fn start_of_authority() -> Record {
    let name = |text: &str| -> Name { text.parse().expect("a name") };
    let soa = SOA::new(name("ns.test."), name("host.test."), 1, 3600, 600, 86400, 1);
    record("test.", 1, RData::SOA(soa))
}
