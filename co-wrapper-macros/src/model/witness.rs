//! Witnesses: parameters of type `&GraphRead` or `&GraphWrite`, which prove that the caller holds the graph lock. A wrapper
//! that takes the lock supplies the witness itself, so its own parameters have none.

use crate::model::signature::Slot;
use crate::parse::tokens::{borrows, ungroup};
use proc_macro2::TokenStream;
use syn::{FnArg, GenericParam, Lifetime, Signature, Type};

/// Where the witness belongs among the arguments of the fn that the wrapper calls.
pub struct Place {
    pub index: usize,
    /// The condition of a `#[cfg]` on the parameter.
    pub cfg: Option<TokenStream>,
}

pub struct Witness<'a> {
    pub index: usize,
    pub ty: &'a Type,
    pub lifetime: Option<&'a Lifetime>,
    /// Whether it proves that the write lock is held.
    pub write: bool,
}

/// The reference, and whether it is to a `GraphWrite`. `None` if this is not the type of a witness.
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

pub fn witnesses(sig: &Signature) -> impl Iterator<Item = Witness<'_>> {
    sig.inputs.iter().enumerate().filter_map(|(index, input)| {
        let FnArg::Typed(param) = input else { return None };
        let (reference, write) = kind(&param.ty)?;
        Some(Witness { index, ty: &param.ty, lifetime: reference.lifetime.as_ref(), write })
    })
}

/// Removes the witness from the wrapper's signature and slots, if it has one.
pub fn take(sig: &mut Signature, slots: &mut Vec<Slot>) -> Option<Place> {
    let (index, lifetime) = witnesses(sig).map(|witness| (witness.index, witness.lifetime.cloned())).next()?;
    let inputs = std::mem::take(&mut sig.inputs).into_iter().enumerate();
    sig.inputs = inputs.filter(|(i, _)| *i != index).map(|(_, input)| input).collect();
    if let Some(lifetime) = lifetime {
        drop_if_unused(sig, &lifetime);
    }
    Some(Place { index, cfg: slots.remove(index).cfg })
}

/// Removes the declaration of a lifetime that only the witness had.
fn drop_if_unused(sig: &mut Signature, lifetime: &Lifetime) {
    let declares = |param: &GenericParam| matches!(param, GenericParam::Lifetime(p) if p.lifetime == *lifetime);
    let mut rest = sig.clone();
    rest.generics.params = rest.generics.params.into_iter().filter(|param| !declares(param)).collect();
    let name = lifetime.ident.to_string();
    if !borrows(&rest).iter().any(|borrow| borrow.is(&name)) {
        sig.generics.params = rest.generics.params;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::signature;
    use crate::parse::ident::Taken;
    use quote::ToTokens;

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
}
