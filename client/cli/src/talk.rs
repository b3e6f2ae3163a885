//! What is said on stderr, and whether it is coloured. Data goes to stdout and never through here.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::Failure;

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl ColorChoice {
    fn on(self, terminal: bool) -> bool {
        match self {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        }
    }
}

/// Colours of one stream, or none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    on: bool,
}

impl Paint {
    /// For text that must stay plain.
    pub(crate) const PLAIN: Paint = Paint { on: false };

    /// Headings and what matters most.
    pub(crate) fn bold(self, text: impl Display) -> String {
        self.wrap("1", text)
    }

    /// What matters least.
    pub(crate) fn dim(self, text: impl Display) -> String {
        self.wrap("2", text)
    }

    /// What went well.
    pub(crate) fn green(self, text: impl Display) -> String {
        self.wrap("32", text)
    }

    /// What needs a look.
    pub(crate) fn yellow(self, text: impl Display) -> String {
        self.wrap("33", text)
    }

    /// What failed.
    pub(crate) fn red(self, text: impl Display) -> String {
        self.wrap("31", text)
    }

    /// Names and commands.
    pub(crate) fn cyan(self, text: impl Display) -> String {
        self.wrap("36", text)
    }

    fn wrap(self, code: &str, text: impl Display) -> String {
        if self.on {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_string()
        }
    }
}

/// The voice of the program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Talk {
    /// Colours of stderr.
    pub(crate) err: Paint,
    /// Colours of stdout.
    pub(crate) out: Paint,
    quiet: bool,
    terminal: bool,
}

impl Talk {
    /// From the global flags.
    pub(crate) fn new(color: ColorChoice, quiet: bool) -> Talk {
        let terminal = std::io::stderr().is_terminal();
        Talk {
            err: Paint {
                on: color.on(terminal),
            },
            out: Paint {
                on: color.on(std::io::stdout().is_terminal()),
            },
            quiet,
            terminal,
        }
    }

    /// One line for people. Not said with `--quiet`.
    pub(crate) fn note(&self, text: impl Display) {
        if !self.quiet {
            self.say(text);
        }
    }

    /// What went wrong; said even with `--quiet`.
    pub(crate) fn failure(&self, failure: &Failure) {
        let text = failure.to_string();
        let painted = text
            .replacen("error:", &self.err.red("error:"), 1)
            .replacen("\n  why:", &format!("\n  {}", self.err.yellow("why:")), 1)
            .replacen("\n  fix:", &format!("\n  {}", self.err.green("fix:")), 1);
        self.say(painted);
    }

    /// A line that shows how far a long task is, on a terminal only: of so many bytes, or else a
    /// count of records.
    pub(crate) fn progress(&self, bytes_total: Option<u64>) -> ProgressBar {
        if self.quiet || !self.terminal {
            return ProgressBar::hidden();
        }
        let (bar, template) = match bytes_total {
            Some(total) => (
                ProgressBar::new(total),
                "  {bar:28.cyan/dim} {bytes} of {total_bytes} · {binary_bytes_per_sec} · {eta} left",
            ),
            None => (
                ProgressBar::no_length(),
                "  {human_pos} records · {per_sec} · {elapsed}",
            ),
        };
        let style = ProgressStyle::with_template(template).expect("the template is ours");
        bar.set_style(style.progress_chars("━━─"));
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }

    /// Asks before something that is not harmless. Without a terminal the answer must be in the flags.
    pub(crate) fn confirm(&self, question: &str, yes: bool) -> Result<(), Failure> {
        if yes {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() || !self.terminal {
            return Err(
                Failure::usage("this needs a yes and there is no terminal to ask on")
                    .why(question)
                    .fix("add --yes to the same command"),
            );
        }
        let mut stderr = std::io::stderr();
        // A terminal that cannot be written to cannot be asked; reading then decides.
        let _ = write!(stderr, "{} {question} [y/N] ", self.err.yellow("?"));
        let _ = stderr.flush();
        let mut answer = String::new();
        std::io::stdin()
            .read_line(&mut answer)
            .map_err(|error| Failure::new("cannot read the answer").why(error.to_string()))?;
        if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
            return Ok(());
        }
        Err(Failure::new("nothing was done").why("the answer was not yes"))
    }

    fn say(&self, text: impl Display) {
        // Nobody is left to tell when stderr itself is gone.
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}
