//! Recognizes types that are streams, as the crates `futures` and `tokio-stream` have them. By their words alone, as a future
//! is: what another name stands for is not guessed.

use crate::parse::tokens::ungroup;
use syn::visit::{self, Visit};
use syn::visit_mut::{self, VisitMut};
use syn::{GenericArgument, PathArguments, PathSegment, ReturnType, Signature, Type, TypeParamBound};

/// A stream that an iterator may hold.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Stream {
    /// It has to be pinned first: `impl Stream<Item = T>`.
    Unpinned,
    /// It may be moved: `Pin<Box<dyn Stream<Item = T>>>`, `BoxStream<'_, T>`, `Box<dyn Stream<Item = T> + Unpin>`.
    Pinned,
}

/// Whether this very type is a stream.
pub fn stream(ty: &Type) -> Option<Stream> {
    match ungroup(ty) {
        Type::ImplTrait(ty) => ty.bounds.iter().any(is_stream).then_some(Stream::Unpinned),
        Type::Path(ty) => ty.path.segments.last().is_some_and(boxed).then_some(Stream::Pinned),
        _ => None,
    }
}

fn boxed(segment: &PathSegment) -> bool {
    match &*segment.ident.to_string() {
        "BoxStream" | "LocalBoxStream" => !segment.arguments.is_none(),
        "Pin" => only_type(segment).and_then(pointee).is_some_and(|inner| bounds(inner).any(is_stream)),
        "Box" => only_type(segment).is_some_and(|inner| {
            let is_unpin = |bound: &TypeParamBound| named(bound).is_some_and(|segment| segment.ident == "Unpin");
            bounds(inner).any(is_stream) && bounds(inner).any(is_unpin)
        }),
        _ => false,
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

fn only_type(segment: &PathSegment) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return None };
    match arguments.args.first() {
        Some(GenericArgument::Type(ty)) if arguments.args.len() == 1 => Some(ty),
        _ => None,
    }
}

fn bounds(ty: &Type) -> impl Iterator<Item = &TypeParamBound> {
    let bounds = match ungroup(ty) {
        Type::TraitObject(ty) => Some(&ty.bounds),
        Type::ImplTrait(ty) => Some(&ty.bounds),
        _ => None,
    };
    bounds.into_iter().flatten()
}

fn named(bound: &TypeParamBound) -> Option<&PathSegment> {
    match bound {
        TypeParamBound::Trait(bound) => bound.path.segments.last(),
        _ => None,
    }
}

/// Whether this is `Stream<Item = T>`, or `FusedStream`.
fn is_stream(bound: &TypeParamBound) -> bool {
    named(bound).is_some_and(|segment| {
        let has_item = matches!(&segment.arguments, PathArguments::AngleBracketed(arguments)
            if arguments.args.iter().any(|argument| matches!(argument, GenericArgument::AssocType(ty) if ty.ident == "Item")));
        (segment.ident == "Stream" || segment.ident == "FusedStream") && has_item
    })
}

/// Whether a fn hands out a stream, alone or in something. One that is behind a reference or a closure is not handed out.
pub fn returns_stream(sig: &Signature) -> bool {
    matches!(&sig.output, ReturnType::Type(_, ty) if holds_stream(ty))
}

pub fn holds_stream(ty: &Type) -> bool {
    let mut holds = Holds(false);
    holds.visit_type(ty);
    holds.0
}

/// Replaces each stream that a type hands out.
pub fn each_stream(ty: &mut Type, edit: &mut dyn FnMut(&Type, Stream) -> Type) {
    Each { edit }.visit_type_mut(ty);
}

struct Each<'a> {
    edit: &'a mut dyn FnMut(&Type, Stream) -> Type,
}

impl VisitMut for Each<'_> {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        match stream(ty) {
            Some(kind) => *ty = (self.edit)(ty, kind),
            None if hands_out(ty) => visit_mut::visit_type_mut(self, ty),
            None => {}
        }
    }
}

/// Whether what is inside such a type is handed out with it.
fn hands_out(ty: &Type) -> bool {
    !matches!(
        ungroup(ty),
        Type::Reference(_) | Type::Ptr(_) | Type::ImplTrait(_) | Type::TraitObject(_) | Type::FnPtr(_)
    )
}

struct Holds(bool);

impl<'a> Visit<'a> for Holds {
    fn visit_type(&mut self, ty: &'a Type) {
        // `dyn Stream` alone is one that has no size.
        self.0 |= stream(ty).is_some() || bounds(ty).any(is_stream);
        if hands_out(ty) && !self.0 {
            visit::visit_type(self, ty);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_stream() {
        for (ty, is, holds) in [
            ("impl Stream<Item = u8>", Some(Stream::Unpinned), true),
            ("(impl Send + futures::Stream<Item = io::Result<u8>> + '_ + use<'_>)", Some(Stream::Unpinned), true),
            ("impl FusedStream<Item = u8> + Unpin", Some(Stream::Unpinned), true),
            ("Pin<Box<dyn Stream<Item = u8> + Send + 'a>>", Some(Stream::Pinned), true),
            ("std::pin::Pin<std::boxed::Box<impl Stream<Item = u8>>>", Some(Stream::Pinned), true),
            ("Pin<&'a mut dyn Stream<Item = u8>>", Some(Stream::Pinned), true),
            ("BoxStream<'static, u8>", Some(Stream::Pinned), true),
            ("futures::stream::LocalBoxStream<'_, u8>", Some(Stream::Pinned), true),
            ("Box<dyn Stream<Item = u8> + Unpin>", Some(Stream::Pinned), true),
            ("io::Result<impl Stream<Item = u8>>", None, true),
            ("Vec<(u8, Option<BoxStream<'_, u8>>)>", None, true),
            ("Box<dyn Stream<Item = u8>>", None, true),
            // What the type does not say is not guessed, and what it lends is not handed out.
            ("Stream<u8>", None, false),
            ("TcpStream", None, false),
            ("ByteStream<u8>", None, false),
            ("impl Stream", None, false),
            ("impl Iterator<Item = u8>", None, false),
            ("&mut BoxStream<'_, u8>", None, false),
            ("impl Fn() -> BoxStream<'static, u8>", None, false),
            ("Option<&mut (dyn Stream<Item = u8> + Unpin)>", None, false),
        ] {
            let parsed: Type = syn::parse_str(ty).unwrap();
            assert_eq!((stream(&parsed), holds_stream(&parsed)), (is, holds), "{ty}");
        }
    }
}
