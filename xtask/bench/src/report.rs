//! The rows, shown: as a table, as JSON, as a picture.

pub(crate) mod bars;
pub(crate) mod json;
pub(crate) mod markdown;
pub(crate) mod picture;
pub(crate) mod plots;
mod svg;

/// A figure with about three digits.
fn short(figure: f64) -> String {
    match figure.abs() {
        100.0.. => format!("{figure:.0}"),
        10.0.. => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}
