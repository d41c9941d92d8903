//! Attributes, including those inside `cfg_attr`, and the copies that a wrapper gets of its async fn's attributes. Only
//! the attributes listed in [`of_wrapper`] are copied. All others, and all other macros, stay on the async fn alone.
//! An attribute is never evaluated: a condition is copied, not decided.

use proc_macro2::TokenStream;
use quote::quote;
use syn::punctuated::Punctuated;
use syn::{Attribute, Meta, MetaList, Token, parse_quote};

const LINT_LEVELS: &[&str] = &["allow", "warn", "deny", "forbid", "expect"];

/// The attribute itself and, if it is a `cfg_attr` or `unsafe(…)`, the attributes inside it.
pub fn flat(meta: &Meta) -> Vec<Meta> {
    let mut all = vec![meta.clone()];
    if meta.path().is_ident("cfg_attr") {
        all.extend(cfg_attr(meta).iter().flat_map(|(_, metas)| metas).flat_map(flat));
    } else if let Meta::List(list) = meta
        && list.path.is_ident("unsafe")
        && let Ok(inner) = list.parse_args::<Meta>()
    {
        all.extend(flat(&inner));
    }
    all
}

/// Copies of the async fn's attributes for its wrapper. The text of the documentation is up to `docs`.
pub fn of_wrapper(attrs: &[Attribute]) -> Vec<Attribute> {
    copies(attrs, &|meta| match &*name(meta) {
        "cfg" | "deprecated" | "must_use" | "cold" => Some(meta.clone()),
        // `doc(cfg(…))` describes a `cfg`, which is copied too.
        "doc" => match meta {
            Meta::List(list) => {
                let metas = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
                let kept = metas
                    .ok()?
                    .into_iter()
                    .filter(|meta| ["hidden", "alias", "cfg"].iter().any(|name| meta.path().is_ident(name)));
                let kept: Vec<Meta> = kept.collect();
                (!kept.is_empty()).then(|| parse_quote!(doc(#(#kept),*)))
            }
            _ => None,
        },
        _ => lint_level(meta),
    })
}

/// The attributes of a declared wrapper, without the text of its documentation. All of them are the wrapper's own,
/// because no async fn is declared beside it.
pub fn but_docs(attrs: &[Attribute]) -> Vec<Attribute> {
    let is_text = |attr: &Attribute| attr.path().is_ident("doc") && matches!(attr.meta, Meta::NameValue(_));
    attrs.iter().filter(|attr| !is_text(attr)).cloned().collect()
}

/// Copies of a parameter's attributes for the wrapper's parameter. The definition of a declared method, in the impl of the
/// trait, gets the same of the declaration's attributes.
pub fn of_parameter(attrs: &[Attribute]) -> Vec<Attribute> {
    copies(attrs, &|meta| match &*name(meta) {
        "cfg" => Some(meta.clone()),
        _ => lint_level(meta),
    })
}

/// A copy of a lint level. `expect` becomes `allow`, because the lint may fire in the async fn and not in its wrapper,
/// where an unfulfilled expectation would warn.
fn lint_level(meta: &Meta) -> Option<Meta> {
    let level = name(meta);
    if !LINT_LEVELS.contains(&&*level) {
        return None;
    }
    let mut meta = meta.clone();
    if level == "expect"
        && let Meta::List(list) = &mut meta
    {
        list.path = parse_quote!(allow);
    }
    Some(meta)
}

fn copies(attrs: &[Attribute], copy: &dyn Fn(&Meta) -> Option<Meta>) -> Vec<Attribute> {
    let copied = attrs.iter().filter_map(|attr| {
        let meta = copy_through_cfg_attr(&attr.meta, copy)?;
        Some(Attribute { meta, ..attr.clone() })
    });
    copied.collect()
}

fn copy_through_cfg_attr(meta: &Meta, copy: &dyn Fn(&Meta) -> Option<Meta>) -> Option<Meta> {
    let Some((condition, metas)) = cfg_attr(meta) else {
        return copy(meta);
    };
    let kept: Vec<Meta> = metas.iter().filter_map(|meta| copy_through_cfg_attr(meta, copy)).collect();
    (!kept.is_empty()).then(|| parse_quote!(cfg_attr(#condition, #(#kept),*)))
}

/// The condition of a `cfg_attr`, and the attributes inside it.
pub fn cfg_attr(meta: &Meta) -> Option<(TokenStream, Vec<Meta>)> {
    let Meta::List(list) = meta else { return None };
    if !list.path.is_ident("cfg_attr") {
        return None;
    }
    let metas = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).ok()?;
    let mut metas = metas.into_iter();
    let condition = metas.next()?;
    Some((quote!(#condition), metas.collect()))
}

/// The condition under which a parameter with these attributes exists. `None` if it always does.
pub fn cfg_of(attrs: &[Attribute]) -> Option<TokenStream> {
    let conditions: Vec<TokenStream> = attrs.iter().filter_map(|attr| cfg_condition(&attr.meta)).collect();
    match &*conditions {
        [] => None,
        [one] => Some(one.clone()),
        all => Some(quote!(all(#(#all),*))),
    }
}

/// The condition under which this attribute lets its item exist. `None` if the attribute sets no condition.
pub fn cfg_condition(meta: &Meta) -> Option<TokenStream> {
    if let Meta::List(MetaList { path, tokens, .. }) = meta
        && path.is_ident("cfg")
    {
        return Some(tokens.clone());
    }
    let (when, metas) = cfg_attr(meta)?;
    let inner: Vec<TokenStream> = metas.iter().filter_map(cfg_condition).collect();
    (!inner.is_empty()).then(|| quote!(any(not(#when), all(#(#inner),*))))
}

/// Whether an attribute of this name is on the fn, perhaps inside a `cfg_attr`.
pub fn has(attrs: &[Attribute], name: &str) -> bool {
    attrs.iter().any(|attr| flat(&attr.meta).iter().any(|meta| meta.path().is_ident(name)))
}

fn name(meta: &Meta) -> String {
    meta.path().get_ident().map(ToString::to_string).unwrap_or_default()
}
