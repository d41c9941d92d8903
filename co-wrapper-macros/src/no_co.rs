//! `#[no_co_wrapper]`, the other way round: an async twin of a blocking fn, from its tokens to its expansion. What must
//! outlive the call's frame is refused unless it can be owned.

use crate::args::Options;
use crate::errors::Errors;
use crate::expand::{Returned, Subject, no_co::NoCo};
use crate::future::is_async;
use crate::item::{Function, Item};
use crate::name::{unraw, with_co};
use crate::signature::{self, ungroup};
use crate::{attribute, attrs, lock, witness};
use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{FnArg, Meta, ReceiverKind, ReturnType, Signature, Type, TypeReference};

pub fn no_co_wrapper(args: TokenStream, input: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let options = Options::parse_no_co(args, &mut errors);
    check_options(&options, &mut errors);
    let output = match Item::parse(input.clone()) {
        Ok(Item::Fn(function)) => of_function(&options, *function, &mut errors),
        Ok(Item::Block(block)) if block.keyword == "mod" => {
            errors.error(block.keyword, "a module has no async twin; `#[no_co_wrapper]` belongs on a blocking fn");
            input
        }
        Ok(Item::Block(block)) => {
            errors.error(block.keyword, "`#[no_co_wrapper]` is of one fn; write it on the blocking fn inside");
            input
        }
        Ok(Item::Other(keyword, what)) => {
            errors.error(keyword, format!("{what} has no async twin; `#[no_co_wrapper]` belongs on a blocking fn"));
            input
        }
        Err(error) => {
            errors.push(error);
            input
        }
    };
    let errors = errors.into_compile_errors();
    quote!(#output #errors)
}

pub fn check_options(options: &Options, errors: &mut Errors) {
    if let Some(key) = options.key("output") {
        errors.error(key, "`output` is for `#[co_wrapper]`; a blocking fn says what it returns, remove it");
    }
    for key in ["mixed", "ctx", "timeout", "expect_long", "suffix", "prefix", "skip"] {
        if let Some(key) = options.key(key) {
            errors.error(key, format!("`{key}` is for `#[co_wrapper]`; an async fn waits for nobody, remove it"));
        }
    }
    lock::check_no_co(options, errors);
}

fn of_function(options: &Options, mut function: Function, errors: &mut Errors) -> TokenStream {
    let context = options.context.clone().unwrap_or_default();
    function.attrs.retain(|attr| {
        let repeated = is_no_co(&attr.meta);
        if repeated {
            errors.error(attr.path(), "a second `#[no_co_wrapper]`; write its options into the first");
        }
        !repeated
    });
    attrs::check(&function.attrs, errors);
    if check(&function.sig, errors) && !lock::is_faulty_no_co(options) {
        witness::check(&function.sig, options.lock.as_ref(), errors);
    }
    let within = match context.within.is_empty() {
        false => Some(context.within.clone()),
        true => signature::mentions_self(&function.sig).then(|| quote!(Self)),
    };
    if within.is_none() {
        signature::check_hiding(&function.sig, errors);
    }
    let (attrs, rest) = (&function.attrs, &function.rest);
    let twin = twin_name(options, &function.sig.ident, errors).filter(|_| errors.is_empty()).map(|wrapper| {
        let subject = Subject {
            attrs,
            vis: &function.vis,
            sig: &function.sig,
            declared: false,
            returned: Returned::Async,
            long: function.is_long(),
            body_span: function.body_span,
            wrapper,
            target: attribute::target(&function, within, options),
        };
        NoCo::new(&subject, options, &context).twin().to_token_stream()
    });
    quote! {
        #(#attrs)*
        #rest
        #twin
    }
}

fn twin_name(options: &Options, target: &Ident, errors: &mut Errors) -> Option<Ident> {
    if let Some(name) = &options.name {
        if unraw(name) == unraw(target) {
            errors.error(name, format!("`{name}` is the blocking fn itself; give the async one another name"));
            return None;
        }
        return Some(name.clone());
    }
    if options.key("name").is_some() {
        return None;
    }
    let name = unraw(target);
    if name.split('_').any(|segment| segment == "co") {
        let message = format!("`{name}` has a `co` already; name the async fn with `#[no_co_wrapper(name = …)]`");
        errors.error(target, message);
        return None;
    }
    Some(with_co(target))
}

/// The mark, as it stands on a fn.
pub fn is_no_co(meta: &Meta) -> bool {
    meta.path().segments.last().is_some_and(|segment| segment.ident == "no_co_wrapper")
}

/// Whether it is a blocking fn at all, and can have a twin.
fn check(sig: &Signature, errors: &mut Errors) -> bool {
    if let Some(token) = &sig.asyncness {
        errors.error(token, "the fn is async already; mark a blocking one, or write `#[co_wrapper]`");
        return false;
    }
    if is_async(sig) {
        errors.error(&sig.output, "the fn returns a future; mark a blocking one, or write `#[co_wrapper]`");
        return false;
    }
    signature::check(sig, errors);
    check_owned(sig, errors)
}

/// Everything that outlives the call's frame must be owned. Whether the result is.
pub fn check_owned(sig: &Signature, errors: &mut Errors) -> bool {
    for input in &sig.inputs {
        match input {
            FnArg::Receiver(receiver) if matches!(receiver.kind, ReceiverKind::Typed(..)) => {
                if let ReceiverKind::Typed(_, ty) = &receiver.kind {
                    match ungroup(ty) {
                        Type::Reference(TypeReference { mutability: None, elem, .. }) => refuse_borrows(elem, errors),
                        ty => refuse_borrows(ty, errors),
                    }
                }
            }
            FnArg::Receiver(receiver) => {
                let by_mut = matches!(&receiver.kind, ReceiverKind::Reference(_, _, Some(_)));
                if by_mut {
                    errors.error(
                        receiver,
                        "`&mut` does not outlive a call that is dropped; take it by value and return it",
                    );
                }
            }
            // The wrapper supplies it.
            FnArg::Typed(param) if witness::is_witness(&param.ty) => {}
            FnArg::Typed(param) => match ungroup(&param.ty) {
                Type::Reference(TypeReference { mutability: Some(_), .. }) => {
                    let message = "`&mut` does not outlive a call that is dropped; take it by value and return it";
                    errors.error(&param.ty, message);
                }
                // What is behind it is cloned; what that borrows in turn is not.
                Type::Reference(ty) => refuse_borrows(&ty.elem, errors),
                ty => refuse_borrows(ty, errors),
            },
        }
    }
    if let Some(never) = signature::never(sig) {
        errors.error(never, "a fn that returns `!` leaves nothing to await; call it from a bottom half");
    }
    if let ReturnType::Type(_, ty) = &sig.output
        && let Some(span) = borrow(ty.to_token_stream())
    {
        let message = "the result must not borrow, for the arguments are gone by then; return it owned";
        errors.push(syn::Error::new(span, message));
        // Nor a witness: that has been said.
        return false;
    }
    true
}

fn refuse_borrows(ty: &Type, errors: &mut Errors) {
    if let Some(span) = borrow(ty.to_token_stream()) {
        let message = "this borrow does not outlive a call that is dropped; take it owned";
        errors.push(syn::Error::new(span, message));
    }
}

/// The first `&` or lifetime in a type, `'static` apart.
fn borrow(ty: TokenStream) -> Option<Span> {
    let trees: Vec<TokenTree> = ty.into_iter().collect();
    let is_static = |at: usize| matches!(trees.get(at), Some(TokenTree::Ident(ident)) if ident == "static");
    trees.iter().enumerate().find_map(|(i, tree)| match tree {
        TokenTree::Punct(punct) if punct.as_char() == '\'' && !is_static(i + 1) => Some(punct.span()),
        TokenTree::Punct(punct) if punct.as_char() == '&' && !is_static(i + 2) => Some(punct.span()),
        TokenTree::Group(group) => borrow(group.stream()),
        _ => None,
    })
}
