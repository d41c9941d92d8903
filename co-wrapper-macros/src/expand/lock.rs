//! The graph lock, taken for the call: `bdrv_rdlock` in a mark. A handle of it is one more packed argument, and the
//! closure that makes the future takes it there.
//!
//! ```text
//! // Input
//! #[co_wrapper(bdrv_rdlock = self.graph)]
//! async fn bdrv_co_size(&self, graph: &GraphRead) -> u64 { … }
//!
//! // Output
//! fn bdrv_size(&self) -> u64 {
//!     let __cw_lock = read_lock("bdrv_size", &self.graph);
//!     … BdrvSizeArgs { __self: self, __cw_lock } …
//!     … |__cw_0, __cw_lock| async move {
//!         let __cw_guard = __cw_lock.read().await;
//!         Self::bdrv_co_size(__cw_0, &__cw_guard).await
//!     } …
//! }
//! ```

use super::{Call, borrowed};
use crate::lock::Lock;
use crate::name::{Taken, unraw};
use crate::signature::Slot;
use crate::witness::Place;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};

pub(super) struct Held<'a> {
    lock: &'a Lock,
    /// The handle: a variable, a field and an argument.
    handle: Ident,
    guard: Ident,
    /// If the async fn wants to see the guard.
    witness: Option<Place>,
}

impl<'a> Held<'a> {
    pub(super) fn new(lock: &'a Lock, witness: Option<Place>, taken: &mut Taken) -> Self {
        Held { lock, handle: taken.fresh("__cw_lock"), guard: taken.fresh("__cw_guard"), witness }
    }

    /// Of the handle.
    pub(super) fn slot(&self, index: usize) -> Slot {
        Slot {
            field: self.handle.clone(),
            value: self.handle.to_token_stream(),
            argument: self.handle.clone(),
            ty: format_ident!("A{index}", span = Span::call_site()),
            cfg: None,
            span: self.lock.key.span(),
            bounded: false,
        }
    }

    pub(super) fn add_witness(&self, arguments: &mut Vec<TokenStream>) {
        if let Some(Place { index, cfg }) = &self.witness {
            let guard = &self.guard;
            let cfg = cfg.iter().map(|cfg| quote!(#[cfg(#cfg)]));
            arguments.insert(*index, quote!(#(#cfg)* &#guard));
        }
    }
}

impl Call<'_> {
    /// Where the wrapper was called, still outside the call: a mixed one takes its share of the lock here, for the
    /// caller may give the lock up while the call waits.
    pub(super) fn lock(&self) -> Option<TokenStream> {
        let Held { lock, handle, .. } = self.held.as_ref()?;
        let krate = &self.krate;
        let span = lock.key.span().resolved_at(Span::call_site());
        let take = Ident::new(if self.mixed { "read_lock_mixed" } else { "read_lock" }, span);
        let take = quote!(#krate::__private::#take);
        // Who refuses to take it names the wrapper.
        let name = unraw(&self.sig.ident);
        Some(match &lock.expr {
            Some(expr) => borrowed(handle, expr, |lock| quote!(#take(#name, #lock))),
            None => quote_spanned!(span=> let #handle = #take(#name, &#krate::__private::GRAPH);),
        })
    }

    /// The future, with the lock around it.
    pub(super) fn locked(&self, co: TokenStream) -> TokenStream {
        let Some(Held { handle, guard, .. }) = &self.held else { return co };
        quote_spanned! {self.span=>
            async move {
                let #guard = #handle.read().await;
                #co
            }
        }
    }
}
