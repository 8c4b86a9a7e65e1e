//! Numbers as people read them.

use ratelimit_core::Micros;

/// Writes a count in groups of three digits.
pub(super) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if 0 < place && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Writes a part of a whole as a percentage; of nothing, nothing.
#[expect(clippy::cast_precision_loss, reason = "to show to people")]
pub(super) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 || part == 0 {
        return "0%".to_owned();
    }
    let percent = part as f64 * 100.0 / whole as f64;
    match percent {
        ..0.01 => "<0.01%".to_owned(),
        ..10.0 => format!("{percent:.2}%"),
        _ => format!("{percent:.1}%"),
    }
}

/// Writes a length by its two largest units, rounded up.
pub(super) fn length(length: Micros) -> String {
    let micros = length.as_micros();
    if micros == 0 {
        return "none".to_owned();
    }
    if micros < 1_000_000 {
        return format!("{} ms", micros.div_ceil(1_000));
    }
    let seconds = length.as_secs_ceil();
    let [minutes, hours, days] = [seconds / 60, seconds / 3_600, seconds / 86_400];
    let (large, small) = if minutes == 0 {
        ((seconds, "s"), (0, ""))
    } else if hours == 0 {
        ((minutes, "min"), (seconds % 60, "s"))
    } else if days == 0 {
        ((hours, "h"), (minutes % 60, "min"))
    } else {
        ((days, "d"), (hours % 24, "h"))
    };
    match small {
        (0, _) => format!("{} {}", large.0, large.1),
        _ => format!("{} {} {} {}", large.0, large.1, small.0, small.1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_not_rounded_to_nothing() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1 000"), (12_345_678, "12 345 678")]
        {
            assert_eq!(count(number), text);
        }
        for (part, whole, text) in [
            (0, 0, "0%"),
            (0, 5, "0%"),
            (1, 1_000_000, "<0.01%"),
            (1, 100, "1.00%"),
            (1, 3, "33.3%"),
            (7, 7, "100.0%"),
        ] {
            assert_eq!(percent(part, whole), text);
        }
        for (micros, text) in [
            (0, "none"),
            (1, "1 ms"),
            (1_000_001, "2 s"),
            (90_000_000, "1 min 30 s"),
            (3_600_000_000, "1 h"),
            (90_061_000_000, "1 d 1 h"),
        ] {
            assert_eq!(length(Micros::new(micros)), text);
        }
    }
}
