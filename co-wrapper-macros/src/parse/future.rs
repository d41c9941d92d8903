//! Rewrites the signature of a fn that returns a future as that of the `async fn` that it stands for. Everything after
//! this module reads only that form. The result comes from the signature or from `output = …`; it is never guessed.
//!
//! ```text
//! // Input
//! fn read(&self, off: u64) -> Pin<Box<dyn Future<Output = Result> + Send + '_>>
//!
//! // Output
//! async fn read(&self, off: u64) -> Result
//! ```

use crate::parse::rewritten;
use crate::parse::stream::returns_stream;
use crate::parse::tokens::ungroup;
use syn::{
    AngleBracketedGenericArguments, GenericArgument, PathArguments, PathSegment, ReturnType, Signature, Token, Type,
    TypeParamBound,
};

/// What the fn returns.
#[derive(Clone, Copy, PartialEq)]
pub enum Returned {
    /// The fn is `async`, or only its twin is declared.
    Async,
    Future,
    /// The fn returns something that `IntoFuture` turns into a future.
    IntoFuture,
    /// The fn is not async and returns a stream, which needs no call to be made.
    Stream,
    /// The fn returns nothing that is recognized as a future.
    Unknown,
}

/// The signature of the `async fn`, and what the fn returns. `None` if it returns nothing that is recognized as a future or
/// a stream.
/// `output` is the result that the fn's mark gives.
pub fn as_async(sig: &Signature, output: Option<&Type>) -> Option<(Signature, Returned)> {
    if sig.asyncness.is_some() {
        return Some((sig.clone(), Returned::Async));
    }
    let ReturnType::Type(arrow, ty) = &sig.output else { return None };
    let (result, made) = match (output, future(ty)) {
        (Some(output), future) => (output, !matches!(future, Some((_, false)))),
        (None, Some(future)) => future,
        (None, None) if returns_stream(sig) => {
            let asyncness = Some(Token![async](sig.fn_token.span));
            return Some((Signature { asyncness, ..sig.clone() }, Returned::Stream));
        }
        (None, None) => return None,
    };
    let mut sig = sig.clone();
    sig.asyncness = Some(Token![async](sig.fn_token.span));
    // Clippy warns of `-> ()` (`unused_unit`).
    let unit = matches!(result, Type::Tuple(ty) if ty.elems.is_empty());
    sig.output = if unit { ReturnType::Default } else { ReturnType::Type(*arrow, Box::new(result.clone())) };
    rewritten::restore(&mut sig);
    Some((sig, if made { Returned::IntoFuture } else { Returned::Future }))
}

/// Whether a fn is an `async fn` or is known to return a future or a stream. These are the fns that a block's `suffix` is for.
pub fn is_async(sig: &Signature) -> bool {
    as_async(sig, None).is_some()
}

/// The result of the future that a fn returns as `ty`, and whether `IntoFuture` must make that future first.
fn future(ty: &Type) -> Option<(&Type, bool)> {
    match ungroup(ty) {
        Type::ImplTrait(ty) => ty.bounds.iter().find_map(bound),
        Type::Path(ty) => boxed(ty.path.segments.last()?).map(|result| (result, false)),
        _ => None,
    }
}

/// The `R` of `Pin<Box<dyn Future<Output = R>>>`, of the aliases that the crate `futures` has for it, and of
/// `Box<dyn Future<Output = R> + Unpin>`.
fn boxed(segment: &PathSegment) -> Option<&Type> {
    match &*segment.ident.to_string() {
        "BoxFuture" | "LocalBoxFuture" => only_type(segment),
        "Pin" => behind(pointee(only_type(segment)?)?),
        "Box" => {
            let inner = only_type(segment)?;
            is_unpin(inner).then(|| behind(inner))?
        }
        _ => None,
    }
}

/// The `T` of `Box<T>` or `&mut T`, which a `Pin` may hold.
fn pointee(ty: &Type) -> Option<&Type> {
    match ungroup(ty) {
        Type::Reference(ty) => Some(&ty.elem),
        Type::Path(ty) => only_type(ty.path.segments.last().filter(|segment| segment.ident == "Box")?),
        _ => None,
    }
}

/// The `R` of `dyn Future<Output = R>` or `impl Future<Output = R>`.
fn behind(ty: &Type) -> Option<&Type> {
    bounds(ty)?.find_map(bound).filter(|(_, made)| !made).map(|(result, _)| result)
}

fn is_unpin(ty: &Type) -> bool {
    let is_unpin = |bound: &TypeParamBound| {
        matches!(bound, TypeParamBound::Trait(bound)
            if bound.path.segments.last().is_some_and(|segment| segment.ident == "Unpin"))
    };
    bounds(ty).is_some_and(|mut bounds| bounds.any(is_unpin))
}

