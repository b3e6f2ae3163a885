//! Names of the simulated disk: directories as processes see them and as the medium holds them, and the changes between.

use super::Survival;
use super::content::Content;
use super::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

pub(super) type NodeId = u64;
const ROOT: NodeId = 0;

/// A name in a directory.
type Place = (NodeId, String);

#[derive(Clone)]
enum Node {
    Dir {
        live: BTreeMap<String, NodeId>,
        durable: BTreeMap<String, NodeId>,
    },
    /// `names`: how many live directories' entries lead to it.
    File {
        content: Content,
        handles: u32,
        names: u32,
    },
}

/// A change of names that no sync of all its directories has made durable. Power loss keeps or loses it as a whole.
#[derive(Clone)]
struct Change {
    node: NodeId,
    /// Removed here, unless another node has taken the place.
    from: Option<Place>,
    /// Put here, replacing what was there.
    to: Option<Place>,
    unsynced: BTreeSet<NodeId>,
}

impl Change {
    fn touches(&self, places: &BTreeSet<Place>) -> bool {
        [&self.from, &self.to]
            .into_iter()
            .flatten()
            .any(|place| places.contains(place))
    }
}

#[derive(Clone)]
pub(super) struct Tree {
    nodes: BTreeMap<NodeId, Node>,
    next: NodeId,
    changes: Vec<Change>,
    /// Nodes there were after unreachable ones were last dropped.
    nodes_swept: usize,
}

impl Tree {
    pub(super) fn new() -> Tree {
        let root = Node::Dir {
            live: BTreeMap::new(),
            durable: BTreeMap::new(),
        };
        Tree {
            nodes: BTreeMap::from([(ROOT, root)]),
            next: ROOT + 1,
            changes: vec![],
            nodes_swept: 1,
        }
    }

    // ---- looking ----

    fn find(&self, path: &Path) -> io::Result<NodeId> {
        path.iter().try_fold(ROOT, |dir, name| {
            let entries = self.dir(dir)?;
            entries
                .get(&*name.to_string_lossy())
                .copied()
                .ok_or(io::ErrorKind::NotFound.into())
        })
    }

