//! Signatures and expressions of `impl Disk` that move into `impl blocking::Disk`, where `Self` is another type.
//!
//! - `Disk`, the type of the `impl` as its head has it, becomes `Self`: there that is the blocking type.
//! - `Self::Item`, `<Self as Trait>::Item`, and `Self` before the colon of a bound are of the async type, and name it.
//! - In `ctx = …` and `bdrv_rdlock = …`, `self` becomes the async value inside.

use proc_macro2::{Group, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::visit_mut::{self, VisitMut};
use syn::{
    Expr, ExprPath, Path, QSelf, Receiver, ReceiverKind, Signature, Token, Type, TypePath, WherePredicate, parse_quote,
};

use crate::model::conversion::is_self;

/// The signature of a fn of `impl of`, as it is in the impl of the blocking type.
pub fn moved(sig: &Signature, of: &Type) -> Signature {
    let mut moved = sig.clone();
    Move { of, name: of.to_token_stream().to_string() }.visit_signature_mut(&mut moved);
    moved
}

struct Move<'a> {
    of: &'a Type,
    name: String,
}

impl Move<'_> {
    /// Turns `Self::Item` into `<Disk>::Item`, and `<Self as Trait>::Item` into `<Disk as Trait>::Item`.
    fn path(&self, qself: &mut Option<QSelf>, path: &mut Path) {
        match qself {
            Some(qself) if matches!(&*qself.ty, Type::Path(ty) if is_self(ty)) => *qself.ty = self.of.clone(),
            None if path.segments.len() > 1 && path.segments[0].ident == "Self" => {
                let rest = path.segments.iter().skip(1);
                let of = self.of;
                let moved: TypePath = parse_quote!(<#of>::#(#rest)::*);
                (*qself, *path) = (moved.qself, moved.path);
            }
            _ => {}
        }
    }
}

impl VisitMut for Move<'_> {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        if ty.to_token_stream().to_string() == self.name {
            *ty = self_at(ty);
        } else {
            visit_mut::visit_type_mut(self, ty);
        }
    }

    fn visit_type_path_mut(&mut self, ty: &mut TypePath) {
        self.path(&mut ty.qself, &mut ty.path);
        visit_mut::visit_path_mut(self, &mut ty.path);
    }

    fn visit_expr_path_mut(&mut self, expr: &mut ExprPath) {
        self.path(&mut expr.qself, &mut expr.path);
        visit_mut::visit_path_mut(self, &mut expr.path);
    }

    fn visit_where_predicate_mut(&mut self, predicate: &mut WherePredicate) {
        visit_mut::visit_where_predicate_mut(self, predicate);
        if let WherePredicate::Type(predicate) = predicate
            && matches!(&predicate.bounded_ty, Type::Path(ty) if is_self(ty))
        {
            predicate.bounded_ty = self.of.clone();
        }
    }
}

/// `Self`, at the place of another type.
fn self_at(ty: &Type) -> Type {
    let first = ty.to_token_stream().into_iter().next();
    let span = first.map_or_else(proc_macro2::Span::call_site, |tree| tree.span());
    let word = Token![Self](span);
    parse_quote!(#word)
}

/// An expression of a mark in `impl of`, as it is in the impl of the blocking type.
pub fn moved_expr(expr: &Expr, of: &TokenStream, receiver: Option<&Receiver>, krate: &TokenStream) -> Expr {
    let borrow = receiver.filter(|receiver| matches!(receiver.kind, ReceiverKind::Value)).map(|_| quote!(&));
    let moved = replaced(expr.to_token_stream(), &|word| {
        let span = word.span();
        if word.to_string() == "self" {
            Some(quote_spanned!(span=> <Self as #krate::Blocking>::as_async(#borrow #word)))
        } else {
            (word.to_string() == "Self").then(|| quote_spanned!(span=> <#of>))
        }
    });
    // What was an expression with a name for a value is one with a call for it.
    syn::parse2(moved).unwrap_or_else(|_| expr.clone())
}

fn replaced(tokens: TokenStream, word: &dyn Fn(&TokenTree) -> Option<TokenStream>) -> TokenStream {
    let each = tokens.into_iter().map(|tree| match tree {
        TokenTree::Group(group) => {
            let mut moved = Group::new(group.delimiter(), replaced(group.stream(), word));
            moved.set_span(group.span());
            TokenTree::Group(moved).into()
        }
        TokenTree::Ident(_) => word(&tree).unwrap_or_else(|| tree.into()),
        tree => tree.into(),
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_self_is_there() {
        let of: Type = syn::parse_str("Disk<S>").unwrap();
        for (sig, expected) in [
            ("fn f(&self, other: &Disk<S>) -> io::Result<Disk<S>>", "fn f(&self, other: &Self) -> io::Result<Self>"),
            ("fn f(self: Box<Disk<S>>) -> Disk<u8>", "fn f(self: Box<Self>) -> Disk<u8>"),
            ("fn f(x: Self::Item) -> [u8; Self::N]", "fn f(x: <Disk<S>>::Item) -> [u8; <Disk<S>>::N]"),
            ("fn f() -> <Self as Tr<Self>>::X", "fn f() -> <Disk<S> as Tr<Self>>::X"),
            (
                "fn f<T>() -> Vec<Self> where Self: Sized, T: Copy",
                "fn f<T>() -> Vec<Self> where Disk<S>: Sized, T: Copy",
            ),
        ] {
            let moved = moved(&syn::parse_str(sig).unwrap(), &of);
            let expected: Signature = syn::parse_str(expected).unwrap();
            assert_eq!(moved.to_token_stream().to_string(), expected.to_token_stream().to_string(), "{sig}");
        }
    }

    #[test]
    fn what_a_mark_says_of_self() {
        let receiver = |receiver: &str| {
            let sig: Signature = syn::parse_str(&format!("fn f({receiver})")).unwrap();
            sig.receiver().cloned()
        };
        for (expr, of, expected) in [
            ("self.ctx", "&self", "<Self as ::c::Blocking>::as_async(self).ctx"),
            ("&self.ctx", "&mut self", "&<Self as ::c::Blocking>::as_async(self).ctx"),
            ("pick(self)", "self", "pick(<Self as ::c::Blocking>::as_async(&self))"),
            ("Self::ctx(x)", "&self", "<Disk>::ctx(x)"),
        ] {
            let moved = moved_expr(&syn::parse_str(expr).unwrap(), &quote!(Disk), receiver(of).as_ref(), &quote!(::c));
            let expected: Expr = syn::parse_str(expected).unwrap();
            assert_eq!(moved.to_token_stream().to_string(), expected.to_token_stream().to_string(), "{expr}");
        }
    }
}
