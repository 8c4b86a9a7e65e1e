//! The attribute `#[rate_limit]`; use it through `ratelimit-algorithms`, where it is documented.

mod arguments;
mod expand;

use proc_macro::TokenStream;
use quote::quote;

/// Limits how often a function is called.
///
/// Each call first spends permits; the body runs only if they are granted. The function may be a
/// method, generic or `async`, or return a future, as `impl Future` or boxed. So the attribute
/// works inside of `#[async_trait]`, and above `#[tokio::main]` or `#[tokio::test]`; below one of
/// these two it needs a store that answers on the calling thread.
///
/// | argument | | by default |
/// | --- | --- | --- |
/// | `limiter = EXPR` | the limiter: a path to a static, or a field such as `self.limiter` | |
/// | `key = EXPR` | the key: text or bytes, which may be made from the function's arguments | the function's own path: all callers share one key |
/// | `cost = EXPR` | permits that a call spends, a `u64`; a call that costs zero does not ask | `1` |
/// | `on_limit = "error"` | on denial, and where no decision was made, returns `Err`: the function's error type is made `From` the limiter's | this |
/// | `on_limit = "none"` | then returns `None` | |
///
/// The function's own path is the compiler's name for it. It differs between methods of different
/// types and traits, and is the same for all instances of a generic one. Another compiler version
/// may write it differently, so set a `key` if the store outlives the program.
///
/// An `async` function awaits the limiter, on any store. A plain function needs a store that answers
/// on the calling thread. Nothing is given back when the body fails. Permits in flight are held until the
/// body has ended, or its future is dropped. Nothing is awaited then: a store that has to be awaited
/// and has no task for it leaves them to lapse, so [acquire](https://docs.rs/ratelimit-algorithms) them in the
/// body there.
#[proc_macro_attribute]
pub fn rate_limit(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let function = proc_macro2::TokenStream::from(item.clone());
    let expanded = syn::parse(arguments)
        .and_then(|arguments| expand::expand(&arguments, syn::parse(item)?))
        .unwrap_or_else(|error| {
            // The function stays, so that an editor goes on to know it.
            let error = error.into_compile_error();
            quote!(#error #function)
        });
    expanded.into()
}
