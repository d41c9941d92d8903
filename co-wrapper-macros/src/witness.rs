//! Witnesses: parameters of type `&GraphRead` or `&GraphWrite`, by which a fn says that it wants the graph lock held.
//! Whoever holds it hands one in; a wrapper that takes the lock supplies it, so its own list of parameters is without.

use crate::errors::Errors;
use crate::lock::Lock;
use crate::signature::{Slot, ungroup};
use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{FnArg, GenericParam, Lifetime, ReturnType, Signature, Type};

/// Where the witness stands among the arguments of the fn that is called.
pub struct Place {
    pub index: usize,
    /// The condition of a `#[cfg]` on it.
    pub cfg: Option<TokenStream>,
}

struct Witness<'a> {
    index: usize,
    ty: &'a Type,
    lifetime: Option<&'a Lifetime>,
    write: bool,
}

/// Whether a parameter of this type is one, and of the write lock.
fn kind(ty: &Type) -> Option<(&syn::TypeReference, bool)> {
    let Type::Reference(reference) = ungroup(ty) else { return None };
    let Type::Path(path) = ungroup(&reference.elem) else { return None };
    let last = &path.path.segments.last()?.ident;
    let write = last == "GraphWrite";
    (reference.mutability.is_none() && (write || last == "GraphRead")).then_some((reference, write))
}

pub fn is_witness(ty: &Type) -> bool {
    kind(ty).is_some()
}

fn witnesses(sig: &Signature) -> impl Iterator<Item = Witness<'_>> {
    sig.inputs.iter().enumerate().filter_map(|(index, input)| {
        let FnArg::Typed(param) = input else { return None };
        let (reference, write) = kind(&param.ty)?;
        Some(Witness { index, ty: &param.ty, lifetime: reference.lifetime.as_ref(), write })
    })
}

/// Takes the witness out of the wrapper's signature and slots, if it has one.
pub fn take(sig: &mut Signature, slots: &mut Vec<Slot>) -> Option<Place> {
    let (index, lifetime) = witnesses(sig).map(|witness| (witness.index, witness.lifetime.cloned())).next()?;
    let inputs = std::mem::take(&mut sig.inputs).into_iter().enumerate();
    sig.inputs = inputs.filter(|(i, _)| *i != index).map(|(_, input)| input).collect();
    if let Some(lifetime) = lifetime {
        drop_if_unused(sig, &lifetime);
    }
    // Those behind it keep their arguments' names, and are counted anew.
    for i in (index + 1..slots.len()).rev() {
        slots[i].ty = slots[i - 1].ty.clone();
    }
    Some(Place { index, cfg: slots.remove(index).cfg })
}

/// A lifetime that was the witness's alone.
fn drop_if_unused(sig: &mut Signature, lifetime: &Lifetime) {
    let declares = |param: &GenericParam| matches!(param, GenericParam::Lifetime(p) if p.lifetime == *lifetime);
    let mut rest = sig.clone();
    rest.generics.params = rest.generics.params.into_iter().filter(|param| !declares(param)).collect();
    if find_lifetime(rest.to_token_stream(), &lifetime.ident.to_string()).is_none()
        && find_lifetime(rest.generics.where_clause.to_token_stream(), &lifetime.ident.to_string()).is_none()
    {
        sig.generics.params = rest.generics.params;
    }
}

/// `lock` is what the mark takes.
pub fn check(sig: &Signature, lock: Option<&Lock>, errors: &mut Errors) {
    let mut witnesses = witnesses(sig);
    let Some(witness) = witnesses.next() else { return };
    for second in witnesses {
        errors.error(second.ty, "a second witness of one lock; remove it");
    }
    let Some(lock) = lock else {
        let mark = if witness.write { "`#[no_co_wrapper(bdrv_wrlock)]`" } else { "`bdrv_rdlock`" };
        errors.error(witness.ty, format!("a witness of a lock that the mark does not take; write {mark}"));
        return;
    };
    match (lock.is_write(), witness.write) {
        (false, true) => errors.error(witness.ty, "the mark takes the read lock; take `&GraphRead` instead"),
        (true, false) => errors.error(witness.ty, "the mark takes the write lock; take `&GraphWrite` instead"),
        _ => {}
    }
    if let Some(span) = borrowed_result(sig, &witness) {
        let message = "the result borrows the lock, which the wrapper releases before it returns; return it owned";
        errors.push(syn::Error::new(span, message));
    }
}

/// Where the result names the witness's lifetime, be it by elision.
fn borrowed_result(sig: &Signature, witness: &Witness) -> Option<Span> {
    let ReturnType::Type(_, result) = &sig.output else { return None };
    match witness.lifetime {
        Some(lifetime) if lifetime.ident == "static" => None,
        Some(lifetime) if lifetime.ident != "_" => find_lifetime(result.to_token_stream(), &lifetime.ident.to_string()),
        _ => {
            // What is elided in the result is the receiver's, or the one lifetime that there is.
            let others = sig.inputs.iter().enumerate().filter(|(i, _)| *i != witness.index);
            let alone = others.into_iter().all(|(_, input)| first_lifetime(input.to_token_stream()).is_none());
            if alone { elided(result.to_token_stream()) } else { None }
        }
    }
}

