//! Undoes what `#[async_trait]` and `#[async_recursion]` did to a signature before this macro sees it: the lifetimes
//! that they named, and the bounds that their boxed future needs, belong neither to the fn as it was written nor to its
//! twin.
//!
//! ```text
//! // Input
//! fn read<'life0, 'async_trait, T>(&'life0 self, x: T) where 'life0: 'async_trait, T: 'async_trait + Copy
//!
//! // Output
//! fn read<T>(&self, x: T) where T: Copy
//! ```

use crate::parse::lifetimes::{Scope, bounds, edit};
use crate::parse::tokens::count;
use syn::{FnArg, GenericParam, Lifetime, ReceiverKind, Signature, WherePredicate};

pub fn restore(sig: &mut Signature) {
    if !sig.generics.lifetimes().any(|param| is_of_future(&param.lifetime)) {
        return;
    }
    let lifetimes = sig.generics.lifetimes().map(|param| param.lifetime.clone());
    let theirs: Vec<Lifetime> = lifetimes.filter(|lifetime| is_theirs(lifetime, sig)).collect();
    let params = std::mem::take(&mut sig.generics.params).into_iter();
    sig.generics.params = params
        .filter(|param| !matches!(param, GenericParam::Lifetime(param) if theirs.contains(&param.lifetime)))
        .collect();
    let mut unname = |lifetime: &mut Option<Lifetime>, _: Scope| {
        if lifetime.as_ref().is_some_and(|lifetime| theirs.contains(lifetime)) {
            *lifetime = None;
        }
    };
    for param in &mut sig.generics.params {
        if let GenericParam::Type(param) = param {
            bounds(&mut param.bounds, Scope::Signature, &mut unname);
        }
    }
    for input in &mut sig.inputs {
        match input {
            FnArg::Receiver(receiver) => match &mut receiver.kind {
                ReceiverKind::Reference(_, lifetime, _) => unname(lifetime, Scope::Signature),
                ReceiverKind::Typed(_, ty) => edit(ty, Scope::Signature, &mut unname),
                _ => {}
            },
            FnArg::Typed(param) => edit(&mut param.ty, Scope::Signature, &mut unname),
        }
    }
    if let Some(clause) = &mut sig.generics.where_clause {
        let predicates = std::mem::take(&mut clause.predicates).into_iter();
        let kept = predicates.filter_map(|mut predicate| {
            let empty = match &mut predicate {
                WherePredicate::Lifetime(predicate) => {
                    let bounds = std::mem::take(&mut predicate.bounds).into_iter();
                    predicate.bounds = bounds.filter(|bound| !theirs.contains(bound)).collect();
                    predicate.bounds.is_empty()
                }
                WherePredicate::Type(predicate) => {
                    bounds(&mut predicate.bounds, Scope::Signature, &mut unname);
                    predicate.bounds.is_empty()
                }
                _ => false,
            };
            (!empty).then_some(predicate)
        });
        clause.predicates = kept.collect();
    }
    if sig.generics.where_clause.as_ref().is_some_and(|clause| clause.predicates.is_empty()) {
        sig.generics.where_clause = None;
    }
}

/// The bound of the future itself, by which such a signature is known.
fn is_of_future(lifetime: &Lifetime) -> bool {
    lifetime.ident == "async_trait" || lifetime.ident == "async_recursion"
}

/// That, and `'life0`, `'life1`, …, `'life_self`, each of which stands for one that was elided. A user's own of such a
/// name may stand more than once.
fn is_theirs(lifetime: &Lifetime, sig: &Signature) -> bool {
    let name = lifetime.ident.to_string();
    let elided = name.strip_prefix("life").is_some_and(|rest| rest == "_self" || rest.parse::<u32>().is_ok());
    let written = || count(&sig.inputs, &name) + count(&sig.output, &name);
    is_of_future(lifetime) || elided && written() == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::ToTokens;

    #[test]
    fn as_it_was_written() {
        for (rewritten, written) in [
            (
                "fn f<'life0, 'async_trait>(&'life0 self) where 'life0: 'async_trait, Self: Sync + 'async_trait",
                "fn f(&self) where Self: Sync",
            ),
            (
                "fn f<'a, T, const N: usize, 'life0, 'life1, 'async_trait>(&'a self, x: &'life0 mut T, y: V<'life1>)
                    where 'a: 'async_trait, T: 'async_trait + Copy, 'life0: 'async_trait, 'life1: 'async_trait,
                    Self: 'async_trait",
                "fn f<'a, T, const N: usize>(&'a self, x: &mut T, y: V<'_>) where T: Copy",
            ),
            (
                "fn f<'b: 'a, 'life0, 'async_trait>(x: &'life0 (impl 'async_trait + Tr<&'b u8>)) where 'b: 'async_trait + 'a",
                "fn f<'b: 'a>(x: &(impl Tr<&'b u8>)) where 'b: 'a",
            ),
            (
                "fn f<'life_self, 'async_recursion>(&'life_self self) -> u8 where 'life_self: 'async_recursion",
                "fn f(&self) -> u8",
            ),
            (
                "fn f<'life0, 'async_trait>(&'life0 self) -> &'life0 u8 where 'life0: 'async_trait",
                "fn f<'life0>(&'life0 self) -> &'life0 u8",
            ),
            ("fn f<'life0>(&'life0 self) where 'life0: 'a", "fn f<'life0>(&'life0 self) where 'life0: 'a"),
        ] {
            let mut sig: Signature = syn::parse_str(rewritten).unwrap();
            restore(&mut sig);
            let written: Signature = syn::parse_str(written).unwrap();
            assert_eq!(sig.to_token_stream().to_string(), written.to_token_stream().to_string(), "{rewritten}");
        }
    }
}
