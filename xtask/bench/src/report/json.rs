//! The rows as JSON, which is also what a baseline is.

use std::{collections::HashMap, fs};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::row::Row;

/// Our figures of an earlier run, by row.
pub(crate) type Baseline = HashMap<String, f64>;

/// An array of objects, one a row. `reach` is the mark: of the ratio where there is one, else of
/// our figure.
pub(crate) fn write(rows: &[Row]) -> String {
    let rows: Vec<_> = rows.iter().map(value).collect();
    format!("{:#}\n", Value::Array(rows))
}

/// Reads what [`write()`] wrote.
pub(crate) fn read(file: &str) -> Result<Baseline> {
    let text = fs::read_to_string(file).with_context(|| file.to_owned())?;
    let rows: Vec<Value> = serde_json::from_str(&text).with_context(|| file.to_owned())?;
    let entry = |row: &Value| Some((row["row"].as_str()?.to_owned(), row["ours"].as_f64()?));
    rows.iter().map(|row| entry(row).with_context(|| format!("{file}: {row}"))).collect()
}

fn value(row: &Row) -> Value {
    json!({
        "row": row.name,
        "unit": row.unit.name(),
        "ours": row.ours.median(),
        "beside": row.beside,
        "theirs": row.theirs.as_ref().map(|theirs| theirs.median()),
        "ratio": row.ratio(),
        "reach": row.reach(),
        "met": row.met(),
    })
}
