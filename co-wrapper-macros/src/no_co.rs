//! `#[no_co_wrapper]`, the other way round: an async twin of a blocking fn. Its grammar and its refusals; what it will
//! expand to needs the graph lock, which is yet to come.

use crate::args::Options;
use crate::errors::Errors;
use crate::item::Item;
use crate::signature::{self, Output};
use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{FnArg, ReceiverKind, ReturnType, Signature, Type, TypeReference};

pub fn no_co_wrapper(args: TokenStream, input: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let equals = lock_values(args.clone());
    let options = Options::parse(args, &mut errors);
    for key in ["mixed", "ctx", "timeout", "suffix", "prefix", "skip"] {
        if let Some(key) = options.key(key) {
            errors.error(key, format!("`{key}` is for `#[co_wrapper]`; an async fn waits for nobody, remove it"));
        }
    }
    if let (Some(_), Some(second)) = (options.key("bdrv_rdlock"), options.key("bdrv_wrlock")) {
        errors.error(second, "`bdrv_rdlock` and `bdrv_wrlock` cannot both be held; remove one");
    }
    for span in equals {
        let message = "a bottom half of the main context takes the graph's own lock; remove the value";
        errors.push(syn::Error::new(span, message));
    }
    match Item::parse(input.clone()) {
        Ok(Item::Fn(function)) => check(&function.sig, &mut errors),
        Ok(Item::Block(block)) => {
            errors.error(block.keyword, "`#[no_co_wrapper]` is of one fn; write it on the blocking fn inside");
        }
        Ok(Item::Other(keyword, what)) => {
            errors.error(keyword, format!("{what} has no async twin; `#[no_co_wrapper]` belongs on a blocking fn"));
        }
        Err(error) => errors.push(error),
    }
    if errors.is_empty() {
        let message = "`#[no_co_wrapper]` is not there yet; write the async fn by hand";
        errors.push(syn::Error::new(Span::call_site(), message));
    }
    let errors = errors.into_compile_errors();
    quote!(#input #errors)
}

/// The `=` after a lock.
fn lock_values(args: TokenStream) -> Vec<Span> {
    let trees: Vec<TokenTree> = args.into_iter().collect();
    let equals = trees.windows(2).filter_map(|pair| match pair {
        [TokenTree::Ident(key), TokenTree::Punct(punct)]
            if punct.as_char() == '=' && (key == "bdrv_rdlock" || key == "bdrv_wrlock") =>
        {
            Some(punct.span())
        }
        _ => None,
    });
    equals.collect()
}

/// Everything that outlives the call's frame must be owned.
fn check(sig: &Signature, errors: &mut Errors) {
    if let Some(token) = &sig.asyncness {
        errors.error(token, "the fn is async already; mark a blocking one, or write `#[co_wrapper]`");
        return;
    }
    if !matches!(signature::output(sig), Output::Neither) {
        errors.error(&sig.output, "the fn returns a future; mark a blocking one, or write `#[co_wrapper]`");
        return;
    }
    signature::check(sig, errors);
    for input in &sig.inputs {
        match input {
            FnArg::Receiver(receiver) => {
                let by_mut = matches!(&receiver.kind, ReceiverKind::Reference(_, _, Some(_)));
                if by_mut {
                    errors.error(
                        receiver,
                        "`&mut` does not outlive a call that is dropped; take it by value and return it",
                    );
                }
            }
            FnArg::Typed(param) => match &*param.ty {
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
    if let ReturnType::Type(_, ty) = &sig.output
        && let Some(span) = borrow(ty.to_token_stream())
    {
        let message = "the result must not borrow, for the arguments are gone by then; return it owned";
        errors.push(syn::Error::new(span, message));
    }
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
