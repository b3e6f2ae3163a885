//! Contents of one simulated file: what processes see, what the medium holds, and what power loss makes of the two.

use super::Survival;
use super::rng::Rng;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Unit in which contents reach the medium, as on Linux.
pub(super) const PAGE_BYTES: usize = 4096;

type Page = Arc<[u8; PAGE_BYTES]>;

/// Pages are shared between copies, so that an image of a whole disk is cheap. `None` is a hole of zeros.
#[derive(Clone, Default)]
struct Image {
    pages: Vec<Option<Page>>,
    len: u64,
}

impl Image {
    fn page(&self, number: usize) -> Option<Page> {
        self.pages.get(number).cloned().flatten()
    }

    fn slot(&mut self, number: usize) -> &mut Option<Page> {
        if self.pages.len() <= number {
            self.pages.resize(number + 1, None);
        }
        &mut self.pages[number]
    }

    fn page_mut(&mut self, number: usize) -> &mut [u8; PAGE_BYTES] {
        Arc::make_mut(
            self.slot(number)
                .get_or_insert_with(|| Arc::new([0; PAGE_BYTES])),
        )
    }

    /// Cuts or extends. Bytes behind the end never come back.
    fn set_len(&mut self, len: u64) {
        self.len = len;
        self.pages
            .truncate(len.div_ceil(PAGE_BYTES as u64) as usize);
        let (last, kept) = (len as usize / PAGE_BYTES, len as usize % PAGE_BYTES);
        if self.page(last).is_some() {
            self.page_mut(last)[kept..].fill(0);
        }
    }

    fn read(&self, buf: &mut [u8], position: u64) -> usize {
        let count = self.len.saturating_sub(position).min(buf.len() as u64) as usize;
        for_each_page(position, count, |number, within, at| {
            let piece = &mut buf[at..at + within.len()];
            match self.page(number) {
                Some(page) => piece.copy_from_slice(&page[within]),
                None => piece.fill(0),
            }
        });
        count
    }
}

/// Calls `f(page, range within the page, place within the whole)` for each page that a range touches.
fn for_each_page(
    position: u64,
    count: usize,
    mut f: impl FnMut(usize, std::ops::Range<usize>, usize),
) {
    let mut done = 0;
    while done < count {
        let at = position as usize + done;
        let from = at % PAGE_BYTES;
        let to = PAGE_BYTES.min(from + count - done);
        f(at / PAGE_BYTES, from..to, done);
        done += to - from;
    }
}

/// A file. Pages that are not dirty and differ all the same were lost by a failed sync.
#[derive(Clone, Default)]
pub(super) struct Content {
    /// The page cache.
    live: Image,
    medium: Image,
    /// Pages that the next sync hands to the medium.
    dirty: BTreeSet<usize>,
    /// Lengths (first, last) that the medium may hold instead of its own since the last sync.
    unsynced_lens: Vec<(u64, u64)>,
}

impl Content {
    /// A file that is all on the medium.
    pub(super) fn durable(bytes: &[u8]) -> Content {
        let mut content = Content::default();
        content.write(bytes, 0);
        content.sync();
        content
    }

    pub(super) fn len(&self) -> u64 {
        self.live.len
    }

    pub(super) fn allocated_pages(&self) -> u64 {
        self.live.pages.iter().flatten().count() as u64
    }

    /// Bytes of a write that fit if only `pages_max` pages can be allocated.
    pub(super) fn fitting(&self, position: u64, count: usize, mut pages_max: u64) -> usize {
        let mut fitting = count;
        for_each_page(position, count, |number, _, at| {
            if self.live.page(number).is_none() {
                match pages_max.checked_sub(1) {
                    Some(left) => pages_max = left,
                    None => fitting = fitting.min(at),
                }
            }
        });
        fitting
    }

    pub(super) fn read(&self, buf: &mut [u8], position: u64) -> usize {
        self.live.read(buf, position)
    }

    /// Drops the clean pages of the range from the page cache, then reads: what a failed sync lost shows.
    pub(super) fn read_medium(&mut self, buf: &mut [u8], position: u64) -> usize {
        for_each_page(position, buf.len(), |number, _, _| {
            if !self.dirty.contains(&number) && number < self.live.pages.len() {
                *self.live.slot(number) = self.medium.page(number);
            }
        });
        self.live.read(buf, position)
    }

