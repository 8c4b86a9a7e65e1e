//! From a function to the same function behind a limiter.
//!
//! The body stays as it is; before it, a statement acquires a permit, and returns
//! if there is none. So whatever the signature says goes on to hold.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::{Error, Ident, ItemFn, Result, ReturnType, Stmt, parse_quote, spanned::Spanned};

use crate::arguments::{Arguments, OnLimit};

pub(crate) fn expand(arguments: &Arguments, mut function: ItemFn) -> Result<TokenStream> {
    let signature = &function.sig;
    if let Some(token) = signature.constness {
        return Err(Error::new(token.span, "a limiter cannot be called in a `const fn`"));
    }
    let ReturnType::Type(_, output) = &signature.output else {
        return Err(Error::new(signature.ident.span(), RETURNS_NOTHING));
    };

    let Arguments { limiter, key, cost, on_limit } = arguments;
    let key = match key {
        None => path_of(&signature.ident),
        Some(key) => quote_spanned!(key.span()=> &(#key)),
    };
    let cost = cost.as_ref().map_or_else(|| quote!(1), ToTokens::to_token_stream);
    let answer = match signature.asyncness {
        Some(_) => quote_spanned!(limiter.span()=> .await),
        None => quote_spanned!(limiter.span()=> .now()),
    };
    let acquire = quote_spanned!(limiter.span()=> (#limiter).acquire(#key).cost(#cost)#answer);
    // Types that do not fit are shown where the function says what it returns.
    let acquire: Stmt = match on_limit {
        OnLimit::Error => {
            let or_return = quote_spanned!(output.span()=> ?);
            parse_quote!(::core::mem::drop(#acquire #or_return);)
        }
        OnLimit::None => {
            let none = quote_spanned!(output.span()=> return ::core::option::Option::None);
            parse_quote!(let ::core::result::Result::Ok(_) = #acquire else { #none };)
        }
    };
    function.block.stmts.insert(0, acquire);
    Ok(function.into_token_stream())
}

/// The path of a function, as text.
fn path_of(name: &Ident) -> TokenStream {
    let name = name.to_string();
    quote!(::core::concat!(::core::module_path!(), "::", #name))
}

const RETURNS_NOTHING: &str = r#"returns nothing that could say that it was denied: a `Result`, or with `on_limit = "none"` an `Option`"#;
