//! Checks the arguments and the result of a blocking fn with an async twin. The call may outlive its caller's frame. So
//! each argument must be owned, or be a reference to something that the twin can clone.

use crate::model::signature::never;
use crate::model::witness::is_witness;
use crate::parse::errors::Errors;
use crate::parse::tokens::{borrows, ungroup};
use proc_macro2::Span;
use syn::{FnArg, ReceiverKind, ReturnType, Signature, Type, TypeReference};

const BY_MUT: &str = "`&mut` does not outlive a call that is dropped; take it by value and return it";

/// Refuses borrows. Returns whether the result borrows nothing.
pub fn check(sig: &Signature, errors: &mut Errors) -> bool {
    for input in &sig.inputs {
        match input {
            FnArg::Receiver(receiver) => match &receiver.kind {
                ReceiverKind::Typed(_, ty) => match ungroup(ty) {
                    Type::Reference(TypeReference { mutability: None, elem, .. }) => refuse_borrows(elem, errors),
                    ty => refuse_borrows(ty, errors),
                },
                ReceiverKind::Reference(_, _, Some(_)) => errors.error(receiver, BY_MUT),
                _ => {}
            },
            // The wrapper supplies the witness.
            FnArg::Typed(param) if is_witness(&param.ty) => {}
            FnArg::Typed(param) => match ungroup(&param.ty) {
                Type::Reference(TypeReference { mutability: Some(_), .. }) => errors.error(&param.ty, BY_MUT),
                // The twin clones what the reference points to. If that borrows in turn, the clone does too.
                Type::Reference(ty) => refuse_borrows(&ty.elem, errors),
                ty => refuse_borrows(ty, errors),
            },
        }
    }
    if let Some(never) = never(sig) {
        errors.error(never, "a fn that returns `!` leaves nothing to await; call it from a bottom half");
    }
    if let ReturnType::Type(_, ty) = &sig.output
        && let Some(span) = borrow(ty)
    {
        let message = "the result must not borrow, for the arguments are gone by then; return it owned";
        errors.push(syn::Error::new(span, message));
        return false;
    }
    true
}

fn refuse_borrows(ty: &Type, errors: &mut Errors) {
    if let Some(span) = borrow(ty) {
        let message = "this borrow does not outlive a call that is dropped; take it owned";
        errors.push(syn::Error::new(span, message));
    }
}

/// The first `&` or lifetime in a type. `'static` does not count.
fn borrow(ty: &Type) -> Option<Span> {
    borrows(ty).into_iter().find(|borrow| !borrow.is("static")).map(|borrow| borrow.span)
}
