//! Who a process runs as, by the image's own /etc/passwd and /etc/group. Read anew each time: the image may change them.
use api::guest::{ErrorCode, GuestError};
use std::{fs, path::Path};

/// Shells for accounts that name none that is there.
const SHELLS: [&str; 2] = ["/bin/bash", "/bin/sh"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    /// Besides `gid`.
    pub groups: Vec<u32>,
    pub home: String,
    pub shell: String,
}

impl Account {
    /// `user` is a name or number, with `:group` if wanted; absent: whoever the agent is.
    pub fn find(user: Option<&str>) -> Result<Self, GuestError> {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let own = nix::unistd::getuid().as_raw().to_string();
        let mut account = Self::parse(user.unwrap_or(&own), &read("/etc/passwd"), &read("/etc/group"))?;
        if !Path::new(&account.shell).exists() {
            let there = SHELLS.iter().find(|shell| Path::new(shell).exists());
            account.shell = (*there.unwrap_or(&SHELLS[1])).to_owned();
        }
        Ok(account)
    }

    pub(crate) fn parse(user: &str, passwd: &str, group: &str) -> Result<Self, GuestError> {
        let (who, group_asked) = match user.split_once(':') {
            Some((who, group)) => (who, Some(group)),
            None => (user, None),
        };
        // name:password:uid:gid:comment:home:shell
        let lines = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let found = lines.filter(|fields| fields.len() >= 7).find(|fields| fields[0] == who || fields[2] == who);
        let number = who.parse::<u32>().ok();
        let mut account = match (found, number) {
            (Some(fields), _) => Self {
                name: fields[0].to_owned(),
                uid: fields[2].parse().map_err(|_| unknown("user", who))?,
                gid: fields[3].parse().map_err(|_| unknown("user", who))?,
                groups: Vec::new(),
                home: fields[5].to_owned(),
                shell: fields[6].to_owned(),
            },
            // Numbers need no name, as in container images.
            (None, Some(uid)) => {
                let home = if uid == 0 { "/root" } else { "/" };
                Self { name: who.to_owned(), uid, gid: uid, groups: Vec::new(), home: home.into(), shell: String::new() }
            }
            (None, None) => return Err(unknown("user", who)),
        };
        // name:password:gid:members
        let groups = group.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(|fields| fields.len() >= 4);
        for fields in groups {
            let Ok(gid) = fields[2].parse::<u32>() else { continue };
            if fields[3].split(',').any(|member| member == account.name) {
                account.groups.push(gid);
            }
            if group_asked == Some(fields[0]) {
                account.gid = gid;
            }
        }
        if let Some(asked) = group_asked {
            match asked.parse() {
                Ok(gid) => account.gid = gid,
                Err(_) if group.lines().any(|line| line.split(':').next() == Some(asked)) => {}
                Err(_) => return Err(unknown("group", asked)),
            }
        }
        Ok(account)
    }
}

fn unknown(what: &str, name: &str) -> GuestError {
    GuestError::new(ErrorCode::NotFound, format!("no {what} {name} in the guest"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nweb:x:1000:1000::/home/web:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nweb:x:1000:\ndisk:x:6:root,web\nkvm:x:99:web\n";

    #[test]
    fn users_by_name_number_and_group() {
        let web = Account::parse("web", PASSWD, GROUP).unwrap();
        assert_eq!((web.uid, web.gid, web.groups.as_slice(), web.home.as_str()), (1000, 1000, &[6, 99][..], "/home/web"));
        assert_eq!(Account::parse("1000", PASSWD, GROUP).unwrap(), web);
        assert_eq!(Account::parse("web:disk", PASSWD, GROUP).unwrap().gid, 6);
        assert_eq!(Account::parse("web:77", PASSWD, GROUP).unwrap().gid, 77);
        assert_eq!(Account::parse("4711", PASSWD, GROUP).unwrap().uid, 4711);
        for wrong in ["nobody", "web:nobody", ""] {
            assert_eq!(Account::parse(wrong, PASSWD, GROUP).unwrap_err().code, ErrorCode::NotFound, "{wrong}");
        }
    }
}
