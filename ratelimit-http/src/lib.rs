//! Rate limiting for HTTP services: a tower layer, key functions and headers.
