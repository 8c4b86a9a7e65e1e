//! The arguments of the bench.

/// The rows to measure, and where to write them.
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) json: Option<String>,
    pub(crate) svg: Option<String>,
    pub(crate) picture: Option<String>,
    pub(crate) plots: Option<String>,
    pub(crate) save: Option<String>,
    pub(crate) against: Option<String>,
    pub(crate) words: Vec<String>,
}

impl Options {
    pub(crate) fn parse(arguments: &[String]) -> Self {
        let arguments = xtask::BENCH.parse_or_exit(arguments);
        let file = |option| arguments.value(option).map(str::to_owned);
        Self {
            quick: arguments.has("--quick"),
            json: file("--json"),
            svg: file("--svg"),
            picture: file("--picture"),
            plots: file("--plots"),
            save: file("--save"),
            against: file("--against"),
            words: arguments.operands().iter().map(|word| word.to_lowercase()).collect(),
        }
    }

    /// The command that makes the same figures again.
    pub(crate) fn command(&self) -> String {
        let quick = self.quick.then_some("--quick");
        let words = self.words.iter().map(String::as_str);
        let arguments = quick.into_iter().chain(words).map(|word| format!(" {word}"));
        format!("cargo xtask bench{}", arguments.collect::<String>())
    }
}
