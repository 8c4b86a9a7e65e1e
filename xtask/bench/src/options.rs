//! What the command line asks for.

use anyhow::{Context, Result, bail};

const USAGE: &str = "usage: cargo xtask bench [--quick] [--json FILE] [--svg FILE]
                         [--plots FILE] [--save FILE] [--against FILE] [WORD]...

  WORD            only rows with all of these words in their names
  --quick         fewer and shorter rounds: within two minutes
  --json FILE     writes the rows as JSON
  --svg FILE      draws them
  --plots FILE    draws how costs grow
  --save FILE     keeps this run as a baseline
  --against FILE  compares with a baseline";

/// What the command line asks for.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) json: Option<String>,
    pub(crate) svg: Option<String>,
    pub(crate) plots: Option<String>,
    pub(crate) save: Option<String>,
    pub(crate) against: Option<String>,
    pub(crate) words: Vec<String>,
}

impl Options {
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut options = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let file = match argument.as_str() {
                "--quick" => {
                    options.quick = true;
                    continue;
                }
                "--json" => &mut options.json,
                "--svg" => &mut options.svg,
                "--plots" => &mut options.plots,
                "--save" => &mut options.save,
                "--against" => &mut options.against,
                option if option.starts_with('-') => bail!("{USAGE}"),
                word => {
                    options.words.push(word.to_lowercase());
                    continue;
                }
            };
            *file = Some(arguments.next().context(USAGE)?);
        }
        Ok(options)
    }

    /// The command that makes the same figures again.
    pub(crate) fn command(&self) -> String {
        let quick = self.quick.then_some("--quick");
        let words = self.words.iter().map(String::as_str);
        let arguments = quick.into_iter().chain(words).map(|word| format!(" {word}"));
        format!("cargo xtask bench{}", arguments.collect::<String>())
    }
}
