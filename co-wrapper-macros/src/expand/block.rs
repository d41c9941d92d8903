//! The attribute on an `impl`, `trait` or module. It writes no wrapper. It writes its options and the block's context
//! into the marks on the functions inside, and puts marks on functions that have none, and on the blocks in a module.
//! The compiler expands those marks afterwards. So other attributes on the block and on the functions see the same code
//! as without this attribute.

use crate::parse::attrs::cfg_attr;
use crate::parse::errors::Errors;
use crate::parse::future::is_async;
use crate::parse::item::{Block, Kind, Member};
use crate::parse::mark::{self, MarkNames, holds_no_co};
use crate::parse::options::BlockContext;
use crate::parse::tokens::ungroup;
use proc_macro2::{Group, Ident, Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{Attribute, ReturnType, Type};

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
pub fn rewrite(context: &BlockContext, block: &Block, names: &MarkNames, errors: &mut Errors) -> TokenStream {
    let every = !context.options.affixes.is_empty();
    let keyword = &block.keyword;
    let mut marked = false;
    let mut body = block.inner_attrs.clone();
    for member in &block.members {
        let is_mark = |attr: &_| names.holds_mark(attr) || holds_no_co(attr);
        let meant = every && has_async(member, names);
        marked |= meant || member.attrs.iter().any(is_mark);
        let is_block = matches!(member.kind, Kind::Block(_));
        match &member.kind {
            Kind::Block(_) if meant => {
                let mark = mark(&context.written, context);
                body.extend(quote!(#[#mark]));
            }
            Kind::Function(_) if meant => mark_unless_marked(member, context, names, &mut body),
            _ => {}
        }
        for attr in &member.attrs {
            // A block inside a module is expanded by its own mark.
            if is_block && is_skip(attr, names) {
                continue;
            } else if !is_block && is_mark(attr) {
                names.with_context(attr, context).to_tokens(&mut body);
            } else {
                attr.to_tokens(&mut body);
            }
        }
        body.extend(member.rest.clone());
    }
    if !marked {
        let message = if every && block.members.iter().any(may_return_future) {
            format!(
                "no fn in this `{keyword}` is known as async; remove the attribute, or name the result of a future with `#[co_wrapper(output = …)]`"
            )
        } else if every {
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

/// Whether the `suffix` or `prefix` of the block around a member applies to it. It does for an async fn. In a module it
/// also does for a block that contains async fns and has no mark of its own, unless that is the impl of a trait: there the
/// trait provides the twins.
fn has_async(member: &Member, names: &MarkNames) -> bool {
    match &member.kind {
        Kind::Function(sig) => is_async(sig),
        Kind::Block(block) => {
            !block.is_of_trait()
                && !member.attrs.iter().any(|attr| names.holds_mark(attr))
                && block.members.iter().any(|member| has_async(member, names))
        }
        Kind::Other => false,
    }
}

/// Whether a fn returns a type with arguments that may be an alias of a future.
fn may_return_future(member: &Member) -> bool {
    let Kind::Function(sig) = &member.kind else { return false };
    let ReturnType::Type(_, ty) = &sig.output else { return false };
    let Type::Path(ty) = ungroup(ty) else { return false };
    let known = |ident: &Ident| ["Option", "Result", "Vec"].iter().any(|name| ident == name);
    let last = ty.path.segments.last();
    last.is_some_and(|segment| !segment.arguments.is_none() && !known(&segment.ident))
}

/// Whether this is `#[co_wrapper(skip)]`.
fn is_skip(attr: &Attribute, names: &MarkNames) -> bool {
    names.is_mark(attr) && attr.parse_args::<Ident>().is_ok_and(|option| option == "skip")
}

/// The block without the marks inside. After a mistake in the block's attribute they would only report what follows from
/// it.
pub fn without_marks(block: &Block, names: &MarkNames) -> TokenStream {
    let mut body = block.inner_attrs.clone();
    for member in &block.members {
        let attrs = member.attrs.iter().filter(|attr| !names.is_mark(attr) && !holds_no_co(attr));
        let rest = &member.rest;
        body.extend(quote!(#(#attrs)* #rest));
    }
    with_body(block, body)
}

pub fn with_body(block: &Block, body: TokenStream) -> TokenStream {
    let mut braces = Group::new(block.braces.delimiter(), body);
    braces.set_span(block.braces.span());
    let Block { attrs, head, .. } = block;
    quote!(#(#attrs)* #head #braces)
}

fn mark(options: impl ToTokens, context: &BlockContext) -> TokenStream {
    let mark = mark::path(context, Span::call_site());
    quote!(#mark(#options))
}

fn mark_unless_marked(member: &Member, context: &BlockContext, names: &MarkNames, body: &mut TokenStream) {
    if member.attrs.iter().any(|attr| names.is_mark(attr)) {
        return;
    }
    let mark = mark(context, context);
    let marks = member.attrs.iter().filter(|attr| names.holds_mark(attr));
    let conditions: Vec<TokenStream> = marks.filter_map(|attr| Some(cfg_attr(&attr.meta)?.0)).collect();
    body.extend(if conditions.is_empty() {
        quote!(#[#mark])
    } else {
        // The block's rule is for the configurations in which no `cfg_attr` marks the fn.
        quote!(#[cfg_attr(not(any(#(#conditions),*)), #mark)])
    });
}
