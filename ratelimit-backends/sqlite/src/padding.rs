//! Long states, with room behind them.
//!
//! A log grows by an entry a charge. Where the value keeps its size nevertheless, SQLite writes the
//! pages that differ, which are the first and the last until entries leave; else it gives all of
//! them back, and fills others.

/// What is stored of a state: a short one as it is; a long one, zeros, and the state's length in the
/// last four bytes.
pub(crate) fn pad(mut state: Vec<u8>) -> Vec<u8> {
    let length = state.len();
    if length < UNIT {
        return state;
    }
    let length_bytes = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    state.resize((length + length_bytes.len()).next_multiple_of(UNIT) - length_bytes.len(), 0);
    state.extend(length_bytes);
    state
}

/// The state; `None` if it was not stored so.
pub(crate) fn unpad(stored: &[u8]) -> Option<&[u8]> {
    if stored.len() < UNIT {
        return Some(stored);
    }
    let (rest, length) = stored.split_last_chunk()?;
    let (state, zeros) = rest.split_at_checked(u32::from_le_bytes(*length).try_into().ok()?)?;
    zeros.iter().all(|&zero| zero == 0).then_some(state)
}

/// A state that is at least as long has its length rounded up to a multiple of it, in bytes.
const UNIT: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_of_any_length_is_read_as_it_was() {
        for length in (0..3 * UNIT).chain([10 * UNIT - 1, 10 * UNIT]) {
            let state = vec![7; length];
            let stored = pad(state.clone());
            assert_eq!(unpad(&stored), Some(&*state), "{length}");
            assert!(length < UNIT || stored.len().is_multiple_of(UNIT), "{length}");
        }
    }

    #[test]
    fn what_was_not_stored_so_is_no_state() {
        let mut stored = pad(vec![7; UNIT]);
        let last = stored.len() - 1;
        stored[UNIT] = 1;
        assert_eq!(unpad(&stored), None, "the room is not empty");
        stored[last] = 255;
        assert_eq!(unpad(&stored), None, "it is longer than all");
    }
}
