//! From a function to the same function behind a limiter.
//!
//! The body stays as it is. A statement before it acquires a permit, and returns if there is none;
//! its variable holds permits in flight until the body has ended. So the signature stays valid. A
//! function that returns a future returns one that acquires the permit first: so do the methods
//! that `#[async_trait]` makes.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{
    Block, Error, GenericArgument, Ident, ItemFn, PathArguments, Result, ReturnType, Stmt, Type,
    TypeParamBound, TypePath, parse_quote, spanned::Spanned,
};

use crate::arguments::{Arguments, OnLimit};

pub(crate) fn expand(arguments: &Arguments, mut function: ItemFn) -> Result<TokenStream> {
    let signature = &function.sig;
    if let Some(token) = signature.constness {
        return Err(Error::new(token.span, "a limiter cannot be called in a `const fn`"));
    }
    let ReturnType::Type(_, output) = &signature.output else {
        return Err(Error::new(signature.ident.span(), RETURNS_NOTHING));
    };
    let future = Future::returned(output);
    let is_awaited = signature.asyncness.is_some() || future.is_some();
    let acquire = acquire(arguments, output, is_awaited);
    match future {
        None => {
            let stmts = &mut function.block.stmts;
            let items = stmts.iter().take_while(|stmt| matches!(stmt, Stmt::Item(_))).count();
            stmts.insert(items, acquire);
        }
        Some(future) => *function.block = future.after(&acquire, &function.block),
    }
    Ok(function.into_token_stream())
}

/// The statement that acquires the permits. Types that do not fit are shown where the function says
/// what it returns.
fn acquire(arguments: &Arguments, output: &Type, is_awaited: bool) -> Stmt {
    let Arguments { limiter, key, cost, on_limit } = arguments;
    let key = match key {
        None => own_path(),
        Some(key) => quote_spanned!(key.span()=> &(#key)),
    };
    let answer = match is_awaited {
        true => quote_spanned!(limiter.span()=> .await),
        false => quote_spanned!(limiter.span()=> .now()),
    };
    // Not the caller's variable of that name.
    let spent = Ident::new("cost", Span::mixed_site());
    let option = cost.as_ref().map(|_| quote!(.cost(#spent)));
    let acquire = quote_spanned!(limiter.span()=> (#limiter).acquire(#key)#option #answer);
    let acquire = match on_limit {
        OnLimit::Error => {
            let or_return = quote_spanned!(output.span()=> ?);
            quote!(#acquire #or_return.into_held())
        }
        OnLimit::None => {
            let none = quote_spanned!(output.span()=> return ::core::option::Option::None);
            quote!(match #acquire {
                ::core::result::Result::Ok(permit) => permit.into_held(),
                ::core::result::Result::Err(_) => #none,
            })
        }
    };
    // The first variable of the body is dropped last.
    let held = Ident::new("_held", Span::mixed_site());
    match cost {
        None => parse_quote!(let #held = #acquire;),
        Some(cost) => parse_quote!(let #held = {
            let #spent: ::core::primitive::u64 = #cost;
            if #spent == 0 { ::core::option::Option::None } else { #acquire }
        };),
    }
}

/// The path of the function, with the type and the trait that it is a method of. Only the compiler
/// knows these, and names them in the type of an inner function.
fn own_path() -> TokenStream {
    quote!({
        fn key() {}
        ::core::any::type_name_of_val(&key)
    })
}

/// The kind of future that a function returns, which is not `async` itself.
enum Future {
    Plain,
    Boxed,
}

impl Future {
    fn returned(output: &Type) -> Option<Self> {
        match output {
            Type::ImplTrait(output) => is_future(&output.bounds).then_some(Self::Plain),
            Type::Path(output) => is_boxed_future(output).then_some(Self::Boxed),
            _ => None,
        }
    }

    /// The body of a function that runs `first` before the future that `block` makes.
    fn after(&self, first: &Stmt, block: &Block) -> Block {
        let future = Ident::new("future", Span::mixed_site());
        let chain = quote!(async move {
            #first
            let #future = #block;
            #future.await
        });
        match self {
            Self::Plain => parse_quote!({ #chain }),
            Self::Boxed => parse_quote!({ ::std::boxed::Box::pin(#chain) }),
        }
    }
}

fn is_future<'a>(bounds: impl IntoIterator<Item = &'a TypeParamBound>) -> bool {
    let is_future = |bound: &TypeParamBound| match bound {
        TypeParamBound::Trait(bound) => {
            bound.path.segments.last().is_some_and(|last| last.ident == "Future")
        }
        _ => false,
    };
    bounds.into_iter().any(is_future)
}

/// Returns true for `Pin<Box<dyn Future<…>>>`, and for the aliases of it that everybody uses.
fn is_boxed_future(output: &TypePath) -> bool {
    let Some(last) = output.path.segments.last() else { return false };
    match last.ident.to_string().as_str() {
        "BoxFuture" | "LocalBoxFuture" => true,
        "Pin" | "Box" => match &last.arguments {
            PathArguments::AngleBracketed(arguments) => {
                arguments.args.iter().any(|argument| match argument {
                    GenericArgument::Type(Type::Path(inner)) => is_boxed_future(inner),
                    GenericArgument::Type(Type::TraitObject(inner)) => is_future(&inner.bounds),
                    _ => false,
                })
            }
            _ => false,
        },
        _ => false,
    }
}

const RETURNS_NOTHING: &str = r#"returns nothing that could say that it was denied: a `Result`, or with `on_limit = "none"` an `Option`"#;