    pub(super) fn write(&mut self, bytes: &[u8], position: u64) {
        for_each_page(position, bytes.len(), |number, within, at| {
            let piece = &bytes[at..at + within.len()];
            self.live.page_mut(number)[within].copy_from_slice(piece);
            self.dirty.insert(number);
        });
        let end = position + bytes.len() as u64;
        if end > self.live.len && !bytes.is_empty() {
            self.unsynced_lens.push((self.live.len, end));
            self.live.len = end;
        }
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.live.len {
            let first = len as usize / PAGE_BYTES;
            self.dirty
                .extend(first..self.live.pages.len().max(self.medium.pages.len()));
        }
        self.live.set_len(len);
        self.unsynced_lens.push((len, len));
    }

    /// Fills holes below `len` with pages of zeros, as many as `pages_max`; whether that was enough.
    pub(super) fn allocate(&mut self, len: u64, pages_max: u64) -> bool {
        let pages = len.div_ceil(PAGE_BYTES as u64) as usize;
        let holes: Vec<usize> = (0..pages)
            .filter(|number| self.live.page(*number).is_none())
            .collect();
        if holes.len() as u64 > pages_max {
            return false;
        }
        let zeros = Arc::new([0; PAGE_BYTES]);
        for number in holes {
            *self.live.slot(number) = Some(Arc::clone(&zeros));
        }
        if len > self.live.len {
            self.live.len = len;
            self.unsynced_lens.push((len, len));
        }
        true
    }

    pub(super) fn sync(&mut self) {
        for number in std::mem::take(&mut self.dirty) {
            *self.medium.slot(number) = self.live.page(number);
        }
        self.medium.set_len(self.live.len);
        self.unsynced_lens.clear();
    }

    /// What Linux does when a write-back fails: some pages got through, and all count as clean.
    pub(super) fn fail_sync(&mut self, rng: &mut Rng) {
        for number in std::mem::take(&mut self.dirty) {
            if rng.below(2) == 0 {
                *self.medium.slot(number) = self.live.page(number);
            }
        }
    }

    /// Hands some dirty page to the medium, as the kernel does at any time: so the medium may hold what a page was
    /// between two writes.
    pub(super) fn write_back_some(&mut self, rng: &mut Rng) {
        let pick = rng.below(self.dirty.len() as u64 + 1) as usize;
        if let Some(number) = self.dirty.iter().nth(pick).copied() {
            self.dirty.remove(&number);
            *self.medium.slot(number) = self.live.page(number);
        }
    }

    /// The file after power loss.
    pub(super) fn crashed(&self, survival: Survival, rng: &mut Rng) -> Content {
        let mut image = self.medium.clone();
        for number in &self.dirty {
            let (new, old) = (self.live.page(*number), self.medium.page(*number));
            let kept = match survival {
                Survival::Nothing => old,
                Survival::Everything => new,
                Survival::Seeded(_) => match rng.below(4) {
                    0 => old,
                    1 => new,
                    2 => Some(torn(new, old, rng)),
                    _ => Some(torn(old, new, rng)),
                },
            };
            *image.slot(*number) = kept;
        }
        let len = match survival {
            Survival::Nothing => self.medium.len,
            Survival::Everything => self.live.len,
            Survival::Seeded(_) => self.some_len(rng),
        };
        image.set_len(len);
        Content {
            live: image.clone(),
            medium: image,
            ..Content::default()
        }
    }

    fn some_len(&self, rng: &mut Rng) -> u64 {
        let pick = rng.below(self.unsynced_lens.len() as u64 + 1) as usize;
        let Some((first, last)) = self.unsynced_lens.get(pick) else {
            return self.medium.len;
        };
        match rng.below(3) {
            0 => *first,
            1 => *last,
            _ => first + rng.below(last - first + 1),
        }
    }

    /// Damage from outside: changes cache and medium alike.
    pub(super) fn flip(&mut self, byte: u64, bit: u8) {
        assert!(
            byte < self.live.len && bit < 8,
            "byte {byte} bit {bit} is in the file"
        );
        let (number, within) = (byte as usize / PAGE_BYTES, byte as usize % PAGE_BYTES);
        self.live.page_mut(number)[within] ^= 1 << bit;
        self.medium.page_mut(number)[within] ^= 1 << bit;
    }

    /// Damage from outside: cuts cache and medium alike.
    pub(super) fn cut(&mut self, len: u64) {
        self.set_len(len);
        self.sync();
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.live.len as usize];
        self.live.read(&mut bytes, 0);
        bytes
    }
}

/// The first bytes of one page, the rest of the other.
fn torn(head: Option<Page>, tail: Option<Page>, rng: &mut Rng) -> Page {
    let mut page = tail.unwrap_or_else(|| Arc::new([0; PAGE_BYTES]));
    let cut = rng.below(PAGE_BYTES as u64 + 1) as usize;
    let head = head.unwrap_or_else(|| Arc::new([0; PAGE_BYTES]));
    Arc::make_mut(&mut page)[..cut].copy_from_slice(&head[..cut]);
    page
}
