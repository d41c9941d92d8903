//! Writes a conversion between a blocking type and the async one, of an argument or of a result, and between a stream and an
//! iterator.

use crate::model::conversion::Conversion;
use crate::model::signature::Slot;
use crate::parse::stream::{Stream, each_stream};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote_spanned};
use std::mem;
use syn::spanned::Spanned;
use syn::{ReturnType, Signature, Type};

/// Converts the arguments of a twin in the impl of a blocking type.
pub fn of_arguments(sig: &Signature, slots: &mut [Slot], krate: &TokenStream) {
    for (input, slot) in sig.inputs.iter().zip(slots) {
        // Others have been refused.
        if let Ok(conversion) = Conversion::of_argument(input) {
            let span = slot.span.resolved_at(Span::call_site());
            let writer = Writer { krate, direction: Direction::ToAsync, iter: None, span };
            slot.value = writer.convert(&conversion, mem::take(&mut slot.value));
        }
    }
}

/// The type of a twin's result: with an iterator in the place of each stream.
pub fn iterators(sig: &mut Signature, krate: &TokenStream, in_context: bool) {
    let ReturnType::Type(_, ty) = &mut sig.output else { return };
    each_stream(ty, &mut |stream, kind| {
        let span = stream.span().resolved_at(Span::call_site());
        let iter = Ident::new(if in_context { "IterIn" } else { "Iter" }, span);
        Type::Verbatim(match kind {
            Stream::Pinned => quote_spanned!(span=> #krate::blocking::#iter<#stream>),
            Stream::Unpinned => {
                let of_box = quote_spanned!(span=> #krate::__private::Box<#stream>);
                quote_spanned!(span=> #krate::blocking::#iter<#krate::__private::Pin<#of_box>>)
            }
        })
    });
}

#[derive(Clone, Copy, PartialEq)]
pub enum Direction {
    /// Of an argument.
    ToAsync,
    /// Of a result.
    ToBlocking,
}

pub struct Writer<'a> {
    pub krate: &'a TokenStream,
    pub direction: Direction,
    pub iter: Option<Iter>,
    pub span: Span,
}

/// What makes an iterator of a pinned stream.
pub struct Iter {
    pub function: TokenStream,
    /// The twin, which its calls of `next` are calls of.
    pub wrapper: TokenStream,
    /// The variable with the place of the call.
    pub site: Ident,
    /// The context that the stream lives in, as an argument.
    pub context: Option<TokenStream>,
}

impl Writer<'_> {
    /// `value`, converted.
    pub fn convert(&self, conversion: &Conversion, value: TokenStream) -> TokenStream {
        let (krate, span) = (self.krate, self.span);
        let function = |inner| self.function(inner);
        match conversion {
            all if all.is_none() => value,
            Conversion::None => value,
            Conversion::Stream(stream) => {
                // A declaration says itself what the twin returns.
                let Some(Iter { function, wrapper, site, context }) = &self.iter else { return value };
                let pinned = match stream {
                    Stream::Pinned => value,
                    Stream::Unpinned => quote_spanned!(span=> #krate::__private::Box::pin(#value)),
                };
                quote_spanned!(span=> #function(#wrapper, #krate::__private::module_path!(), #site, #context #pinned))
            }
            Conversion::Value | Conversion::Shared | Conversion::Unique | Conversion::Arc => {
                let function = function(conversion);
                quote_spanned!(span=> #function(#value))
            }
            Conversion::Option(inner) => {
                let function = function(inner);
                quote_spanned!(span=> #value.map(#function))
            }
            Conversion::Result(inner, error) => {
                let map = Some(function(inner)).filter(|_| !inner.is_none());
                let map = map.map(|function| quote_spanned!(span=> .map(#function)));
                let map_err = Some(function(error)).filter(|_| !error.is_none());
                let map_err = map_err.map(|function| quote_spanned!(span=> .map_err(#function)));
                quote_spanned!(span=> #value #map #map_err)
            }
            Conversion::Vec(inner) => {
                let function = function(inner);
                quote_spanned!(span=> #krate::__private::map_vec(#value, #function))
            }
            Conversion::Box(inner) => {
                let inner = self.convert(inner, quote_spanned!(span=> *#value));
                quote_spanned!(span=> #krate::__private::Box::new(#inner))
            }
            Conversion::Tuple(_) => {
                let (pattern, converted) = self.parts(conversion);
                quote_spanned!(span=> match #value { #pattern => #converted })
            }
        }
    }

    /// The conversion as a function of one argument.
    fn function(&self, conversion: &Conversion) -> TokenStream {
        let (krate, span) = (self.krate, self.span);
        match (conversion, self.direction) {
            (Conversion::Value, Direction::ToBlocking) => {
                quote_spanned!(span=> <Self as #krate::__private::From<_>>::from)
            }
            (Conversion::Value, Direction::ToAsync) => {
                quote_spanned!(span=> <<Self as #krate::Blocking>::Async as #krate::__private::From<Self>>::from)
            }
            (Conversion::Arc, Direction::ToBlocking) => {
                quote_spanned!(span=> <Self as #krate::BlockingArc>::from_async_arc)
            }
            (Conversion::Arc, Direction::ToAsync) => {
                quote_spanned!(span=> <Self as #krate::BlockingArc>::into_async_arc)
            }
            (Conversion::Shared, _) => quote_spanned!(span=> <Self as #krate::Blocking>::as_async),
            (Conversion::Unique, _) => quote_spanned!(span=> <Self as #krate::Blocking>::as_async_mut),
            _ => {
                let (pattern, converted) = self.parts(conversion);
                quote_spanned!(span=> |#pattern| #converted)
            }
        }
    }

    /// A pattern for the value, and the converted value of its variables.
    fn parts(&self, conversion: &Conversion) -> (TokenStream, TokenStream) {
        let span = self.span;
        let Conversion::Tuple(all) = conversion else {
            let value = format_ident!("__cw_value", span = Span::call_site());
            return (quote_spanned!(span=> #value), self.convert(conversion, quote_spanned!(span=> #value)));
        };
        let names = (0..all.len()).map(|n| format_ident!("__cw_{n}", span = Span::call_site())).collect::<Vec<_>>();
        let converted = all.iter().zip(&names).map(|(inner, name)| self.convert(inner, quote_spanned!(span=> #name)));
        (quote_spanned!(span=> (#(#names,)*)), quote_spanned!(span=> (#(#converted,)*)))
    }
}
