//! What happened, a line for each event. The same seed gives the same bytes.

use std::fmt::{self, Write};

/// Lines are kept if asked for; their checksum always is.
#[derive(Debug, Default)]
pub struct Trace {
    keep: bool,
    text: String,
    line: String,
    crc: u32,
    lines: u64,
}

impl Trace {
    /// An empty one.
    pub fn new(keep: bool) -> Trace {
        Trace {
            keep,
            ..Trace::default()
        }
    }

    /// Adds a line.
    pub fn line(&mut self, now_ms: u64, line: fmt::Arguments<'_>) {
        self.line.clear();
        let _ = writeln!(self.line, "{now_ms:>9} {line}");
        self.crc = crc32c::crc32c_append(self.crc, self.line.as_bytes());
        self.lines += 1;
        if self.keep {
            self.text.push_str(&self.line);
        }
    }

    /// The lines, if they were kept.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// CRC-32C of all lines.
    pub fn crc(&self) -> u32 {
        self.crc
    }

    /// How many there were.
    pub fn lines(&self) -> u64 {
        self.lines
    }
}
