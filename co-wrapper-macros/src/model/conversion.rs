//! How a value of the async fn becomes one of its blocking twin, or the reverse: nothing to do, or what its type says. A
//! conversion follows the type as it is written, through the containers that are listed here; what is behind another name
//! is not guessed.
//!
//! In a result, a stream becomes an iterator.
//!
//! In `impl blocking::Disk`, the twins of `impl Disk`, `Self` is the blocking type. So a result `Self` is made from the
//! async value, and an argument `Self`, `&Self` or `&mut Self` gives that.

use crate::parse::stream::{Stream, holds_stream, stream};
use crate::parse::tokens::{mentions, ungroup};
use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{
    FnArg, GenericArgument, PathArguments, PathSegment, ReceiverKind, ReturnType, Signature, Type, TypePath,
    TypeReference,
};

pub enum Conversion {
    /// The type has nothing in it that is converted.
    None,
    Stream(Stream),
    /// `Self`, by value.
    Value,
    /// `&Self`.
    Shared,
    /// `&mut Self`.
    Unique,
    Option(Box<Conversion>),
    /// Of the value, and of the error.
    Result(Box<Conversion>, Box<Conversion>),
    Tuple(Vec<Conversion>),
    Vec(Box<Conversion>),
    Box(Box<Conversion>),
    /// `Arc<Self>`.
    Arc,
}

/// A type with a `Self` or a stream that no conversion reaches.
pub struct Unmapped {
    /// The innermost type that is no container of those above.
    pub ty: TokenStream,
    pub is_stream: bool,
    /// What errors call it: `HashMap<…>`.
    pub what: String,
}

/// What is converted.
#[derive(Clone, Copy)]
struct Wanted {
    selves: bool,
    streams: bool,
}

impl Wanted {
    fn of(self, ty: &Type) -> Result<Conversion, Unmapped> {
        let of_streams = self.streams && holds_stream(ty);
        let of_self = self.selves && mentions(ty, "Self");
        let unmapped = |what: &str| {
            Err(Unmapped { ty: ty.to_token_stream(), is_stream: of_streams && !of_self, what: what.to_owned() })
        };
        if !of_streams && !of_self {
            return Ok(Conversion::None);
        }
        if let Some(stream) = stream(ty).filter(|_| of_streams) {
            return if of_self { unmapped("a stream") } else { Ok(Conversion::Stream(stream)) };
        }
        match ungroup(ty) {
            Type::Path(path) if is_self(path) => Ok(Conversion::Value),
            Type::Path(TypePath { qself: None, path, .. }) => match path.segments.last() {
                Some(segment) => {
                    self.container(segment).unwrap_or_else(|| unmapped(&format!("`{}<…>`", segment.ident)))
                }
                None => unmapped("this type"),
            },
            Type::Reference(TypeReference { elem, mutability, .. }) => match ungroup(elem) {
                Type::Path(path) if is_self(path) => {
                    Ok(if mutability.is_some() { Conversion::Unique } else { Conversion::Shared })
                }
                _ => unmapped("a reference"),
            },
            Type::Tuple(tuple) => {
                tuple.elems.iter().map(|ty| self.of(ty)).collect::<Result<_, _>>().map(Conversion::Tuple)
            }
            Type::Slice(_) => unmapped("a slice"),
            Type::Array(_) => unmapped("an array"),
            Type::ImplTrait(_) => unmapped("`impl …`"),
            Type::TraitObject(_) => unmapped("`dyn …`"),
            _ => unmapped("this type"),
        }
    }

    /// The conversion of a type that is known to contain others, or `None` if it is not.
    fn container(self, segment: &PathSegment) -> Option<Result<Conversion, Unmapped>> {
        let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return None };
        let types = arguments.args.iter().map(|argument| match argument {
            GenericArgument::Type(ty) => Some(ty),
            _ => None,
        });
        let types: Option<Vec<&Type>> = types.collect();
        let all = types?.into_iter().map(|ty| self.of(ty).map(Box::new)).collect::<Result<Vec<_>, _>>();
        let mut all = match all {
            Ok(all) => all.into_iter(),
            Err(unmapped) => return Some(Err(unmapped)),
        };
        let conversion = match (&*segment.ident.to_string(), all.next()?, all.next(), all.next()) {
            ("Option", inner, None, None) => Conversion::Option(inner),
            ("Vec", inner, None, None) => Conversion::Vec(inner),
            ("Box", inner, None, None) => Conversion::Box(inner),
            // Others may hold the same one, so what is in it stays where it is.
            ("Arc", inner, None, None) if matches!(*inner, Conversion::Value) => Conversion::Arc,
            // `io::Result<Self>` has its error elsewhere.
            ("Result", value, error, None) => {
                Conversion::Result(value, error.unwrap_or_else(|| Box::new(Conversion::None)))
            }
            _ => return None,
        };
        Some(Ok(conversion))
    }
}

impl Conversion {
    /// The conversion of an argument of a twin in the impl of a blocking type.
    pub fn of_argument(argument: &FnArg) -> Result<Self, Unmapped> {
        let wanted = Wanted { selves: true, streams: false };
        match argument {
            FnArg::Typed(param) => wanted.of(&param.ty),
            FnArg::Receiver(receiver) => match &receiver.kind {
                ReceiverKind::Value => Ok(Conversion::Value),
                ReceiverKind::Reference(_, _, None) => Ok(Conversion::Shared),
                ReceiverKind::Reference(_, _, Some(_)) => Ok(Conversion::Unique),
                ReceiverKind::Typed(_, ty) => wanted.of(ty),
                _ => {
                    Err(Unmapped { ty: receiver.to_token_stream(), is_stream: false, what: "this receiver".to_owned() })
                }
            },
        }
    }

