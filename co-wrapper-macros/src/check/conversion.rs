//! Refuses what no conversion reaches: a `Self` in the signature of a twin in the impl of a blocking type, and a stream in a
//! result.

use crate::model::conversion::{Conversion, Unmapped};
use crate::model::plan::Plan;
use crate::parse::errors::Errors;
use crate::parse::tokens::flat;
use proc_macro2::TokenTree;
use quote::ToTokens;
use syn::{GenericParam, ReturnType, Signature};

/// Checks a stream in the result of a fn, whose twin returns an iterator.
pub fn of_streams(plan: &Plan, errors: &mut Errors) {
    match Conversion::of_result(&plan.sig, plan.converts()) {
        Err(Unmapped { ty, is_stream: true, what }) => {
            let message = format!(
                "a stream inside {what} has no blocking form; return `impl Stream<…>`, `Pin<Box<dyn Stream<…>>>` or `BoxStream<…>`, or one of these in a `Result` or `Option`"
            );
            errors.error(ty, message);
        }
        Ok(conversion) if conversion.has_stream() => {
            if let Some(lock) = &plan.options.lock {
                let key = &lock.key;
                errors.error(key, format!("the lock is not held between the items of a stream; remove `{key}`, and hold it around the loop over them"));
            } else {
                feature(&plan.sig, HAS_STREAMS, errors);
            }
        }
        _ => {}
    }
}

const HAS_STREAMS: bool = cfg!(feature = "stream");

/// The runtime has iterators over streams only with its feature `stream`.
fn feature(sig: &Signature, has_streams: bool, errors: &mut Errors) {
    if !has_streams {
        let message = "an iterator over a stream needs the feature `stream` of co-wrapper; enable it, or leave the fn out with `#[co_wrapper(skip)]`";
        match &sig.output {
            ReturnType::Type(_, ty) => errors.error(ty, message),
            ReturnType::Default => errors.error(&sig.ident, message),
        }
    }
}

/// Checks each `Self` in the signature of a twin in the impl of a blocking type.
pub fn of_selves(plan: &Plan, errors: &mut Errors) {
    let sig = &plan.sig;
    let or = if plan.declared { "leave the fn out" } else { "`skip` the fn" };
    for input in &sig.inputs {
        if let Err(Unmapped { ty, what, .. }) = Conversion::of_argument(input) {
            let remedy = "take `Self`, `&Self`, `&mut Self` or `Arc<Self>`, or one of these in an `Option`, `Vec`, `Box` or tuple";
            errors.error(ty, format!("`Self` inside {what} has no blocking form; {remedy}, or {or}"));
        }
    }
    if let Err(Unmapped { ty, what, is_stream: false }) = Conversion::of_result(sig, true) {
        let remedy = "return `Self` or `Arc<Self>`, or one of these in a `Result`, `Option`, `Vec`, `Box` or tuple";
        errors.error(ty, format!("`Self` inside {what} has no blocking form; {remedy}, or {or}"));
    }
    let bounds = sig.generics.params.iter().map(|param| match param {
        GenericParam::Type(param) => param.bounds.to_token_stream(),
        _ => param.to_token_stream(),
    });
    for bounds in bounds.chain([sig.generics.where_clause.to_token_stream()]) {
        let is_self = |tree: &TokenTree| matches!(tree, TokenTree::Ident(ident) if ident == "Self");
        if let Some(word) = flat(bounds).into_iter().find(is_self) {
            errors.error(
                word,
                format!("`Self` in a bound has no blocking form; {or}, and write the blocking one by hand"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_feature() {
        for (has_streams, faults) in [(true, 0), (false, 1)] {
            let mut errors = Errors::default();
            let sig = syn::parse_str("fn list() -> BoxStream<'static, u8>").unwrap();
            feature(&sig, has_streams, &mut errors);
            let errors = errors.into_compile_errors().to_string();
            assert_eq!(errors.matches("the feature `stream` of co-wrapper").count(), faults, "{errors}");
        }
    }
}
