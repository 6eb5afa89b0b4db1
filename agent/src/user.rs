//! The user that a command runs as.

use std::fs;

use anyhow::{Context as _, Result};

/// A user and its groups, by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    /// Name and home folder, for the environment; `None` for a bare number.
    pub(crate) login: Option<(String, String)>,
}

/// Finds a user by name or number in the machine's own files. Users of a directory service are
/// given by number.
///
/// # Errors
///
/// When there is no such user.
pub(crate) fn find(user: &str) -> Result<User> {
    let passwd = fs::read_to_string("/etc/passwd").context("/etc/passwd")?;
    let group = fs::read_to_string("/etc/group").unwrap_or_default();
    find_in(user, &passwd, &group)
        .with_context(|| format!("there is no user `{user}` in /etc/passwd; a number works too"))
}

fn find_in(user: &str, passwd: &str, group: &str) -> Option<User> {
    let number = user.parse::<u32>().ok();
    for line in passwd.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let &[name, _, uid, gid, _, home, ..] = fields.as_slice() else { continue };
        let (Ok(uid), Ok(gid)) = (uid.parse::<u32>(), gid.parse::<u32>()) else { continue };
        if name == user || Some(uid) == number {
            let mut groups: Vec<u32> =
                group.lines().filter_map(|line| member_of(line, name)).collect();
            groups.push(gid);
            groups.sort_unstable();
            groups.dedup();
            return Some(User { uid, gid, groups, login: Some((name.into(), home.into())) });
        }
    }
    let uid = number?;
    Some(User { uid, gid: uid, groups: vec![uid], login: None })
}

/// The number of the group that a line describes, if the user is in it.
fn member_of(line: &str, user: &str) -> Option<u32> {
    let mut fields = line.split(':').skip(2);
    let number = fields.next()?.parse().ok()?;
    fields.next()?.split(',').any(|member| member == user).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number_with_their_groups() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\n";
        let group = "wheel:x:10:anna,root\nanna:x:1000:\n";
        let anna = find_in("anna", passwd, group).unwrap();
        assert_eq!((anna.uid, anna.gid, &anna.groups[..]), (1000, 1000, &[10, 1000][..]));
        assert_eq!(find_in("1000", passwd, group), Some(anna));
        let unknown = find_in("4711", passwd, group).unwrap();
        assert_eq!((unknown.uid, unknown.login), (4711, None));
        assert_eq!(find_in("bert", passwd, group), None);
    }
}
