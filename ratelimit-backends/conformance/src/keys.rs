//! Promises about keys: any bytes are a key, and no two keys share state.
#![expect(missing_docs, reason = "a promise is its name")]

use ratelimit_core::Policy;

use crate::{StoreUnderTest, policies};

// FAULTS 77, 88, 90, 91, 92.
pub async fn hostile_keys_are_keys_like_any(store: StoreUnderTest) {
    let policy = policies::token_buckets(3).swap_remove(0);
    for key in hostile() {
        let shown = String::from_utf8_lossy(&key[..key.len().min(32)]);
        let (admitted, _) = store.exhaust(&policy, &key).await;
        assert_eq!(admitted, 3, "{shown:?} of {} bytes is no other key", key.len());
    }
}

// FAULTS 77.
pub async fn names_and_keys_do_not_run_into_each_other(store: StoreUnderTest) {
    let policies = policies::fixed_windows(1);
    for name in ["a", "a.b", "a.b.c", "a-b", "b", "a.b.1"] {
        let policy = Policy::new(name, policies[0].algorithm().clone()).expect("the name is good");
        for key in ["", "b", ".b", "b.c", "c", ":", ":b", "b:c", "#", "-b", ".b.c", "1", ".1"] {
            let decision = store.spend(&policy, key, 1).await;
            assert!(decision.is_allowed(), "{name:?} and {key:?}: {decision:?}");
            assert!(!store.spend(&policy, key, 1).await.is_allowed(), "{name:?} and {key:?}");
        }
    }
}

/// Keys that differ, though some programs take them for each other.
fn hostile() -> Vec<Vec<u8>> {
    let bytes: [&[u8]; 5] = [b"\xff", b"\xff\xfe", b"\xed\xa0\x80", b"\xc3", b"\x80"];
    // About the lengths at which stores begin to keep keys in another way, in pairs that differ
    // at one end only.
    let long = [8, 15, 16, 21, 22, 23, 24, 31, 32, 255, 256, 1 << 10, 100 << 10];
    let ends = |length: usize| {
        let [mut first, mut last] = [vec![b'x'; length], vec![b'x'; length]];
        first[0] = b'y';
        last[length - 1] = b'y';
        [vec![b'x'; length], first, last]
    };
    let texts = TEXTS.into_iter().map(|text| text.as_bytes().to_vec());
    let bytes = bytes.into_iter().map(<[u8]>::to_vec);
    texts.chain(bytes).chain(long.into_iter().flat_map(ends)).collect()
}

/// Characters that mean something to shells, formats, queries, patterns or protocols, and texts that
/// look alike, or are the same once they are trimmed, folded, normalised or read as numbers.
const TEXTS: [&str; 66] = [
    "",
    " ",
    "a",
    "A",
    " a",
    "a ",
    "a\0",
    "\0",
    "\0\0",
    "nul",
    "nul\0x",
    "\r\n",
    "\n",
    "\r\nINCR x\r\n",
    "\t",
    "*",
    "?",
    "[a]",
    "[^a]",
    "{",
    "}",
    "{}",
    "{a}b",
    "{a}c",
    "a}{b",
    "'; DROP TABLE keys; --",
    "\"",
    "'",
    "\\",
    "%",
    "%s",
    "_",
    "$1",
    "?1",
    ":key",
    "\"]] os.execute()",
    "'; return 1 --",
    "1",
    "01",
    "1.0",
    "0x31",
    "31",
    "-1",
    "1e0",
    "NaN",
    "null",
    "NULL",
    "true",
    "k:tb",
    "__global__",
    "k:1700000000",
    "#",
    "token-bucket",
    "token-bucket#",
    "token-bucket:a",
    "adaptive.shared#",
    "../../etc/passwd",
    "é",
    "e\u{301}",
    "İ",
    "i",
    "ı",
    "ａ",
    "a\u{200b}",
    "ß",
    "ss",
];
