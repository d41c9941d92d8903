//! Signatures: questions about the user's signature, the wrapper's signature, and the slots of the argument struct, one
//! for each parameter. A wrapper's signature is the user's, token by token, with the exceptions that [`blocking`] lists.

use crate::parse::attrs;
use crate::parse::ident::{Taken, unraw};
use crate::parse::lifetimes::{Scope, each_lifetime, name_elided};
use crate::parse::tokens::{borrows, flat, is_punct, mentions, ungroup};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};
use syn::spanned::Spanned;
use syn::{
    FnArg, GenericParam, Lifetime, Pat, PatIdent, PatType, ReceiverKind, ReturnType, Safety, Signature, Type,
    parse_quote,
};

/// One parameter: its field in the argument struct, and its names in the wrapper's body.
pub struct Slot {
    pub field: Ident,
    /// The parameter as an expression, with the hygiene of the user's code. It is `self` for the receiver.
    pub value: TokenStream,
    /// The variable that is passed to the fn that the wrapper calls.
    pub argument: Ident,
    /// The condition of a `#[cfg]` on the parameter. Without it the slot stays and holds `()`.
    pub cfg: Option<TokenStream>,
    /// The span of the parameter's type.
    pub span: Span,
    /// Whether that type may break a bound of its own ([`bounded`]).
    pub bounded: bool,
}

/// The parameters that have a name. The wrapper's parameters have the same names.
pub fn parameter_names(sig: &Signature) -> impl Iterator<Item = &Ident> {
    sig.inputs.iter().filter_map(|input| match input {
        FnArg::Receiver(_) => None,
        FnArg::Typed(param) => simple(&param.pat).map(|pat| &pat.ident),
    })
}

/// The pattern, if a name can stand for it: `x`, `mut x`, `ref x` or `x @ …`. A capitalized name may be that of a unit
/// struct.
fn simple(pat: &Pat) -> Option<&PatIdent> {
    match pat {
        Pat::Ident(pat) if unraw(&pat.ident).starts_with(char::is_uppercase) => None,
        Pat::Ident(pat) => Some(pat),
        Pat::Paren(pat) => simple(&pat.pat),
        _ => None,
    }
}

/// The types in a signature that may break a bound of their own. For example, `Packed<T>` does if its declaration requires
/// something of `T` that the argument does not have, `[u8]` does because it has no size, and `[u8; N]` does if `N` is not a
/// `usize`.
pub fn bounded(sig: &Signature) -> impl Iterator<Item = &Type> {
    let output = match &sig.output {
        ReturnType::Type(_, ty) => Some(&**ty),
        ReturnType::Default => None,
    };
    sig.inputs.iter().filter_map(written_type).chain(output).filter(|ty| may_break_a_bound(ty))
}

fn may_break_a_bound(ty: &Type) -> bool {
    matches!(ungroup(ty), Type::Slice(_) | Type::Array(_)) || flat(ty).iter().any(|tree| is_punct(tree, '<'))
}

/// The type of a parameter, or of a receiver like `self: Arc<Self>`.
fn written_type(input: &FnArg) -> Option<&Type> {
    match input {
        FnArg::Receiver(receiver) => match &receiver.kind {
            ReceiverKind::Typed(_, ty) => Some(ty),
            _ => None,
        },
        FnArg::Typed(param) => Some(&param.ty),
    }
}

/// The result type, if it is `!`.
pub fn never(sig: &Signature) -> Option<&Type> {
    let ReturnType::Type(_, ty) = &sig.output else { return None };
    matches!(ungroup(ty), Type::Never(_)).then_some(ty)
}

