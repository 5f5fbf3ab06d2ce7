//! What forms make of data drives: one a line, its name, its size in MiB, and `ro` where it is to be read-only.

use api::v1::{Drive, PatchDrive};

/// Of a machine that is made. A size that is none goes out as 0, which the server refuses in its own words.
pub fn asked(text: &str) -> Vec<Drive> {
    let drive = |change: PatchDrive| Drive {
        name: change.name,
        size_mib: change.size_mib.unwrap_or(0),
        read_only: change.read_only.unwrap_or(false),
    };
    changed(text).unwrap_or_default().into_iter().map(drive).collect()
}

/// Of one that is there: those to add or to change. What is not said stays as it is.
pub fn changed(text: &str) -> Option<Vec<PatchDrive>> {
    let one = |line: &str| {
        let mut words = line.split_whitespace();
        let mut drive = PatchDrive { name: words.next()?.to_owned(), size_mib: None, read_only: None };
        for word in words {
            match word {
                "ro" => drive.read_only = Some(true),
                "rw" => drive.read_only = Some(false),
                size => drive.size_mib = Some(size.parse().unwrap_or(0)),
            }
        }
        Some(drive)
    };
    some(text.lines().filter_map(one).collect())
}

/// The names of those that go, by spaces, commas or lines.
pub fn removed(text: &str) -> Option<Vec<String>> {
    let words = text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
    some(words.map(str::to_owned).collect())
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(name: &str, size_mib: Option<u64>, read_only: Option<bool>) -> PatchDrive {
        PatchDrive { name: name.to_owned(), size_mib, read_only }
    }

    #[test]
    fn a_line_is_a_drive() {
        let drives = asked(" data  1024 \n\nbase 64 ro\nnone\nwrong 1G\n");
        let told: Vec<_> = drives.iter().map(|drive| (drive.name.as_str(), drive.size_mib, drive.read_only)).collect();
        assert_eq!(told, [("data", 1024, false), ("base", 64, true), ("none", 0, false), ("wrong", 0, false)]);
        assert_eq!(asked(" \n"), vec![]);
    }

    #[test]
    fn what_is_not_said_stays() {
        let changes = changed("data 2048\nlogs rw\nbase ro 5").unwrap();
        assert_eq!(
            changes,
            [change("data", Some(2048), None), change("logs", None, Some(false)), change("base", Some(5), Some(true))]
        );
        assert_eq!((changed("\n"), removed(" ,")), (None, None));
        assert_eq!(removed("a, b\nc").unwrap(), ["a", "b", "c"]);
    }
}
