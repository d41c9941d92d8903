//! The user's expressions `ctx = …` and `bdrv_rdlock = …`. The wrapper evaluates them before it packs the arguments,
//! because packing moves `self`, and `self.ctx` could not be read after that.
//!
//! The lock's handle is packed with the arguments, and the future takes the lock where it is polled.
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

use crate::model::signature::Slot;
use crate::parse::ident::Taken;
use crate::parse::options::Lock;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::Expr;
use syn::spanned::Spanned;

/// The context that a call runs in.
pub struct Ctx<'a> {
    expr: &'a Expr,
    pub variable: Ident,
}

impl<'a> Ctx<'a> {
    pub fn new(expr: &'a Expr, taken: &mut Taken) -> Self {
        Ctx { expr, variable: taken.fresh("__cw_ctx") }
    }

    /// The statement that evaluates the expression.
    pub fn clone_it(&self, krate: &TokenStream) -> TokenStream {
        let clone = quote!(<#krate::__private::AioContext as #krate::__private::Clone>::clone);
        borrowed(&self.variable, self.expr, |expr| quote!(#clone(#expr)))
    }
}

/// The graph's read lock, held around a call.
pub struct Held<'a> {
    lock: &'a Lock,
    /// The name of the variable, field and argument with the lock's handle.
    handle: Ident,
    guard: Ident,
}

impl<'a> Held<'a> {
    pub fn new(lock: &'a Lock, taken: &mut Taken) -> Self {
        Held { lock, handle: taken.fresh("__cw_lock"), guard: taken.fresh("__cw_guard") }
    }

    /// The slot of the handle.
    pub fn slot(&self) -> Slot {
        Slot {
            field: self.handle.clone(),
            value: self.handle.to_token_stream(),
            argument: self.handle.clone(),
            cfg: None,
            span: self.lock.key.span(),
            bounded: false,
        }
    }

    /// The argument for a witness.
    pub fn guard(&self) -> TokenStream {
        let guard = &self.guard;
        quote!(&#guard)
    }

    /// The statement that makes the handle. A mixed wrapper takes its share of the lock here, because the caller may release
    /// its own while the call waits. If the lock is refused, the panic names the `wrapper`.
    pub fn take(&self, krate: &TokenStream, wrapper: &str, mixed: bool) -> TokenStream {
        let Held { lock, handle, .. } = self;
        let span = lock.key.span().resolved_at(Span::call_site());
        let take = Ident::new(if mixed { "read_lock_mixed" } else { "read_lock" }, span);
        let take = quote!(#krate::__private::#take);
        match &lock.expr {
            Some(expr) => borrowed(handle, expr, |lock| quote!(#take(#wrapper, #lock))),
            None => quote_spanned!(span=> let #handle = #take(#wrapper, &#krate::__private::GRAPH);),
        }
    }

    /// A future that holds the lock around `co`.
    pub fn around(&self, co: &TokenStream, span: Span) -> TokenStream {
        let Held { handle, guard, .. } = self;
        quote_spanned! {span=>
            async move {
                let #guard = #handle.read().await;
                #co
            }
        }
    }
}

/// `let name = function(&expr);`, in which `function` makes the call. The expression may also be a reference.
fn borrowed(name: &Ident, expr: &Expr, function: impl FnOnce(TokenStream) -> TokenStream) -> TokenStream {
    let simple = matches!(
        expr,
        Expr::Path(_) | Expr::Field(_) | Expr::Call(_) | Expr::MethodCall(_) | Expr::Paren(_) | Expr::Macro(_)
    );
    // With this span an error about the expression's type points at all of it.
    let borrow = quote_spanned!(expr.span()=> &);
    if simple {
        let value = function(quote!(#borrow #expr));
        quote!(let #name = #value;)
    } else {
        // As an argument, a `match` would have an expected type, and each of its arms would have to be of exactly that type.
        let mut value = name.clone();
        value.set_span(expr.span().resolved_at(Span::call_site()));
        let called = function(value.to_token_stream());
        quote!(let #name = match #borrow (#expr) { #value => #called };)
    }
}