fn bounds(ty: &Type) -> Option<impl Iterator<Item = &TypeParamBound>> {
    match ungroup(ty) {
        Type::TraitObject(ty) => Some(ty.bounds.iter()),
        Type::ImplTrait(ty) => Some(ty.bounds.iter()),
        _ => None,
    }
}

/// The `R` of a bound `Future<Output = R>` or `IntoFuture<Output = R>`, and whether it is the latter.
fn bound(bound: &TypeParamBound) -> Option<(&Type, bool)> {
    let TypeParamBound::Trait(bound) = bound else { return None };
    let segment = bound.path.segments.last()?;
    let made = match &*segment.ident.to_string() {
        "Future" | "FusedFuture" => false,
        "IntoFuture" => true,
        _ => return None,
    };
    arguments(segment)?.args.iter().find_map(|argument| match argument {
        GenericArgument::AssocType(assoc) if assoc.ident == "Output" => Some((&assoc.ty, made)),
        _ => None,
    })
}

/// The `T` of `name<T>` or `name<'a, T>`. `None` if there are two types, because either could be the result.
fn only_type(segment: &PathSegment) -> Option<&Type> {
    let mut types = arguments(segment)?.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    types.next().filter(|_| types.next().is_none())
}

fn arguments(segment: &PathSegment) -> Option<&AngleBracketedGenericArguments> {
    match &segment.arguments {
        PathArguments::AngleBracketed(arguments) => Some(arguments),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::ToTokens;
    use syn::parse_quote;

    #[test]
    fn what_is_as_good_as_async() {
        for (output, result) in [
            ("impl Future<Output = u8>", Some("u8")),
            ("impl Send + core::future::Future<Output = u8> + 'a", Some("u8")),
            ("impl ::std::future::Future<Output = io::Result<()>> + use<'a, Self, T>", Some("io::Result<()>")),
            ("impl Future<Output = impl Iterator<Item = &u8>> + '_", Some("impl Iterator<Item = &u8>")),
            ("(impl FusedFuture<Output = Self>)", Some("Self")),
            ("impl IntoFuture<Output = u8>", Some("u8")),
            ("Pin<Box<dyn Future<Output = u8> + Send + 'static>>", Some("u8")),
            ("std::pin::Pin<std::boxed::Box<(dyn Future<Output = u8> + '_)>>", Some("u8")),
            ("Pin<Box<impl Future<Output = u8>>>", Some("u8")),
            ("Pin<&'a mut (dyn Future<Output = u8> + 'a)>", Some("u8")),
            ("Box<dyn Future<Output = u8> + Unpin>", Some("u8")),
            ("BoxFuture<'_, u8>", Some("u8")),
            ("futures::future::LocalBoxFuture<'static, &'a u8>", Some("&'a u8")),
            ("BoxFuture<u8>", Some("u8")),
            // What the signature does not say is not guessed.
            ("BoxFuture<'_, u8, Error>", None),
            ("BoxFuture", None),
            ("ReadFuture<u8>", None),
            ("Self::Future<'_>", None),
            ("impl Future", None),
            ("impl Add<Output = u8>", None),
            ("impl Fn() -> u8", None),
            ("Box<dyn Future<Output = u8>>", None),
            ("Pin<Box<dyn IntoFuture<Output = u8>>>", None),
            ("Result<impl Future<Output = u8>>", None),
            ("Option<BoxFuture<'_, u8>>", None),
            ("(BoxFuture<'_, u8>, u8)", None),
            ("[BoxFuture<'_, u8>; 2]", None),
            ("impl Fn() -> BoxFuture<'static, u8>", None),
            ("&mut BoxFuture<'_, u8>", None),
        ] {
            let sig: Signature = syn::parse_str(&format!("fn f<'a, T>(&'a self) -> {output}")).unwrap();
            let expected = result.map(|result| {
                let sig: Signature = syn::parse_str(&format!("async fn f<'a, T>(&'a self) -> {result}")).unwrap();
                sig.to_token_stream().to_string()
            });
            let found = as_async(&sig, None).map(|(sig, _)| sig.to_token_stream().to_string());
            assert_eq!(found, expected, "{output}");
        }
    }

    #[test]
    fn what_a_mark_says_of_the_result_counts() {
        let output: Type = parse_quote!(io::Result<u8>);
        for (returned, made) in [
            ("ReadBuilder<'_>", true),
            ("impl IntoFuture<Output = u8>", true),
            ("BoxFuture<'_, u8, Error>", true),
            ("BoxFuture<'_, u8>", false),
            ("impl Future<Output = u8>", false),
        ] {
            let sig: Signature = syn::parse_str(&format!("fn f(&self) -> {returned}")).unwrap();
            let (sig, found) = as_async(&sig, Some(&output)).unwrap();
            assert_eq!(sig.to_token_stream().to_string(), "async fn f (& self) -> io :: Result < u8 >");
            assert_eq!(found == Returned::IntoFuture, made, "{returned}");
        }
        assert!(as_async(&parse_quote!(fn f()), Some(&output)).is_none());
    }
}
