//! What of an answer counts.

use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::lookup::Lookup;
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use super::schedule::LONGEST_TTL;

/// Aliases (CNAME) within one answer that are followed.
const ALIASES: usize = 16;

/// The records of one type that belong to a name or to what it is an alias of, and the
/// shortest time of life of all of them; others are whatever the server put beside them.
#[must_use]
pub fn own_records<'a>(
    lookup: &'a Lookup,
    name: &Name,
    kind: RecordType,
) -> (Vec<&'a RData>, Duration) {
    let mut owner = name;
    let mut ttl = u32::MAX;
    for _ in 0..ALIASES {
        let own = lookup
            .answers()
            .iter()
            .filter(|record| record.name == *owner);
        let mut alias = None;
        let mut records = Vec::new();
        for record in own {
            match &record.data {
                RData::CNAME(target) => {
                    ttl = ttl.min(record.ttl);
                    alias = Some(&target.0);
                }
                data if data.record_type() == kind => {
                    ttl = ttl.min(record.ttl);
                    records.push(data);
                }
                _ => {}
            }
        }
        match alias {
            Some(target) if records.is_empty() => owner = target,
            _ => return (records, Duration::from_secs(ttl.into()).min(LONGEST_TTL)),
        }
    }
    (Vec::new(), LONGEST_TTL)
}

/// Whether a connection can be made to it at all. Linux takes 0.0.0.0 for this machine, and
/// blocking name servers answer it for "no".
#[must_use]
pub fn is_usable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            address.octets()[0] != 0 && !address.is_multicast() && !address.is_broadcast()
        }
        // Link-local ones need an interface, which no record names.
        IpAddr::V6(address) => {
            !address.is_unspecified() && !address.is_multicast() && !address.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_resolver::proto::op::Query;
    use hickory_resolver::proto::rr::Record;
    use hickory_resolver::proto::rr::rdata::CNAME;

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    fn address(owner: &str, ttl: u32, last: u8) -> Record {
        Record::from_rdata(
            name(owner),
            ttl,
            RData::from(IpAddr::from([192, 0, 2, last])),
        )
    }

    fn alias(owner: &str, ttl: u32, target: &str) -> Record {
        Record::from_rdata(name(owner), ttl, RData::CNAME(CNAME(name(target))))
    }

    fn own(records: Vec<Record>) -> (Vec<String>, u64) {
        let query = Query::query(name("a.test."), RecordType::A);
        let lookup = Lookup::new_with_max_ttl(query, records);
        let (own, ttl) = own_records(&lookup, &name("a.test."), RecordType::A);
        (own.iter().map(ToString::to_string).collect(), ttl.as_secs())
    }

    #[test]
    fn records_of_the_name_and_of_its_aliases_count_with_the_shortest_time_of_life() {
        let chain = vec![
            address("evil.test.", 1, 66),
            address("c.test.", 40, 1),
            alias("b.test.", 30, "c.test."),
            alias("A.test.", 50, "b.test."),
        ];
        assert_eq!(own(chain), (vec!["192.0.2.1".to_owned()], 30));
        assert_eq!(own(vec![address("evil.test.", 1, 66)]).0, [""; 0]);
    }

    #[test]
    fn a_ring_of_aliases_ends() {
        let ring = vec![
            alias("a.test.", 5, "b.test."),
            alias("b.test.", 5, "a.test."),
        ];
        assert_eq!(own(ring).0, [""; 0]);
    }

    #[test]
    fn addresses_that_no_host_has() {
        let usable = |text: &str| is_usable(text.parse().expect("an address"));
        for text in ["0.0.0.0", "0.255.0.1", "224.0.0.1", "255.255.255.255"] {
            assert!(!usable(text), "{text}");
        }
        for text in ["::", "ff02::1", "fe80::1"] {
            assert!(!usable(text), "{text}");
        }
        for text in [
            "127.0.0.1",
            "10.0.0.1",
            "192.0.2.1",
            "::1",
            "fd00::1",
            "2001:db8::1",
        ] {
            assert!(usable(text), "{text}");
        }
    }
}