/// `'name`
fn find_lifetime(tokens: TokenStream, name: &str) -> Option<Span> {
    find(tokens, &|first, second| first == '\'' && second.is_some_and(|word| word == name))
}

/// Any `&` or lifetime.
fn first_lifetime(tokens: TokenStream) -> Option<Span> {
    find(tokens, &|first, _| first == '&' || first == '\'')
}

/// `&` without a lifetime, or `'_`.
fn elided(tokens: TokenStream) -> Option<Span> {
    find(tokens, &|first, second| match first {
        '&' => second.as_deref() != Some("'"),
        _ => first == '\'' && second.is_some_and(|word| word == "_"),
    })
}

/// The first punctuation that with the token after it is what is looked for.
fn find(tokens: TokenStream, is: &dyn Fn(char, Option<String>) -> bool) -> Option<Span> {
    let trees: Vec<TokenTree> = tokens.into_iter().collect();
    trees.iter().enumerate().find_map(|(i, tree)| match tree {
        TokenTree::Punct(punct) => is(punct.as_char(), trees.get(i + 1).map(ToString::to_string)).then(|| punct.span()),
        TokenTree::Group(group) => find(group.stream(), is),
        TokenTree::Ident(_) | TokenTree::Literal(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Taken;
    use crate::signature;

    fn sig(text: &str) -> Signature {
        syn::parse_str(text).unwrap()
    }

    #[test]
    fn what_is_a_witness() {
        for (ty, write) in [
            ("&GraphRead", Some(false)),
            ("&'a graph::GraphRead", Some(false)),
            ("(&(::co_wrapper::graph::GraphWrite))", Some(true)),
            ("&mut GraphRead", None),
            ("GraphRead", None),
            ("&&GraphRead", None),
            ("&[GraphRead]", None),
            ("&GraphReader", None),
        ] {
            let sig = sig(&format!("fn f<'a>(&self, g: {ty})"));
            assert_eq!(witnesses(&sig).map(|witness| witness.write).next(), write, "{ty}");
        }
    }

    #[test]
    fn through_groups() {
        let ty = proc_macro2::Group::new(proc_macro2::Delimiter::None, quote::quote!(GraphRead));
        let ty = proc_macro2::Group::new(proc_macro2::Delimiter::None, quote::quote!(&#ty));
        let sig = syn::parse2(quote::quote!(fn f(_: #ty))).unwrap();
        assert_eq!(witnesses(&sig).count(), 1);
    }

    #[test]
    fn it_leaves_with_its_lifetime() {
        for (text, left) in [
            ("fn f<'a>(x: &u8, g: &'a GraphRead, y: u8)", "fn f(x: &u8, y: u8)"),
            ("fn f<'a, 'b>(g: &'a GraphRead, x: &'b u8) -> &'b u8", "fn f<'b>(x: &'b u8) -> &'b u8"),
            ("fn f<'a>(x: &'a u8, g: &'a GraphRead)", "fn f<'a>(x: &'a u8)"),
            ("fn f<'a, T>(g: &'a GraphRead, t: T) where T: 'a", "fn f<'a, T>(t: T) where T: 'a"),
            ("fn f(g: &GraphRead)", "fn f()"),
        ] {
            let mut taken = Taken::default();
            let mut sig_ = sig(text);
            let mut slots = signature::slots(&sig_, &mut taken);
            assert!(take(&mut sig_, &mut slots).is_some());
            assert_eq!(sig_.to_token_stream().to_string(), sig(left).to_token_stream().to_string(), "{text}");
            assert_eq!(slots.len(), sig_.inputs.len());
        }
    }

    #[test]
    fn results_that_borrow_it() {
        for (text, borrows) in [
            ("async fn f(g: &GraphRead) -> &u8", true),
            ("async fn f(g: &GraphRead) -> Iter<'_, u8>", true),
            ("async fn f(x: &u8, g: &'_ GraphRead)", false),
            ("async fn f<'a>(x: &u8, g: &'a GraphRead) -> Option<&'a u8>", true),
            ("async fn f(&self, g: &GraphRead) -> &u8", false),
            ("async fn f(g: &GraphRead) -> &'static u8", false),
            ("async fn f<'a>(x: &'a u8, g: &GraphRead) -> &'a u8", false),
        ] {
            let sig = sig(text);
            let witness = witnesses(&sig).next().unwrap();
            assert_eq!(borrowed_result(&sig, &witness).is_some(), borrows, "{text}");
        }
    }
}
