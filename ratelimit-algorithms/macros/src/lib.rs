//! The attribute `#[rate_limit]`; use it through `ratelimit-algorithms`, where it is documented.

mod arguments;
mod expand;

use proc_macro::TokenStream;
use syn::{ItemFn, parse_macro_input};

use crate::arguments::Arguments;

/// Limits how often a function is called.
///
/// Each call first spends permits; only when they are granted does the body run. The function may
/// be a method, generic, and `async`.
///
/// | argument | | by default |
/// | --- | --- | --- |
/// | `limiter = EXPR` | the limiter: a path to a static, or a field such as `self.limiter` | |
/// | `key = EXPR` | the key: text or bytes, which may be made from the function's arguments | the function's own path: all callers share one key |
/// | `cost = EXPR` | permits that a call spends | `1` |
/// | `on_limit = "error"` | on denial, and where no decision was made, returns `Err`: the function's error type is made `From` the limiter's | this |
/// | `on_limit = "none"` | then returns `None` | |
///
/// An `async` function awaits the limiter, on any store. A plain function needs a store that answers
/// on the calling thread. Nothing is given back when the body fails.
#[proc_macro_attribute]
pub fn rate_limit(arguments: TokenStream, function: TokenStream) -> TokenStream {
    let arguments = parse_macro_input!(arguments as Arguments);
    let function = parse_macro_input!(function as ItemFn);
    expand::expand(&arguments, function).unwrap_or_else(syn::Error::into_compile_error).into()
}
