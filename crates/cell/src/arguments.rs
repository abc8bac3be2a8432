//! The command line.

use std::ffi::OsString;

/// What `--help` prints.
pub const HELP: &str = "\
Make one sandbox from one specification, run the application in it, stay as its init.

Usage: cloister-cell run --spec-fd N [--status-fd N] [--lifeline-fd N] [--die-with-parent]
       cloister-cell explain --spec-fd N [--json]
       cloister-cell disk --order-fd N
       cloister-cell --help | --version

  run      make the cell, run the application, end as it ended
  explain  print what `run` would do, in order, and do nothing
  disk     obey an order of project quotas, and print what came of each action as JSON

  --spec-fd N        read the specification, one JSON object, from this descriptor
  --status-fd N      write a failure there, as one JSON object; end of file without one means
                     that the application was executed. Without it: text on standard error
  --lifeline-fd N    the reading end of a pipe: end when nobody has its writing end any more
  --die-with-parent  end when the process that started this one ends
  --json             one JSON object for each operation
  --order-fd N       read the order, one JSON object, from this descriptor

Exit status of `disk`: 125 where an action failed; the last answer says why.
Exit status of `run`: the application's own; if it was killed by a signal, the same signal.
125: the cell could not be made. 126: the program could not be executed. 127: it was not
found. 2: wrong usage.
";

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arguments {
    /// Make the cell.
    Run {
        /// Where the specification is read from.
        spec: i32,
        /// Where failures go.
        status: Option<i32>,
        /// The reading end of a pipe whose end is this one's.
        lifeline: Option<i32>,
        /// Whether to end with the parent.
        die_with_parent: bool,
    },
    /// Print the plan.
    Explain {
        /// Where the specification is read from.
        spec: i32,
        /// As JSON.
        json: bool,
    },
    /// Obey an order of project quotas.
    Disk {
        /// Where the order is read from.
        order: i32,
    },
    /// Print the help.
    Help,
    /// Print the version.
    Version,
}

impl Arguments {
    /// Reads the arguments after the program's name.
    ///
    /// # Errors
    ///
    /// What is wrong with them, for people.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let mut words = Vec::new();
        for argument in arguments {
            let word = argument
                .into_string()
                .map_err(|argument| format!("{} is no text", argument.display()))?;
            // --option=value is --option value.
            match word.split_once('=') {
                Some((option, value)) if option.starts_with("--") => {
                    words.extend([option.to_owned(), value.to_owned()]);
                }
                _ => words.push(word),
            }
        }
        let mut words = words.into_iter();
        let verb = words.next().ok_or("no command is given")?;
        if verb == "--help" || verb == "-h" || verb == "help" {
            return Ok(Self::Help);
        }
        if verb == "--version" || verb == "-V" {
            return Ok(Self::Version);
        }
        if verb == "disk" {
            return disk(words);
        }
        if verb != "run" && verb != "explain" {
            return Err(format!("there is no command {verb:?}"));
        }
        let (mut spec, mut status, mut lifeline) = (None, None, None);
        let (mut die_with_parent, mut json) = (false, false);
        while let Some(option) = words.next() {
            match option.as_str() {
                "--help" | "-h" => return Ok(Self::Help),
                "--spec-fd" => spec = Some(number(&option, words.next())?),
                "--status-fd" if verb == "run" => status = Some(number(&option, words.next())?),
                "--lifeline-fd" if verb == "run" => {
                    lifeline = Some(number(&option, words.next())?);
                }
                "--die-with-parent" if verb == "run" => die_with_parent = true,
                "--json" if verb == "explain" => json = true,
                _ => return Err(format!("{verb} has no option {option:?}")),
            }
        }
        let spec = spec.ok_or_else(|| format!("{verb} needs --spec-fd"))?;
        if verb == "explain" {
            return Ok(Self::Explain { spec, json });
        }
        Ok(Self::Run {
            spec,
            status,
            lifeline,
            die_with_parent,
        })
    }
}

fn disk(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut order = None;
    while let Some(option) = words.next() {
        match option.as_str() {
            "--help" | "-h" => return Ok(Arguments::Help),
            "--order-fd" => order = Some(number(&option, words.next())?),
            _ => return Err(format!("disk has no option {option:?}")),
        }
    }
    let order = order.ok_or("disk needs --order-fd")?;
    Ok(Arguments::Disk { order })
}

fn number(option: &str, value: Option<String>) -> Result<i32, String> {
    let value = value.ok_or_else(|| format!("{option} needs a number"))?;
    match value.parse() {
        Ok(number) if number >= 0 => Ok(number),
        _ => Err(format!("{option}: {value:?} is no descriptor")),
    }
}
