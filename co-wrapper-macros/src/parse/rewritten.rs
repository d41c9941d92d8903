//! Undoes what `#[async_trait]` and `#[async_recursion]` did to a signature before this macro sees it. The lifetimes
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

use crate::parse::tokens::count;
use proc_macro2::Ident;
use syn::punctuated::Punctuated;
use syn::visit_mut::{self, VisitMut};
use syn::{
    Constraint, GenericParam, Generics, Lifetime, ReceiverKind, Signature, Token, TypeImplTrait, TypeParam,
    TypeParamBound, TypeReference, TypeTraitObject, WherePredicate,
};

pub fn restore(sig: &mut Signature) {
    let lifetimes = || sig.generics.lifetimes().map(|param| &param.lifetime);
    if lifetimes().any(is_of_future) {
        let added = lifetimes().filter(|lifetime| is_added(lifetime, sig)).cloned().collect();
        Restore { added }.visit_signature_mut(sig);
    }
}

/// The lifetime that bounds the boxed future. Only a rewritten signature has it.
fn is_of_future(lifetime: &Lifetime) -> bool {
    lifetime.ident == "async_trait" || lifetime.ident == "async_recursion"
}

/// Whether the other macro added this lifetime: that of the future, or one of `'life0`, `'life1`, …, `'life_self`, which
/// each stand for one elided lifetime. If one of these stands more than once, the user chose the name.
fn is_added(lifetime: &Lifetime, sig: &Signature) -> bool {
    let name = lifetime.ident.to_string();
    let elided = name.strip_prefix("life").is_some_and(|rest| rest == "_self" || rest.parse::<u32>().is_ok());
    let written = || count(&sig.inputs, &name) + count(&sig.output, &name);
    is_of_future(lifetime) || elided && written() == 1
}

/// Removes these lifetimes: their declarations, bounds by them, and bounds of them. Where a lifetime must stand, it
/// becomes `'_`.
struct Restore {
    added: Vec<Lifetime>,
}

impl Restore {
    fn restore_reference(&self, lifetime: &mut Option<Lifetime>) {
        lifetime.take_if(|lifetime| self.added.contains(lifetime));
    }

    fn restore_bounds(&self, bounds: &mut Punctuated<TypeParamBound, Token![+]>) {
        bounds.retain(|bound| !matches!(bound, TypeParamBound::Lifetime(lifetime) if self.added.contains(lifetime)));
    }
}

impl VisitMut for Restore {
    fn visit_generics_mut(&mut self, generics: &mut Generics) {
        generics.params.retain(|param| match param {
            GenericParam::Lifetime(param) => !self.added.contains(&param.lifetime),
            _ => true,
        });
        if let Some(clause) = &mut generics.where_clause {
            clause.predicates.retain(|predicate| match predicate {
                WherePredicate::Lifetime(predicate) => {
                    predicate.bounds.retain(|bound| !self.added.contains(bound));
                    !predicate.bounds.is_empty()
                }
                WherePredicate::Type(predicate) => {
                    self.restore_bounds(&mut predicate.bounds);
                    !predicate.bounds.is_empty()
                }
                _ => true,
            });
        }
        generics.where_clause.take_if(|clause| clause.predicates.is_empty());
        visit_mut::visit_generics_mut(self, generics);
    }

    fn visit_type_param_mut(&mut self, param: &mut TypeParam) {
        self.restore_bounds(&mut param.bounds);
        visit_mut::visit_type_param_mut(self, param);
    }

    fn visit_type_impl_trait_mut(&mut self, ty: &mut TypeImplTrait) {
        self.restore_bounds(&mut ty.bounds);
        visit_mut::visit_type_impl_trait_mut(self, ty);
    }

    fn visit_type_trait_object_mut(&mut self, ty: &mut TypeTraitObject) {
        self.restore_bounds(&mut ty.bounds);
        visit_mut::visit_type_trait_object_mut(self, ty);
    }

    fn visit_constraint_mut(&mut self, constraint: &mut Constraint) {
        self.restore_bounds(&mut constraint.bounds);
        visit_mut::visit_constraint_mut(self, constraint);
    }

    fn visit_receiver_kind_mut(&mut self, kind: &mut ReceiverKind) {
        if let ReceiverKind::Reference(_, lifetime, _) = kind {
            self.restore_reference(lifetime);
        }
        visit_mut::visit_receiver_kind_mut(self, kind);
    }

    fn visit_type_reference_mut(&mut self, ty: &mut TypeReference) {
        self.restore_reference(&mut ty.lifetime);
        visit_mut::visit_type_reference_mut(self, ty);
    }

    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        if self.added.contains(lifetime) {
            lifetime.ident = Ident::new("_", lifetime.ident.span());
        }
    }
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
