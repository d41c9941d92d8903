//! Attributes, read through `cfg_attr`, and which of the async fn's attributes its wrapper gets too. There is a list of
//! those. Any other attribute, and any other macro, stays on the async fn alone.

use proc_macro2::TokenStream;
use quote::quote;
use syn::punctuated::Punctuated;
use syn::{Attribute, Meta, MetaList, Token, parse_quote};

const LINT_LEVELS: &[&str] = &["allow", "warn", "deny", "forbid", "expect"];

/// The attribute and, if it is a `cfg_attr` or `unsafe(…)`, those inside it.
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

/// The fn's attributes that its wrapper gets too, apart from docs.
pub fn of_wrapper(attrs: &[Attribute]) -> Vec<Attribute> {
    copies(attrs, &|meta| match &*name(meta) {
        "cfg" | "deprecated" | "must_use" | "cold" => Some(meta.clone()),
        // Its text is handled in `docs`; `doc(cfg(…))` goes with the `cfg` that it describes.
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

/// Those of a declared wrapper's attributes that are its own, docs apart: there is no async fn for any to be of.
pub fn but_docs(attrs: &[Attribute]) -> Vec<Attribute> {
    let is_text = |attr: &Attribute| attr.path().is_ident("doc") && matches!(attr.meta, Meta::NameValue(_));
    attrs.iter().filter(|attr| !is_text(attr)).cloned().collect()
}

/// Those of a parameter's attributes that the wrapper's parameter has too; and of a declared method's, that its definition in
/// the trait's impl has.
pub fn of_parameter(attrs: &[Attribute]) -> Vec<Attribute> {
    copies(attrs, &|meta| match &*name(meta) {
        "cfg" => Some(meta.clone()),
        _ => lint_level(meta),
    })
}

/// An expectation that the async fn fulfils may be unfulfilled in its wrapper, and then warns.
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

/// `cfg_attr(condition, attributes…)` taken apart.
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

/// The condition under which a parameter with these attributes exists, if they set one.
pub fn cfg_of(attrs: &[Attribute]) -> Option<TokenStream> {
    let conditions: Vec<TokenStream> = attrs.iter().filter_map(|attr| cfg_condition(&attr.meta)).collect();
    match &*conditions {
        [] => None,
        [one] => Some(one.clone()),
        all => Some(quote!(all(#(#all),*))),
    }
}

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

/// Whether an attribute of this name is on the fn, even if conditionally.
pub fn has(attrs: &[Attribute], name: &str) -> bool {
    attrs.iter().any(|attr| flat(&attr.meta).iter().any(|meta| meta.path().is_ident(name)))
}

fn name(meta: &Meta) -> String {
    meta.path().get_ident().map(ToString::to_string).unwrap_or_default()
}
