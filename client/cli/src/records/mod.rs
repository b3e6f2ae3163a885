//! Records from text and to text.

pub(crate) mod json;
pub(crate) mod lines;
pub(crate) mod parse;
pub(crate) mod read;
pub(crate) mod render;
pub(crate) mod template;
