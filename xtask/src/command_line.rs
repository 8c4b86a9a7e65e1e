//! One command line: the options that a command takes, its help, and its arguments once read.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    process,
};

/// A command, and the arguments that it takes.
#[derive(Debug)]
pub struct Command {
    pub(crate) name: &'static str,
    /// One line that says what the command does.
    pub(crate) about: &'static str,
    pub(crate) options: &'static [Flag],
    pub(crate) operands: Operands,
    /// More lines for its help.
    pub(crate) notes: &'static str,
}

/// An option of a command.
#[derive(Debug)]
pub(crate) struct Flag {
    /// With its dashes.
    pub(crate) name: &'static str,
    pub(crate) value: Value,
    pub(crate) about: &'static str,
}

/// The value that an option takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value {
    None,
    Number {
        max: u32,
    },
    /// From 0 % to 100 %, with its sign.
    Percent,
    OneOf(&'static [&'static str]),
    Text(&'static str),
}

/// The arguments that a command takes beside its options, by their name in the help.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operands {
    None,
    One(&'static str),
    Any(&'static str),
}

/// A command line once read.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "help and a run are all that there is")]
pub enum Request {
    /// The command's help.
    Help,
    /// A run with these arguments.
    Run(Arguments),
}

/// The arguments of a command, each of which it takes.
#[derive(Debug, Default)]
pub struct Arguments {
    options: BTreeMap<&'static str, String>,
    operands: Vec<String>,
}

/// Prints help, as far as anybody reads it: `head` does not read to the end.
pub fn print_help(help: &str) {
    let _ = writeln!(io::stdout(), "{help}");
}

impl Command {
    /// Returns the word that names the command.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Reads the arguments of this command.
    ///
    /// # Errors
    ///
    /// The reason and the usage, if the command does not take one of them.
    pub fn parse(&self, arguments: &[String]) -> Result<Request, String> {
        if arguments.iter().any(|argument| ["--help", "-h"].contains(&argument.as_str())) {
            return Ok(Request::Help);
        }
        let read = self.read(arguments);
        read.map(Request::Run).map_err(|reason| format!("{reason}\n\n{}", self.usage()))
    }

    /// Reads the arguments of this process; prints the help, or what is wrong, and exits instead
    /// where there is nothing to run.
    #[must_use]
    pub fn parse_or_exit(&self, arguments: &[String]) -> Arguments {
        match self.parse(arguments) {
            Ok(Request::Run(arguments)) => arguments,
            Ok(Request::Help) => {
                print_help(&self.help());
                process::exit(0)
            }
            Err(message) => {
                eprintln!("{message}");
                process::exit(2)
            }
        }
    }

    /// Returns what the command does, and what it takes.
    #[must_use]
    pub fn help(&self) -> String {
        let mut help = format!("{}\n\n{}\n", self.about, self.usage());
        let width = self.options.iter().map(|flag| flag.text().len()).max().unwrap_or_default();
        for flag in self.options {
            help.push_str(&format!("\n  {:width$}  {}", flag.text(), flag.about));
        }
        if !self.notes.is_empty() {
            help.push_str(&format!("\n\n{}", self.notes));
        }
        help.trim_end().to_owned()
    }

    fn usage(&self) -> String {
        let options = self.options.iter().map(|flag| format!(" [{}]", flag.text()));
        let operands = match self.operands {
            Operands::None => String::new(),
            Operands::One(name) => format!(" {name}"),
            Operands::Any(name) => format!(" [{name}]..."),
        };
        format!("usage: cargo xtask {}{}{operands}", self.name, options.collect::<String>())
    }

    fn read(&self, arguments: &[String]) -> Result<Arguments, String> {
        let mut read = Arguments::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            if !argument.starts_with('-') || argument == "-" {
                read.operands.push(argument.clone());
                continue;
            }
            let flag = self.options.iter().find(|flag| flag.name == argument);
            let flag = flag.ok_or_else(|| format!("{} takes no {argument}", self.name))?;
            let value = match flag.value {
                Value::None => String::new(),
                _ => rest.next().cloned().ok_or_else(|| flag.expectation())?,
            };
            if !flag.takes(&value) {
                return Err(format!("{}, not {value:?}", flag.expectation()));
            }
            read.options.insert(flag.name, value);
        }
        match (self.operands, read.operands.as_slice()) {
            (Operands::None, [operand, ..]) | (Operands::One(_), [_, operand, ..]) => {
                Err(format!("{} takes no {operand:?}", self.name))
            }
            (Operands::One(name), []) => Err(format!("{} needs {name}", self.name)),
            _ => Ok(read),
        }
    }
}

impl Flag {
    fn text(&self) -> String {
        match self.value {
            Value::None => self.name.to_owned(),
            Value::Number { .. } => format!("{} N", self.name),
            Value::Percent => format!("{} N%", self.name),
            Value::OneOf(values) => format!("{} {}", self.name, values.join("|")),
            Value::Text(name) => format!("{} {name}", self.name),
        }
    }

    fn takes(&self, value: &str) -> bool {
        match self.value {
            Value::None | Value::Text(_) => true,
            Value::Number { max } => value.parse::<u32>().is_ok_and(|number| number <= max),
            Value::Percent => share(value).is_some(),
            Value::OneOf(values) => values.contains(&value),
        }
    }

    fn expectation(&self) -> String {
        match self.value {
            Value::Number { max } => format!("{} takes a number up to {max}", self.name),
            Value::Percent => format!("{} takes a share from 0% to 100%", self.name),
            Value::OneOf(values) => format!("{} takes one of {}", self.name, values.join(", ")),
            Value::None | Value::Text(_) => format!("{} takes a value", self.name),
        }
    }
}

impl Arguments {
    /// Returns whether an option was given.
    #[must_use]
    pub fn has(&self, option: &str) -> bool {
        self.options.contains_key(option)
    }

    /// Returns the value that was given for an option.
    #[must_use]
    pub fn value(&self, option: &str) -> Option<&str> {
        self.options.get(option).map(String::as_str)
    }

    /// Returns the share that was given for an option, from 0 to 1.
    #[must_use]
    pub fn share(&self, option: &str) -> Option<f64> {
        self.value(option).and_then(share)
    }

    /// Returns the arguments that are no options.
    #[must_use]
    pub fn operands(&self) -> &[String] {
        &self.operands
    }
}

/// A share that is written as `1%`.
fn share(text: &str) -> Option<f64> {
    let percent: f64 = text.strip_suffix('%')?.trim_end().parse().ok()?;
    (0.0..=100.0).contains(&percent).then_some(percent / 100.0)
}
