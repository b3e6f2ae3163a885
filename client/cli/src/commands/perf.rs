//! stub
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command { X }
pub(crate) async fn run(_c: Command, _s: &crate::session::Session) -> crate::failure::Outcome { Ok(()) }
