//! Decimal numbers, exactly: as nanounits in 128 bits, never through a double.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Number, Value};

/// A JSON number of at most nine decimals, in units of 10⁻⁹.
pub(crate) fn nanos(value: &Value) -> Result<i128> {
    let Value::Number(number) = value else { bail!("is not a number: {value}") };
    parse(&number.to_string()).with_context(|| format!("is no decimal of nine digits: {number}"))
}

fn parse(text: &str) -> Option<i128> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let shift = exponent.checked_add(9)?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let power = 10_i128.checked_pow(shift.unsigned_abs())?;
    if 0 <= shift {
        digits.checked_mul(power)
    } else {
        (digits % power == 0).then_some(digits / power)
    }
}

/// A whole JSON number of any size; those that no `u64` holds saturate.
pub(crate) fn whole(value: &Value) -> Result<i128> {
    let nanos = nanos(value)?;
    ensure!(nanos % 1_000_000_000 == 0, "is not a whole number: {value}");
    Ok(nanos / 1_000_000_000)
}

/// Microseconds as a JSON number of seconds, with a decimal at least.
pub(crate) fn seconds(micros: u64) -> Value {
    let fraction = format!("{:06}", micros % 1_000_000);
    let fraction = fraction.trim_end_matches('0');
    let fraction = if fraction.is_empty() { "0" } else { fraction };
    Value::Number(Number::from_string_unchecked(format!("{}.{fraction}", micros / 1_000_000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_exactly() {
        for (text, nanos) in [
            ("0.25", Some(250_000_000)),
            ("-1.5", Some(-1_500_000_000)),
            ("1e-7", Some(100)),
            ("1699920000.123456789", Some(1_699_920_000_123_456_789)),
            ("0.1234567891", None),
        ] {
            assert_eq!(parse(text), nanos, "{text}");
        }
    }

    #[test]
    fn seconds_show_a_decimal_at_least() {
        for (micros, text) in [(0, "0.0"), (50_000, "0.05"), (64_000_000, "64.0"), (1, "0.000001")]
        {
            assert_eq!(seconds(micros).to_string(), text);
        }
    }
}