    /// The conversion of a result. With `selves` it is that of a twin in the impl of a blocking type. A reference to the
    /// async value is none to a blocking one.
    pub fn of_result(sig: &Signature, selves: bool) -> Result<Self, Unmapped> {
        let ReturnType::Type(_, ty) = &sig.output else { return Ok(Conversion::None) };
        let conversion = Wanted { selves, streams: true }.of(ty)?;
        if conversion.has(&|leaf| matches!(leaf, Conversion::Shared | Conversion::Unique)) {
            return Err(Unmapped { ty: ty.to_token_stream(), is_stream: false, what: "a borrow".to_owned() });
        }
        Ok(conversion)
    }

    pub fn is_none(&self) -> bool {
        !self.has(&|leaf| !matches!(leaf, Conversion::None))
    }

    /// Whether a stream is in it.
    pub fn has_stream(&self) -> bool {
        self.has(&|leaf| matches!(leaf, Conversion::Stream(_)))
    }

    fn has(&self, is: &dyn Fn(&Conversion) -> bool) -> bool {
        match self {
            Conversion::Option(inner) | Conversion::Vec(inner) | Conversion::Box(inner) => inner.has(is),
            Conversion::Result(value, error) => value.has(is) || error.has(is),
            Conversion::Tuple(all) => all.iter().any(|inner| inner.has(is)),
            leaf => is(leaf),
        }
    }
}

pub fn is_self(ty: &TypePath) -> bool {
    ty.qself.is_none() && ty.path.is_ident("Self")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(conversion: &Conversion) -> String {
        match conversion {
            Conversion::None => "_".to_owned(),
            Conversion::Stream(stream) => format!("{stream:?}"),
            Conversion::Value => "Self".to_owned(),
            Conversion::Shared => "&Self".to_owned(),
            Conversion::Unique => "&mut Self".to_owned(),
            Conversion::Option(inner) => format!("Option<{}>", told(inner)),
            Conversion::Vec(inner) => format!("Vec<{}>", told(inner)),
            Conversion::Box(inner) => format!("Box<{}>", told(inner)),
            Conversion::Arc => "Arc<Self>".to_owned(),
            Conversion::Result(value, error) => format!("Result<{}, {}>", told(value), told(error)),
            Conversion::Tuple(all) => format!("({})", all.iter().map(told).collect::<Vec<_>>().join(", ")),
        }
    }

    #[test]
    fn what_is_reached() {
        for (ty, expected) in [
            ("u64", Ok("_")),
            ("HashMap<u8, Vec<String>>", Ok("_")),
            ("Self", Ok("Self")),
            ("(Self)", Ok("Self")),
            ("&'a Self", Ok("&Self")),
            ("&mut Self", Ok("&mut Self")),
            ("io::Result<Self>", Ok("Result<Self, _>")),
            ("Result<(), Self>", Ok("Result<_, Self>")),
            ("::std::result::Result<(Self, u64), (E, Self)>", Ok("Result<(Self, _), (_, Self)>")),
            ("Option<Box<Vec<Self>>>", Ok("Option<Box<Vec<Self>>>")),
            ("Option<&Self>", Ok("Option<&Self>")),
            ("io::Result<Vec<sync::Arc<Self>>>", Ok("Result<Vec<Arc<Self>>, _>")),
            ("(u8, Option<Self>, Self)", Ok("(_, Option<Self>, Self)")),
            ("io::Result<impl Stream<Item = u8> + Send>", Ok("Result<Unpinned, _>")),
            ("Option<(u64, Self, BoxStream<'_, u8>)>", Ok("Option<(_, Self, Pinned)>")),
            ("Vec<Pin<Box<dyn Stream<Item = u8>>>>", Ok("Vec<Pinned>")),
            ("HashMap<u8, BoxStream<'_, u8>>", Err("HashMap < u8 , BoxStream < '_ , u8 > >")),
            ("Box<dyn Stream<Item = u8>>", Err("dyn Stream < Item = u8 >")),
            ("BoxStream<'_, Self>", Err("BoxStream < '_ , Self >")),
            // What is behind another name is not guessed.
            ("io::Result<HashMap<u8, Self>>", Err("HashMap < u8 , Self >")),
            ("Arc<Option<Self>>", Err("Arc < Option < Self > >")),
            ("Rc<Self>", Err("Rc < Self >")),
            ("&Arc<Self>", Err("& Arc < Self >")),
            ("Option<&[Self]>", Err("& [Self]")),
            ("[Self; 2]", Err("[Self ; 2]")),
            ("impl Iterator<Item = Self>", Err("impl Iterator < Item = Self >")),
            ("Box<dyn Fn(Self)>", Err("dyn Fn (Self)")),
            ("<Self as Trait>::Item", Err("< Self as Trait > :: Item")),
            ("Vec<Self, A>", Err("Vec < Self , A >")),
            ("&&Self", Err("& & Self")),
            ("fn(Self)", Err("fn (Self)")),
        ] {
            let parsed: Type = syn::parse_str(ty).unwrap();
            let wanted = Wanted { selves: true, streams: true };
            let found = wanted.of(&parsed).map(|found| told(&found)).map_err(|unmapped| unmapped.ty.to_string());
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{ty}");
        }
    }
}
