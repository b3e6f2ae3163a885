//! What the image's file system holds.

use std::collections::BTreeMap;

/// The user that everything runs as, outside the range that systems hand out. In the image's
/// configuration it is a number: Kubernetes proves `runAsNonRoot` only of numbers.
pub(super) const NONROOT: u32 = 65532;

/// Accounts, for programs that ask for their own name. Nobody can log in.
const PASSWD: &str = "\
root:x:0:0:root:/:/sbin/nologin
nonroot:x:65532:65532:nonroot:/var/lib/headwater:/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin
";

/// The groups of [`PASSWD`].
const GROUP: &str = "\
root:x:0:
nonroot:x:65532:
nobody:x:65534:
";

/// A file or directory of the image.
pub(super) struct File {
    /// Permissions.
    pub(super) mode: u32,
    /// User and group that own it.
    pub(super) owner: u32,
    /// Content of a file; a directory has none.
    pub(super) content: Option<Vec<u8>>,
}

impl File {
    fn directory(mode: u32, owner: u32) -> File {
        File {
            mode,
            owner,
            content: None,
        }
    }

    fn regular(mode: u32, content: impl Into<Vec<u8>>) -> File {
        File {
            mode,
            owner: 0,
            content: Some(content.into()),
        }
    }
}

/// All files by path, relative to the root, with these programs. In this order a directory comes
/// before what is in it.
pub(super) fn files(programs: Vec<(&str, Vec<u8>)>) -> BTreeMap<String, File> {
    let mut files = BTreeMap::from([
        ("etc".to_owned(), File::directory(0o755, 0)),
        ("etc/group".to_owned(), File::regular(0o644, GROUP)),
        ("etc/passwd".to_owned(), File::regular(0o644, PASSWD)),
        ("tmp".to_owned(), File::directory(0o1777, 0)),
        ("usr".to_owned(), File::directory(0o755, 0)),
        ("usr/bin".to_owned(), File::directory(0o755, 0)),
        ("var".to_owned(), File::directory(0o755, 0)),
        ("var/lib".to_owned(), File::directory(0o755, 0)),
        // A volume's place; without one, the broker may write here.
        (
            "var/lib/headwater".to_owned(),
            File::directory(0o750, NONROOT),
        ),
    ]);
    for (name, content) in programs {
        files.insert(format!("usr/bin/{name}"), File::regular(0o755, content));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directory_comes_before_what_is_in_it() {
        let files = files(vec![("headwater", Vec::new())]);
        let mut seen = vec![""];
        for (path, file) in &files {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            assert!(seen.contains(&folder), "{path} comes before its folder");
            if file.content.is_none() {
                seen.push(path);
            }
        }
    }

    #[test]
    fn the_accounts_name_the_user_of_the_image() {
        assert!(PASSWD.contains(&format!("nonroot:x:{NONROOT}:{NONROOT}:")));
        assert!(GROUP.contains(&format!("nonroot:x:{NONROOT}:")));
    }
}
