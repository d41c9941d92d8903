//! The twin that gives up: `read_timeout(…, Duration) -> Result<R, Elapsed>` beside `read(…) -> R`.

use super::Subject;
use crate::args::Options;
use crate::context::Context;
use crate::errors::Errors;
use crate::name::{Taken, is_reserved, unraw};
use crate::signature;
use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::{ReturnType, Signature, Type, parse_quote};

/// What it is called, if it is asked for.
pub fn name(subject: &Subject, options: &Options, context: &Context) -> Option<Ident> {
    let own = options.timeout.as_ref();
    if own.is_none() && !context.timeout {
        return None;
    }
    Some(own.and_then(|timeout| timeout.name.clone()).unwrap_or_else(|| {
        let name = format!("{}_timeout", unraw(&subject.wrapper));
        debug_assert!(!is_reserved(&name));
        Ident::new(&name, subject.wrapper.span())
    }))
}

pub fn check(subject: &Subject, options: &Options, context: &Context, errors: &mut Errors) {
    let Some(name) = name(subject, options, context) else {
        return;
    };
    for (other, what) in [(unraw(&subject.wrapper), "the wrapper"), (subject.target.name.clone(), "the async fn")] {
        if unraw(&name) == other {
            errors.error(&name, format!("`{name}` is {what} itself; give the one with a timeout another name"));
            return;
        }
    }
    if let Some(never) = signature::never(subject.sig) {
        let place = options.key("timeout");
        let message = "a fn that returns `!` has nothing to be in time with; remove `timeout`";
        match place {
            Some(key) => errors.error(key, message),
            None => errors.error(never, message),
        }
    }
}

/// Adds the parameter and wraps the result. Returns the parameter.
pub(super) fn add(sig: &mut Signature, krate: &TokenStream, taken: &mut Taken) -> Ident {
    let parameter = taken.fresh("timeout");
    sig.inputs.push(parse_quote!(#parameter: #krate::__private::Duration));
    let (arrow, ty): (_, Type) = match &sig.output {
        ReturnType::Type(arrow, ty) => (*arrow, (**ty).clone()),
        ReturnType::Default => (parse_quote!(->), parse_quote!(())),
    };
    let result = quote_spanned!(arrow.spans[0]=> Result);
    let result = quote!(#krate::__private::#result<#ty, #krate::__private::Elapsed>);
    sig.output = ReturnType::Type(arrow, Box::new(Type::Verbatim(result)));
    parameter
}
