//! The arguments of `#[rate_limit(…)]`.

use proc_macro2::Span;
use syn::{
    Error, Expr, Ident, LitStr, Result, Token,
    parse::{Parse, ParseStream},
};

/// The arguments, each at most once.
pub(crate) struct Arguments {
    pub(crate) limiter: Expr,
    pub(crate) key: Option<Expr>,
    pub(crate) cost: Option<Expr>,
    pub(crate) on_limit: OnLimit,
}

/// The return value of a call that is not admitted.
#[derive(Clone, Copy)]
pub(crate) enum OnLimit {
    Error,
    None,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let (mut limiter, mut key, mut cost, mut on_limit) = (None, None, None, None);
        while !input.is_empty() {
            let name: Ident = input.parse()?;
            input.parse::<Token![=]>()?;
            match name.to_string().as_str() {
                "limiter" => once(&name, &mut limiter, input.parse()?)?,
                "key" => once(&name, &mut key, input.parse()?)?,
                "cost" => once(&name, &mut cost, input.parse()?)?,
                "on_limit" => once(&name, &mut on_limit, input.parse()?)?,
                _ => {
                    return Err(Error::new(name.span(), "not one of limiter, key, cost, on_limit"));
                }
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(Self {
            limiter: limiter.ok_or_else(|| Error::new(Span::call_site(), "names no limiter"))?,
            key,
            cost,
            on_limit: on_limit.unwrap_or(OnLimit::Error),
        })
    }
}

impl Parse for OnLimit {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let word: LitStr = input.parse()?;
        match word.value().as_str() {
            "error" => Ok(Self::Error),
            "none" => Ok(Self::None),
            _ => Err(Error::new(word.span(), r#"neither "error" nor "none""#)),
        }
    }
}

fn once<T>(name: &Ident, place: &mut Option<T>, value: T) -> Result<()> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::new(name.span(), format!("{name} is given twice"))),
    }
}
