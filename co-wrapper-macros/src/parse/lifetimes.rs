//! The lifetimes in a type: those that are written, and the elided one of each `&`. Lifetimes that a `for<…>` declares
//! are left out, and array lengths are not searched.

use proc_macro2::Span;
use syn::visit_mut::{self, VisitMut};
use syn::{
    BoundLifetimes, Expr, Lifetime, ParenthesizedGenericArguments, Type, TypeFnPtr, TypeImplTrait, TypeReference,
};

/// Which item an elided lifetime belongs to.
#[derive(Clone, Copy, PartialEq)]
pub enum Scope {
    /// The fn.
    Signature,
    /// The fn as well, and the lifetime is inside `impl Trait`, where only an `async fn` may elide it.
    ImplTrait,
    /// A type `fn(&T)` or a bound `Fn(&T)`.
    FnType,
}

/// Calls `edit` with each lifetime and its scope. An elided one is `'_`; `edit` may give it a name.
pub fn each_lifetime(ty: &mut Type, edit: impl FnMut(&mut Lifetime, Scope)) {
    EachLifetime { scope: Scope::Signature, edit }.visit_type_mut(ty);
}

struct EachLifetime<F> {
    scope: Scope,
    edit: F,
}

impl<F> EachLifetime<F> {
    fn within(&mut self, scope: Scope, visit: impl FnOnce(&mut Self)) {
        let outer = std::mem::replace(&mut self.scope, scope);
        visit(self);
        self.scope = outer;
    }
}

impl<F: FnMut(&mut Lifetime, Scope)> VisitMut for EachLifetime<F> {
    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        (self.edit)(lifetime, self.scope);
    }

    fn visit_type_reference_mut(&mut self, ty: &mut TypeReference) {
        let mut lifetime = ty.lifetime.clone().unwrap_or_else(|| Lifetime::new("'_", Span::call_site()));
        self.visit_lifetime_mut(&mut lifetime);
        // A `&` that has no lifetime before and after stays as it was written.
        if ty.lifetime.is_some() || lifetime.ident != "_" {
            ty.lifetime = Some(lifetime);
        }
        self.visit_type_mut(&mut ty.elem);
    }

    fn visit_type_impl_trait_mut(&mut self, ty: &mut TypeImplTrait) {
        let scope = if self.scope == Scope::FnType { Scope::FnType } else { Scope::ImplTrait };
        self.within(scope, |visitor| visit_mut::visit_type_impl_trait_mut(visitor, ty));
    }

    fn visit_type_fn_ptr_mut(&mut self, ty: &mut TypeFnPtr) {
        self.within(Scope::FnType, |visitor| visit_mut::visit_type_fn_ptr_mut(visitor, ty));
    }

    fn visit_parenthesized_generic_arguments_mut(&mut self, arguments: &mut ParenthesizedGenericArguments) {
        self.within(Scope::FnType, |visitor| {
            visit_mut::visit_parenthesized_generic_arguments_mut(visitor, arguments);
        });
    }

    fn visit_bound_lifetimes_mut(&mut self, _: &mut BoundLifetimes) {}

    fn visit_expr_mut(&mut self, _: &mut Expr) {}
}

/// Gives a name to each lifetime that an `async fn` may elide and no other fn: those inside `impl Trait`. Returns the
/// names, which `fresh` has made.
pub fn name_elided(ty: &mut Type, fresh: &mut dyn FnMut() -> Lifetime) -> Vec<Lifetime> {
    let mut named = Vec::new();
    each_lifetime(ty, |lifetime, scope| {
        if scope == Scope::ImplTrait && lifetime.ident == "_" {
            *lifetime = fresh();
            named.push(lifetime.clone());
        }
    });
    named
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::ToTokens;

    #[test]
    fn what_is_elided_inside_impl_trait_is_named() {
        for (ty, named) in [
            ("impl Iterator<Item = &u64>", "impl Iterator<Item = &'l0 u64>"),
            ("impl Iterator<Item = IoVec<'_>>", "impl Iterator<Item = IoVec<'l0>>"),
            ("impl Debug + '_", "impl Debug + 'l0"),
            ("&impl AsRef<&mut u8>", "&impl AsRef<&'l0 mut u8>"),
            ("Vec<[(impl Tr<'_>, &u8); 2]>", "Vec<[(impl Tr<'l0>, &u8); 2]>"),
            ("impl Into<Box<dyn Tr<'_> + '_>>", "impl Into<Box<dyn Tr<'l0> + 'l1>>"),
            ("impl Iterator<Item: PartialEq<&u8>>", "impl Iterator<Item: PartialEq<&'l0 u8>>"),
            ("impl Iterator<Item = impl Iterator<Item = &u8>>", "impl Iterator<Item = impl Iterator<Item = &'l0 u8>>"),
            ("impl for<'x> PartialEq<(&'x u8, &u8)>", "impl for<'x> PartialEq<(&'x u8, &'l0 u8)>"),
            ("impl Lend<Item<'_> = &u8>", "impl Lend<Item<'l0> = &'l1 u8>"),
            ("impl Into<<&A as T<&B>>::C>", "impl Into<<&'l0 A as T<&'l1 B>>::C>"),
            ("impl Iterator<Item = *const &[u8]>", "impl Iterator<Item = *const &'l0 [u8]>"),
            // Here every fn may elide it.
            ("impl Fn(&u8) -> Box<dyn Debug + '_>", "impl Fn(&u8) -> Box<dyn Debug + '_>"),
            ("impl Into<fn(&u8) -> &u8>", "impl Into<fn(&u8) -> &u8>"),
            ("impl Iterator<Item = &'a u8>", "impl Iterator<Item = &'a u8>"),
            ("&dyn Tr<'_>", "&dyn Tr<'_>"),
        ] {
            let mut parsed: Type = syn::parse_str(ty).unwrap();
            let mut count = 0..;
            let mut fresh = || Lifetime::new(&format!("'l{}", count.next().unwrap()), proc_macro2::Span::call_site());
            name_elided(&mut parsed, &mut fresh);
            let named: Type = syn::parse_str(named).unwrap();
            assert_eq!(parsed.to_token_stream().to_string(), named.to_token_stream().to_string(), "{ty}");
        }
    }
}
