//! `headwater completion`.

use std::io::Write;

use clap_complete::Shell;

use crate::args;
use crate::failure::Outcome;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  headwater completion bash > ~/.local/share/bash-completion/completions/headwater
  headwater completion zsh > ~/.zfunc/_headwater
  headwater completion fish > ~/.config/fish/completions/headwater.fish")]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(args: &Args) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut args::command(), "headwater", &mut script);
    let mut out = std::io::stdout().lock();
    out.write_all(&script)?;
    Ok(out.flush()?)
}
