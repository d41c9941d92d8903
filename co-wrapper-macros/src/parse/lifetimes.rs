//! Every position in a type that has a lifetime, or could have one after a `&`. Array lengths and macros are not
//! searched.

use syn::punctuated::Punctuated;
use syn::{
    AngleBracketedGenericArguments, GenericArgument, Lifetime, NamedArg, PathArguments, ReturnType, Token, Type,
    TypeParamBound,
};

/// What an elided lifetime at some position would mean.
#[derive(Clone, Copy, PartialEq)]
pub enum Scope {
    /// One of the fn's.
    Signature,
    /// One of the fn's, inside `impl Trait`.
    ImplTrait,
    /// One of a `fn(&T)` or `Fn(&T)`.
    Own,
}

/// Calls `edit` with each. It may give a name, change it, or take it away: what must have one is then `'_`, and a bound
/// goes.
pub fn edit(ty: &mut Type, scope: Scope, edit: &mut dyn FnMut(&mut Option<Lifetime>, Scope)) {
    match ty {
        Type::Array(ty) => self::edit(&mut ty.elem, scope, edit),
        Type::FnPtr(ty) => own(&mut ty.inputs, &mut ty.output, edit),
        Type::Group(ty) => self::edit(&mut ty.elem, scope, edit),
        Type::ImplTrait(ty) => {
            let scope = if scope == Scope::Own { scope } else { Scope::ImplTrait };
            bounds(&mut ty.bounds, scope, edit);
        }
        Type::Paren(ty) => self::edit(&mut ty.elem, scope, edit),
        Type::Path(ty) => {
            if let Some(qself) = &mut ty.qself {
                self::edit(&mut qself.ty, scope, edit);
            }
            path(&mut ty.path, scope, edit);
        }
        Type::Ptr(ty) => self::edit(&mut ty.elem, scope, edit),
        Type::Reference(ty) => {
            edit(&mut ty.lifetime, scope);
            self::edit(&mut ty.elem, scope, edit);
        }
        Type::Slice(ty) => self::edit(&mut ty.elem, scope, edit),
        Type::TraitObject(ty) => bounds(&mut ty.bounds, scope, edit),
        Type::Tuple(ty) => ty.elems.iter_mut().for_each(|elem| self::edit(elem, scope, edit)),
        _ => {}
    }
}

fn path(path: &mut syn::Path, scope: Scope, edit: &mut dyn FnMut(&mut Option<Lifetime>, Scope)) {
    for segment in &mut path.segments {
        match &mut segment.arguments {
            PathArguments::None => {}
            PathArguments::AngleBracketed(args) => arguments(args, scope, edit),
            PathArguments::Parenthesized(args) => own(&mut args.inputs, &mut args.output, edit),
        }
    }
}

fn arguments(
    arguments: &mut AngleBracketedGenericArguments,
    scope: Scope,
    edit: &mut dyn FnMut(&mut Option<Lifetime>, Scope),
) {
    for argument in &mut arguments.args {
        match argument {
            GenericArgument::Lifetime(lifetime) => {
                let mut edited = Some(lifetime.clone());
                edit(&mut edited, scope);
                *lifetime = edited.unwrap_or_else(|| Lifetime::new("'_", lifetime.span()));
            }
            GenericArgument::Type(ty) => self::edit(ty, scope, edit),
            GenericArgument::AssocType(assoc) => {
                if let Some(generics) = &mut assoc.generics {
                    self::arguments(generics, scope, edit);
                }
                self::edit(&mut assoc.ty, scope, edit);
            }
            GenericArgument::Constraint(constraint) => bounds(&mut constraint.bounds, scope, edit),
            _ => {}
        }
    }
}

/// Also of a parameter, and of a predicate of a `where`.
pub fn bounds(
    bounds: &mut Punctuated<TypeParamBound, Token![+]>,
    scope: Scope,
    edit: &mut dyn FnMut(&mut Option<Lifetime>, Scope),
) {
    let edited = std::mem::take(bounds).into_iter().filter_map(|mut bound| {
        match &mut bound {
            TypeParamBound::Trait(bound) => path(&mut bound.path, scope, edit),
            TypeParamBound::Lifetime(lifetime) => {
                let mut edited = Some(lifetime.clone());
                edit(&mut edited, scope);
                *lifetime = edited?;
            }
            _ => {}
        }
        Some(bound)
    });
    *bounds = edited.collect();
}

fn own(
    inputs: &mut Punctuated<NamedArg, Token![,]>,
    output: &mut ReturnType,
    edit: &mut dyn FnMut(&mut Option<Lifetime>, Scope),
) {
    inputs.iter_mut().for_each(|input| self::edit(&mut input.ty, Scope::Own, edit));
    if let ReturnType::Type(_, ty) = output {
        self::edit(ty, Scope::Own, edit);
    }
}

/// Names what an `async fn` may elide and no other fn: lifetimes inside `impl Trait`. Each is one of its own, and those
/// that are named are returned. The names are new with `fresh`.
pub fn name_elided(ty: &mut Type, fresh: &mut dyn FnMut() -> Lifetime) -> Vec<Lifetime> {
    let mut named = Vec::new();
    edit(ty, Scope::Signature, &mut |lifetime, scope| {
        let elided = lifetime.as_ref().is_none_or(|lifetime| lifetime.ident == "_");
        if scope == Scope::ImplTrait && elided {
            let fresh = fresh();
            named.push(fresh.clone());
            *lifetime = Some(fresh);
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
            // Elided in its own scope, or where every fn may.
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