    /// Entries of a directory as processes see them.
    fn dir(&self, node: NodeId) -> io::Result<&BTreeMap<String, NodeId>> {
        match &self.nodes[&node] {
            Node::Dir { live, .. } => Ok(live),
            Node::File { .. } => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn dir_mut(&mut self, node: NodeId) -> &mut BTreeMap<String, NodeId> {
        match self.nodes.get_mut(&node) {
            Some(Node::Dir { live, .. }) => live,
            _ => panic!("node {node} is a directory"),
        }
    }

    fn is_dir(&self, node: NodeId) -> bool {
        matches!(self.nodes[&node], Node::Dir { .. })
    }

    fn place(&self, path: &Path) -> io::Result<Place> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let dir = self.find(path.parent().unwrap_or(Path::new("")))?;
        self.dir(dir)?;
        Ok((dir, name.to_string_lossy().into_owned()))
    }

    pub(super) fn exists(&self, path: &Path) -> io::Result<bool> {
        match self.find(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<(String, bool)>> {
        let live = self.dir(self.find(path)?)?;
        Ok(live
            .iter()
            .map(|(name, node)| (name.clone(), self.is_dir(*node)))
            .collect())
    }

    /// All files by path.
    pub(super) fn files(&self) -> BTreeMap<PathBuf, &Content> {
        let mut files = BTreeMap::new();
        let mut open = vec![(PathBuf::new(), ROOT)];
        while let Some((path, node)) = open.pop() {
            match &self.nodes[&node] {
                Node::Dir { live, .. } => {
                    open.extend(live.iter().map(|(name, node)| (path.join(name), *node)));
                }
                Node::File { content, .. } => {
                    files.insert(path, content);
                }
            }
        }
        files
    }

    pub(super) fn content(&mut self, file: NodeId) -> &mut Content {
        match self.nodes.get_mut(&file) {
            Some(Node::File { content, .. }) => content,
            _ => panic!("node {file} is a file"),
        }
    }

    pub(super) fn file(&self, path: &Path) -> io::Result<NodeId> {
        let node = self.find(path)?;
        if self.is_dir(node) {
            Err(io::ErrorKind::IsADirectory.into())
        } else {
            Ok(node)
        }
    }

    // ---- changing names ----

    /// Opens a file; `close` must follow.
    pub(super) fn open(&mut self, path: &Path, create: bool) -> io::Result<NodeId> {
        let file = match self.file(path) {
            Err(error) if create && error.kind() == io::ErrorKind::NotFound => {
                let node = Node::File {
                    content: Content::default(),
                    handles: 0,
                    names: 0,
                };
                let place = self.place(path)?;
                self.add(place, node)
            }
            found => found?,
        };
        if let Some(Node::File { handles, .. }) = self.nodes.get_mut(&file) {
            *handles += 1;
        }
        Ok(file)
    }

    pub(super) fn close(&mut self, file: NodeId) {
        if let Some(Node::File { handles, .. }) = self.nodes.get_mut(&file) {
            *handles -= 1;
        }
        self.sweep();
    }

    pub(super) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let mut made = PathBuf::new();
        for name in path {
            made.push(name);
            if !self.exists(&made)? {
                let place = self.place(&made)?;
                self.add(
                    place,
                    Node::Dir {
                        live: BTreeMap::new(),
                        durable: BTreeMap::new(),
                    },
                );
            }
        }
        match self.is_dir(self.find(path)?) {
            true => Ok(()),
            false => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.find(from)?;
        let (from_place, to_place) = (self.place(from)?, self.place(to)?);
        if to.starts_with(from) && to != from {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if let Ok(replaced) = self.find(to) {
            match (self.is_dir(node), self.is_dir(replaced)) {
                (true, false) => return Err(io::ErrorKind::NotADirectory.into()),
                (false, true) => return Err(io::ErrorKind::IsADirectory.into()),
                (true, true) if !self.dir(replaced)?.is_empty() => {
                    return Err(io::ErrorKind::DirectoryNotEmpty.into());
                }
                _ if replaced == node => return Ok(()),
                _ => {}
            }
        }
        self.change(node, Some(from_place), Some(to_place));
        Ok(())
    }

    pub(super) fn link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.find(from)?;
        let to_place = self.place(to)?;
        if self.exists(to)? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if self.is_dir(node) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.change(node, None, Some(to_place));
        Ok(())
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        let node = self.file(path)?;
        let place = self.place(path)?;
        self.change(node, Some(place), None);
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        let node = self.find(path)?;
        if !self.dir(node)?.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let place = self.place(path)?;
        self.change(node, Some(place), None);
        Ok(())
    }

    fn add(&mut self, place: Place, node: Node) -> NodeId {
        let id = self.next;
        self.next += 1;
        self.nodes.insert(id, node);
        self.change(id, None, Some(place));
        id
    }

    fn change(&mut self, node: NodeId, from: Option<Place>, to: Option<Place>) {
        if let Some((dir, name)) = &from {
            self.dir_mut(*dir).remove(name);
            self.count_name(node, -1);
        }
        if let Some((dir, name)) = &to {
            if let Some(replaced) = self.dir_mut(*dir).insert(name.clone(), node) {
                self.count_name(replaced, -1);
            }
            self.count_name(node, 1);
        }
        let unsynced = [&from, &to]
            .into_iter()
            .flatten()
            .map(|place| place.0)
            .collect();
        self.changes.push(Change {
            node,
            from,
            to,
            unsynced,
        });
        self.sweep();
    }

    fn count_name(&mut self, node: NodeId, more: i32) {
        if let Some(Node::File { names, .. }) = self.nodes.get_mut(&node) {
            *names = names.strict_add_signed(more);
        }
    }

    /// Counts the names of every file anew.
    fn count_names(&mut self) {
        let mut leads_to = Vec::new();
        for node in self.nodes.values_mut() {
            match node {
                Node::Dir { live, .. } => leads_to.extend(live.values().copied()),
                Node::File { names, .. } => *names = 0,
            }
        }
        for node in leads_to {
            self.count_name(node, 1);
        }
    }

    /// Pages that files take: those with a name, and those that are open without one.
    pub(super) fn used_pages(&self) -> u64 {
        let files = self.nodes.values().map(|node| match node {
            Node::File {
                content,
                handles,
                names,
            } if *names > 0 || *handles > 0 => content.allocated_pages(),
            _ => 0,
        });
        files.sum()
    }

    // ---- durability ----

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let dir = self.find(path)?;
        self.dir(dir)?;
        for change in &mut self.changes {
            change.unsynced.remove(&dir);
        }
        // A change brings along the earlier ones of the same names, or it would undo what they did.
        let mut places = BTreeSet::new();
        let mut durable: Vec<Change> = Vec::new();
        for change in std::mem::take(&mut self.changes).into_iter().rev() {
            if change.unsynced.is_empty() || change.touches(&places) {
                places.extend(change.from.clone().into_iter().chain(change.to.clone()));
                durable.push(change);
            } else {
                self.changes.push(change);
            }
        }
        self.changes.reverse();
        durable
            .iter()
            .rev()
            .for_each(|change| self.make_durable(change));
        self.sweep();
        Ok(())
    }

    fn make_durable(&mut self, change: &Change) {
        if let Some((dir, name)) = &change.from
            && let Some(Node::Dir { durable, .. }) = self.nodes.get_mut(dir)
            && durable.get(name) == Some(&change.node)
        {
            durable.remove(name);
        }
        if let Some((dir, name)) = &change.to
            && let Some(Node::Dir { durable, .. }) = self.nodes.get_mut(dir)
        {
            durable.insert(name.clone(), change.node);
        }
    }

    /// The names and contents after power loss.
    pub(super) fn crashed(&self, survival: Survival, rng: &mut Rng) -> Tree {
        let mut tree = self.clone();
        for change in std::mem::take(&mut tree.changes) {
            let kept = match survival {
                Survival::Nothing => false,
                Survival::Everything => true,
                Survival::Seeded(_) => rng.below(2) == 0,
            };
            if kept {
                tree.make_durable(&change);
            }
        }
        for node in tree.nodes.values_mut() {
            match node {
                Node::Dir { live, durable } => live.clone_from(durable),
                Node::File { content, .. } => *content = content.crashed(survival, rng),
            }
        }
        // Only of what is reached: a name in a directory that is gone counts for nothing.
        let mut tree = tree.without_handles();
        tree.count_names();
        tree
    }

    /// A copy that no open file belongs to.
    pub(super) fn without_handles(mut self) -> Tree {
        for node in self.nodes.values_mut() {
            if let Node::File { handles, .. } = node {
                *handles = 0;
            }
        }
        self.nodes_swept = 0;
        self.sweep();
        self
    }

    /// Drops nodes that nothing leads to, once they may be half of all.
    fn sweep(&mut self) {
        if self.nodes.len() < 2 * self.nodes_swept + 16 && self.nodes_swept > 0 {
            return;
        }
        let mut open: Vec<NodeId> = vec![ROOT];
        for change in &self.changes {
            open.push(change.node);
            open.extend(change.from.iter().chain(&change.to).map(|place| place.0));
        }
        let mut reached = BTreeSet::new();
        while let Some(node) = open.pop() {
            if reached.insert(node)
                && let Node::Dir { live, durable } = &self.nodes[&node]
            {
                open.extend(live.values().chain(durable.values()));
            }
        }
        self.nodes.retain(|id, node| {
            reached.contains(id) || matches!(node, Node::File { handles: 1.., .. })
        });
        self.nodes_swept = self.nodes.len();
    }
}
