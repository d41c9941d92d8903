//! The attribute on an `impl` or `trait`. It expands nothing itself: it writes its defaults and the block's context
//! into the marks on the functions inside, or puts marks there, and those expand themselves. So other attributes on the
//! block and on the functions see what they would see without it.

use crate::args::Options;
use crate::context::Context;
use crate::errors::Errors;
use crate::item::{Block, Member};
use crate::mark::Names;
use crate::signature::is_async_trait_output;
use proc_macro2::{Group, Span, TokenStream};
use quote::{ToTokens, quote};
use syn::Signature;

pub fn check(options: &Options, errors: &mut Errors) {
    for (key, remedy) in [
        ("name", "write it on the fn inside"),
        ("vis", "write it on the fn inside"),
        ("skip", "write it on the fn inside, or remove this attribute"),
    ] {
        if let Some(key) = options.key(key) {
            errors.error(key, format!("`{key}` is of one fn; {remedy}"));
        }
    }
    if let Some(name) = options.timeout.as_ref().and_then(|timeout| timeout.name.as_ref()) {
        errors.error(name, "this name is of one fn; write `timeout` here, or the name on the fn inside");
    }
}

/// The block with its marks rewritten.
///
/// ```text
/// // Input
/// #[co_wrapper(suffix = "_blocking")]
/// impl<T> Bdrv<T> {
///     async fn read(&self) {}
///     #[co_wrapper(mixed)]
///     async fn write(&self) {}
/// }
///
/// // Output
/// impl<T> Bdrv<T> {
///     #[::co_wrapper::co_wrapper(__cw_context((Self) suffix = "_blocking",))]
///     async fn read(&self) {}
///     #[co_wrapper(mixed, __cw_context((Self) suffix = "_blocking",))]
///     async fn write(&self) {}
/// }
/// ```
pub fn rewrite(options: Options, block: &Block, names: &Names, errors: &mut Errors) -> TokenStream {
    let every = !options.affixes.is_empty();
    let context = Context::new(options, block.within.clone(), block.keyword == "trait");
    let mut marked = false;
    let mut body = block.inner_attrs.clone();
    for member in &block.members {
        let is_async = member.function.as_ref().is_some_and(is_async);
        let is_mark = |attr: &_| names.holds_mark(attr) || names.holds_no_co(attr);
        marked |= member.attrs.iter().any(is_mark) || every && is_async;
        if every && is_async {
            mark_unless_marked(member, &context, names, &mut body);
        }
        for attr in &member.attrs {
            if is_mark(attr) {
                names.with_context(attr, &context).to_tokens(&mut body);
            } else {
                attr.to_tokens(&mut body);
            }
        }
        body.extend(member.rest.clone());
    }
    if !marked {
        let keyword = &block.keyword;
        let message = if every {
            format!("no async fn in this `{keyword}`; remove the attribute")
        } else {
            format!(
                "nothing in this `{keyword}` is marked; put `#[co_wrapper]` on its async fns too, or give a `suffix` for all of them"
            )
        };
        errors.error(keyword, message);
    }

    with_body(block, body)
}

/// After a mistake in the outer attribute: what the marks inside would make of it is no news.
pub fn without_marks(block: &Block, names: &Names) -> TokenStream {
    let mut body = block.inner_attrs.clone();
    for member in &block.members {
        let attrs = member.attrs.iter().filter(|attr| !names.is_mark(attr) && !names.holds_no_co(attr));
        let rest = &member.rest;
        body.extend(quote!(#(#attrs)* #rest));
    }
    with_body(block, body)
}

fn with_body(block: &Block, body: TokenStream) -> TokenStream {
    let mut braces = Group::new(block.braces.delimiter(), body);
    braces.set_span(block.braces.span());
    let Block { attrs, head, .. } = block;
    quote!(#(#attrs)* #head #braces)
}

/// An async fn; also one that `#[async_trait]` on the same block has rewritten before us.
fn is_async(sig: &Signature) -> bool {
    sig.asyncness.is_some() || is_async_trait_output(sig)
}

fn mark_unless_marked(member: &Member, context: &Context, names: &Names, body: &mut TokenStream) {
    if member.attrs.iter().any(|attr| names.is_mark(attr)) {
        return;
    }
    let krate = crate::expand::krate(context.krate.as_ref(), Span::call_site());
    let mark = quote!(#krate::co_wrapper(#context));
    // Where a `cfg_attr` does not mark, the block's own rule holds.
    let elsewhere: Vec<TokenStream> =
        member.attrs.iter().filter(|attr| names.holds_mark(attr)).filter_map(|attr| names.condition(attr)).collect();
    body.extend(if elsewhere.is_empty() {
        quote!(#[#mark])
    } else {
        quote!(#[cfg_attr(not(any(#(#elsewhere),*)), #mark)])
    });
}
