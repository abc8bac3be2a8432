//! Whom `--user` names.

/// A user and a group of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// The user id.
    pub uid: u32,
    /// The group id.
    pub gid: u32,
}

impl User {
    /// Who has nothing: what an overflowing id is shown as in user_namespaces(7).
    pub const NOBODY: Self = Self {
        uid: 65534,
        gid: 65534,
    };

    /// Reads `NAME`, `UID` or `UID:GID`; the first two are looked up in /etc/passwd.
    ///
    /// # Errors
    ///
    /// What is wrong with it, for a person.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some((uid, gid)) = text.split_once(':') {
            let number = |part: &str| {
                part.parse()
                    .ok()
                    // setresuid(2): -1 leaves an id unchanged.
                    .filter(|number| *number != u32::MAX)
                    .ok_or_else(|| format!("--user {text:?}: {part:?} is no id; write UID:GID"))
            };
            return Ok(Self {
                uid: number(uid)?,
                gid: number(gid)?,
            });
        }
        let users = std::fs::read_to_string("/etc/passwd")
            .map_err(|error| format!("--user {text:?}: /etc/passwd: {error}; write UID:GID"))?;
        find(&users, text)
            .ok_or_else(|| format!("--user {text:?}: /etc/passwd has no such user; write UID:GID"))
    }
}

/// Looks for a name or a user id in the format of passwd(5).
fn find(users: &str, wanted: &str) -> Option<User> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, uid, gid) = (
            fields.next()?,
            fields.next()?,
            fields.next()?,
            fields.next()?,
        );
        (name == wanted || uid == wanted).then_some(())?;
        Some(User {
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names() {
        let both = User { uid: 7, gid: 8 };
        assert_eq!(User::parse("7:8"), Ok(both));
        assert_eq!(User::parse("root"), Ok(User { uid: 0, gid: 0 }));
        for wrong in ["7:", "a:b", "-1:0", "4294967295:1", "no-such-user", ""] {
            assert!(User::parse(wrong).is_err(), "{wrong}");
        }
        let users = "root:x:0:0::/:/bin/sh\nsni:x:7:8::/:/bin/false\n";
        assert_eq!(find(users, "sni"), Some(both));
        assert_eq!(find(users, "7"), Some(both));
        assert_eq!(find(users, "8"), None);
    }
}
