//! Listing a directory in the order of the keys, which is not that of the names: `a-b` comes before `a/b`.

use std::io;
use std::path::Path;

use super::{Inner, Listed, is_absent, key};

/// Objects whose key begins with `prefix`, behind `after`, at most `limit`.
pub(super) fn list(
    inner: &Inner,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> io::Result<Vec<Listed>> {
    let mut listed = Vec::new();
    // What is still to be seen, the next at the end: keys, and folders with a '/' at their end.
    let mut ahead = vec![String::new()];
    while listed.len() < limit
        && let Some(next) = ahead.pop()
    {
        if next.is_empty() || next.ends_with('/') {
            let mut entries = entries(inner, &next)?;
            entries.retain(|entry| may_hold(entry, prefix, after));
            entries.sort_unstable_by(|one, other| other.cmp(one));
            ahead.append(&mut entries);
            continue;
        }
        match inner.stat(Path::new(&next)) {
            Ok(meta) => listed.push(Listed { key: next, meta }),
            // Deleted at this moment.
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(listed)
}

fn entries(inner: &Inner, folder: &str) -> io::Result<Vec<String>> {
    let names = match inner.disk.list(Path::new(folder)) {
        Err(error) if is_absent(&error) => return Ok(vec![]),
        names => names?,
    };
    let entries = names.into_iter().filter_map(|(name, is_dir)| {
        let end = if is_dir { "/" } else { "" };
        // A file that is no object of ours has a name that no key can have, or stays visible: it harms nobody.
        let entry = format!("{folder}{name}{end}");
        (entry != format!("{}/", key::TEMPORARIES)).then_some(entry)
    });
    Ok(entries.collect())
}

/// Whether this is a key that is wanted, or a folder that may hold one.
fn may_hold(entry: &str, prefix: &str, after: Option<&str>) -> bool {
    let is_folder = entry.ends_with('/');
    let wanted = entry.starts_with(prefix) || (is_folder && prefix.starts_with(entry));
    let behind = after.is_none_or(|after| after < entry || (is_folder && after.starts_with(entry)));
    wanted && behind
}