/// The wrapper's signature. It is the user's with these changes:
///
/// - `async` and `mut` are left out, and patterns become names: the body only passes its arguments on.
/// - Lifetimes that only an `async fn` may elide get names.
/// - In a trait, `Self: Sized` is required if the body moves a `Self`.
pub fn blocking(sig: &Signature, wrapper: &Ident, declared: bool, in_trait: bool, taken: &mut Taken) -> Signature {
    let mut blocking = sig.clone();
    blocking.asyncness = None;
    blocking.ident = wrapper.clone();
    let mut named = Vec::new();
    for input in &mut blocking.inputs {
        match input {
            FnArg::Receiver(receiver) => {
                receiver.mutability = None;
                receiver.attrs = attrs::of_parameter(&receiver.attrs);
            }
            FnArg::Typed(param) => {
                param.attrs = attrs::of_parameter(&param.attrs);
                let ident = match simple(&param.pat) {
                    Some(pat) => pat.ident.clone(),
                    None => taken.fresh("__cw_arg"),
                };
                *param.pat = parse_quote!(#ident);
                if !declared {
                    let mut fresh = || Lifetime::new(&format!("'{}", taken.fresh("__cw_life")), Span::call_site());
                    named.extend(name_elided(&mut param.ty, &mut fresh));
                }
            }
        }
    }
    let others = blocking.generics.params.iter().position(|param| !matches!(param, GenericParam::Lifetime(_)));
    let at = others.unwrap_or(blocking.generics.params.len());
    for lifetime in named.into_iter().rev() {
        blocking.generics.params.insert(at, parse_quote!(#lifetime));
    }
    // The body of a provided method cannot move a `Self` that may be unsized. A declared method was not written for a
    // trait, so there even `Vec<Self>` expects `Self` to be sized.
    if in_trait && (moves_self(&blocking) || declared && types_mention_self(&blocking)) {
        blocking.generics.make_where_clause().predicates.push(parse_quote!(Self: Sized));
    }
    blocking
}

/// Whether a type other than the receiver's contains `Self`.
fn types_mention_self(sig: &Signature) -> bool {
    let inputs = sig.inputs.iter().filter(|input| matches!(input, FnArg::Typed(_)));
    mentions(&sig.output, "Self") || inputs.into_iter().any(|input| mentions(input, "Self"))
}

/// Whether `Self` is passed or returned by value.
fn moves_self(sig: &Signature) -> bool {
    let is_self = |ty: &Type| matches!(ungroup(ty), Type::Path(ty) if ty.path.is_ident("Self"));
    let output = matches!(&sig.output, ReturnType::Type(_, ty) if is_self(ty));
    output
        || sig.inputs.iter().any(|input| match input {
            FnArg::Receiver(receiver) => match &receiver.kind {
                ReceiverKind::Value => true,
                ReceiverKind::Typed(_, ty) => is_self(ty),
                _ => false,
            },
            FnArg::Typed(param) => is_self(&param.ty),
        })
}

/// The slots for the wrapper's own signature, in which every parameter is `self` or a name.
pub fn slots(blocking: &Signature, taken: &mut Taken) -> Vec<Slot> {
    let mut fields = Taken::default();
    let mut slots = Vec::new();
    for (n, input) in blocking.inputs.iter().enumerate() {
        let ty = written_type(input);
        let (attrs, field, value, span) = match input {
            FnArg::Receiver(receiver) => {
                let span = ty.map_or(receiver.self_token.span, Spanned::span);
                (&receiver.attrs, fields.fresh("__self"), receiver.self_token.to_token_stream(), span)
            }
            FnArg::Typed(PatType { attrs, pat, ty, .. }) => match simple(pat) {
                // If only hygiene tells two parameters of one name apart, they need two fields.
                Some(pat) => (attrs, fields.fresh_like(&pat.ident), pat.to_token_stream(), ty.span()),
                None => unreachable!("every pattern has become a name"),
            },
        };
        slots.push(Slot {
            field,
            value,
            argument: {
                let mut argument = taken.fresh(&format!("__cw_{n}"));
                argument.set_span(span.resolved_at(Span::call_site()));
                argument
            },
            cfg: attrs::cfg_of(attrs),
            span,
            bounded: ty.is_some_and(may_break_a_bound),
        });
    }
    slots
}

/// The generic arguments of the call: all type and const parameters, because rustc cannot infer each, and the lifetimes that
/// must be passed ([`told_lifetimes`]).
pub fn turbofish(sig: &Signature, lifetimes: &[Lifetime]) -> Option<TokenStream> {
    let mut arguments: Vec<&dyn ToTokens> = lifetimes.iter().map(|lifetime| lifetime as _).collect();
    for param in &sig.generics.params {
        match param {
            GenericParam::Type(param) => arguments.push(&param.ident),
            GenericParam::Const(param) => arguments.push(&param.ident),
            GenericParam::Lifetime(_) => {}
        }
    }
    (!arguments.is_empty()).then(|| quote!(::<#(#arguments),*>))
}

/// The lifetimes that the call must pass by name. If the result is an `impl Trait`, rustc cannot infer a lifetime that is in
/// a bound and in no argument's type. It takes `'static` for it, which breaks the bound (E0310). A call that names one
/// lifetime must name all early-bound ones.
pub fn told_lifetimes(sig: &Signature) -> Vec<Lifetime> {
    let (mut of_arguments, mut bounds) = (Vec::new(), sig.generics.where_clause.to_token_stream());
    for input in &sig.inputs {
        let FnArg::Typed(param) = input else {
            of_arguments.extend(borrows(input).into_iter().filter_map(|borrow| borrow.lifetime));
            continue;
        };
        each_lifetime(&mut param.ty.clone(), |lifetime, scope| match scope {
            // The bounds of an `impl Trait` are those of a type parameter that has no name.
            Scope::ImplTrait => lifetime.to_tokens(&mut bounds),
            _ => of_arguments.push(lifetime.ident.to_string()),
        });
    }
    for param in &sig.generics.params {
        match param {
            GenericParam::Type(param) => param.bounds.to_tokens(&mut bounds),
            GenericParam::Lifetime(param) if !param.bounds.is_empty() => param.to_tokens(&mut bounds),
            _ => {}
        }
    }
    let bounds = borrows(bounds);
    let is_of_argument = |lifetime: &Lifetime| of_arguments.contains(&lifetime.ident.to_string());
    let is_bound = |lifetime: &Lifetime| bounds.iter().any(|bound| bound.is(&lifetime.ident.to_string()));
    let lifetimes = || sig.generics.lifetimes().map(|param| &param.lifetime);
    if !mentions(&sig.output, "impl") || !lifetimes().any(|lifetime| is_bound(lifetime) && !is_of_argument(lifetime)) {
        return Vec::new();
    }
    lifetimes().filter(|lifetime| is_bound(lifetime) || !is_of_argument(lifetime)).cloned().collect()
}

pub fn is_unsafe(sig: &Signature) -> bool {
    matches!(sig.safety, Safety::Unsafe(_))
}

/// Whether this is certainly a method: it has a receiver, or `Self` in one of its types.
pub fn mentions_self(sig: &Signature) -> bool {
    sig.receiver().is_some() || mentions(sig, "Self")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_that_must_be_told() {
        for (sig, told) in [
            ("async fn f<'a, T: Debug + 'a>(x: &u8, y: T) -> impl Debug", "'a"),
            ("async fn f<'a, 'b, T: 'a + 'b>(x: &'a u8, y: T) -> impl Debug", "'a , 'b"),
            ("async fn f<'a, 'b, T>(x: &'b u8, y: T) -> Option<impl Debug> where T: 'a", "'a"),
            ("async fn f<'a, 'b: 'a, T: 'a>(x: &'b u8, y: T) -> impl Debug", "'a , 'b"),
            ("async fn f<'a, 'b, T: 'a>(x: &'b u8, y: T) -> impl Debug where 'b: 'a", "'a , 'b"),
            ("async fn f<'a>(&self, x: impl Debug + 'a) -> impl Debug", "'a"),
            ("async fn f<'a, 'r, T: 'a>(&self, y: T) -> impl Debug + 'r", "'a , 'r"),
            // rustc infers the lifetime from an argument.
            ("async fn f<'a, T: 'a>(x: &'a u8, y: T) -> impl Debug", ""),
            ("async fn f<'a, T: 'a>(&'a self, y: T) -> impl Debug", ""),
            ("async fn f<'a, T: 'a>(self: Pin<&'a Self>, y: T) -> impl Debug", ""),
            ("async fn f<'a, T: 'a>(y: Vec<(Cow<'a, str>, T)>) -> impl Debug", ""),
            // No bound needs the lifetime, or the result is no `impl Trait`.
            ("async fn f<'a, T: 'a>(x: &u8, y: T) -> u8", ""),
            ("async fn f<'a, T: 'a>(x: &u8, y: T) -> Box<dyn Debug + 'a>", ""),
            ("async fn f<'r>(x: &u8) -> impl Debug + 'r", ""),
            ("async fn f<T: Debug>(x: &u8, y: T) -> impl Debug", ""),
        ] {
            let sig: Signature = syn::parse_str(sig).unwrap();
            let lifetimes = told_lifetimes(&sig);
            assert_eq!(quote!(#(#lifetimes),*).to_string(), told, "{}", sig.to_token_stream());
        }
    }
}
