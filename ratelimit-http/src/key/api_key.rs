//! Keys that are credentials, of which only a digest leaves this file.

use std::{fmt, sync::LazyLock};

use blake3::KEY_LEN;
use http::{
    HeaderMap, HeaderName,
    header::{AUTHORIZATION, COOKIE, HeaderValue},
    request::Parts,
};

use super::{KeyError, KeyFn, RequestKey};
use crate::Warning;

/// Counts requests by their credential, valid or not.
///
/// Credentials are compared byte by byte, without white space around them, and kept as 128 bits of
/// a keyed hash: a reader of the store learns nothing about them. The same credential is the same
/// key in every header.
///
/// A client that makes up a new credential for each request has a new budget with each. So either
/// refuse unknown ones in a layer outside of this one, or limit by [`PeerAddr`](crate::PeerAddr)
/// in another layer as well.
#[derive(Clone)]
pub struct ApiKey {
    place: Place,
    pepper: [u8; KEY_LEN],
    /// The weakness of the pepper.
    warning: Option<Warning>,
}

#[derive(Clone, Debug)]
enum Place {
    Header(HeaderName),
    Bearer,
    Cookie(&'static str),
}

impl ApiKey {
    /// Reads the whole value of the header `name`. An empty value counts as none.
    ///
    /// A name that is not known in advance goes into `ApiKey::from(header_name)`.
    ///
    /// # Panics
    ///
    /// If `name` is no header name, or if the operating system has no random bytes.
    #[must_use]
    pub fn header(name: &'static str) -> Self {
        HeaderName::from_bytes(name.as_bytes()).expect("name should be a header name").into()
    }

    /// Reads the token in `Authorization: Bearer <token>`. Another scheme counts as none.
    ///
    /// # Panics
    ///
    /// If the operating system has no random bytes.
    #[must_use]
    pub fn bearer() -> Self {
        Self { place: Place::Bearer, pepper: *PEPPER, warning: Some(Warning::RandomPepper) }
    }

    /// Reads the value of the cookie `name`, in any `Cookie` line. An empty value counts as none,
    /// and names are case-sensitive.
    ///
    /// # Panics
    ///
    /// If the operating system has no random bytes.
    #[must_use]
    pub fn cookie(name: &'static str) -> Self {
        Self { place: Place::Cookie(name), pepper: *PEPPER, warning: Some(Warning::RandomPepper) }
    }

    /// Hashes with this secret, of at least 16 random bytes, instead of one that is random with
    /// each start of the process. Processes that share a store have to share it: without one a
    /// client has a budget in each of them, and a layer [warns](Warning::RandomPepper). It also warns
    /// of a [shorter](Warning::ShortPepper) secret.
    #[must_use]
    pub fn pepper(self, secret: impl AsRef<[u8]>) -> Self {
        let secret = secret.as_ref();
        let warning = (secret.len() < SHORTEST_PEPPER).then_some(Warning::ShortPepper);
        Self { pepper: derive(secret), warning, ..self }
    }

    /// Returns the key that a request with this credential has.
    #[must_use]
    pub fn key_of(&self, credential: impl AsRef<[u8]>) -> RequestKey {
        digest(&self.pepper, credential.as_ref())
    }
}

/// Reads the whole value of this header. Panics if the operating system has no random bytes.
impl From<HeaderName> for ApiKey {
    fn from(name: HeaderName) -> Self {
        Self { place: Place::Header(name), pepper: *PEPPER, warning: Some(Warning::RandomPepper) }
    }
}

/// In bytes. Nobody finds 128 random bits by trying.
const SHORTEST_PEPPER: usize = 16;

/// One for the process, so that two layers on one limiter give a client the same key.
static PEPPER: LazyLock<[u8; KEY_LEN]> = LazyLock::new(|| {
    let mut pepper = [0; KEY_LEN];
    getrandom::fill(&mut pepper).expect("the operating system should have random bytes");
    pepper
});

impl KeyFn for ApiKey {
    fn key(&self, request: &Parts) -> Result<RequestKey, KeyError> {
        Ok(self.key_of(self.place.find(&request.headers)?))
    }

    fn inspect(&self, _: &Parts, warn: &mut dyn FnMut(Warning)) {
        if let Some(warning) = &self.warning {
            warn(warning.clone());
        }
    }
}

impl RequestKey {
    /// The key of a credential, as an [`ApiKey`] with this [pepper](ApiKey::pepper) makes it.
    ///
    /// ```
    /// use http::Request;
    /// use ratelimit_http::{ApiKey, KeyFn, RequestKey};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pepper = "0123456789abcdef";
    /// let request = Request::get("/").header("x-api-key", "k1").body(())?.into_parts().0;
    /// let client = ApiKey::header("x-api-key").pepper(pepper);
    /// assert_eq!(client.key(&request)?, RequestKey::api_key("k1", pepper));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn api_key(credential: impl AsRef<[u8]>, pepper: impl AsRef<[u8]>) -> Self {
        digest(&derive(pepper.as_ref()), credential.as_ref())
    }
}

fn derive(pepper: &[u8]) -> [u8; KEY_LEN] {
    blake3::derive_key("ratelimit-http 1 pepper of API keys", pepper)
}

fn digest(pepper: &[u8; KEY_LEN], credential: &[u8]) -> RequestKey {
    let hash = blake3::keyed_hash(pepper, credential.trim_ascii());
    RequestKey::digest(hash.as_bytes().first_chunk().expect("32 bytes begin with 16"))
}

/// Shows the place of the credential, and no secret.
impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Place {
    fn find<'a>(&self, headers: &'a HeaderMap) -> Result<&'a [u8], KeyError> {
        let credential = match self {
            Self::Header(name) => the_only(headers, name)?.as_bytes(),
            Self::Bearer => token(the_only(headers, &AUTHORIZATION)?.as_bytes().trim_ascii()),
            Self::Cookie(name) => cookie(headers, name.as_bytes())?,
        };
        let credential = credential.trim_ascii();
        if credential.is_empty() { Err(KeyError::Missing) } else { Ok(credential) }
    }
}

fn the_only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a HeaderValue, KeyError> {
    single(headers.get_all(name).iter())
}

fn single<T>(mut found: impl Iterator<Item = T>) -> Result<T, KeyError> {
    let value = found.next().ok_or(KeyError::Missing)?;
    if found.next().is_some() { Err(KeyError::Duplicate) } else { Ok(value) }
}

/// The value of the cookie of this name.
fn cookie<'a>(headers: &'a HeaderMap, name: &[u8]) -> Result<&'a [u8], KeyError> {
    let lines = headers.get_all(COOKIE).iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b';'));
    single(pairs.filter_map(|pair| {
        let (found, value) = pair.split_at_checked(pair.iter().position(|&byte| byte == b'=')?)?;
        (found.trim_ascii() == name).then(|| &value[1..])
    }))
}

/// The text after `Bearer` (in any case) and a space; empty if there is none.
fn token(authorization: &[u8]) -> &[u8] {
    match authorization.split_at_checked(BEARER.len()) {
        Some((scheme, token @ [b' ' | b'\t', ..])) if scheme.eq_ignore_ascii_case(BEARER) => token,
        _ => &[],
    }
}

const BEARER: &[u8] = b"Bearer";

#[cfg(test)]
mod tests {
    use super::*;

    // FAULTS 194.
    #[test]
    fn the_pepper_of_a_process_is_random() {
        let mut bytes = *PEPPER;
        bytes.sort_unstable();
        let different = bytes.chunk_by(|a, b| a == b).count();
        assert!(KEY_LEN / 2 < different, "so few, once in 10^20 runs");
    }
}
