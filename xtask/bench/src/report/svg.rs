//! The sheet that every picture is on.

use crate::machine;

/// A whole SVG file: a title, the machine below it, and from [`TOP`] on what is drawn.
pub(crate) fn sheet(width: usize, height: usize, title: &str, drawn: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"16\">{}</text>\n<text x=\"8\" y=\"32\" fill=\"#666\">{}</text>\n\
         {drawn}</svg>\n",
        escape(title),
        escape(&machine::name()),
    )
}

pub(crate) const TOP: usize = 48;

pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
