//! The call of the runtime. Its closure captures nothing, and so is `Send` whatever the arguments are.

use super::{Call, Returned};
use crate::name::unraw;
use crate::signature;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Expr, ReturnType};

impl Call<'_> {
    pub(super) fn call(&self) -> TokenStream {
        let krate = &self.krate;
        let name = unraw(&self.sig.ident);
        let target = &self.subject.target.name;
        let mixed = self.mixed;
        let packed = self.packed();
        let [entry, args] = [&self.entry, &self.args].map(|name| located(name.to_token_stream(), self.span));
        let parameters = self.slots.iter().map(|slot| &slot.argument);
        let co = self.co();
        let poll_co = self.poll_co();
        let ctx = self.ctx.iter().map(|(_, ctx)| quote!(&#ctx,));
        let timeout = self.timeout.iter();
        let run = quote_spanned!(self.result_span()=> |#args| #entry(#args, |#(#parameters),*| #co));
        let arguments = quote_spanned! {self.span=>
            &#krate::__private::Wrapper { name: #name, target: #target, mixed: #mixed },
            #(#ctx)*
            #(#timeout,)*
            #packed,
            #run,
        };
        // What is asked of the result is told of at the whole of this.
        let path = located(quote!(#krate::__private::#poll_co), self.result_span());
        quote_spanned!(self.result_span()=> #path(#arguments))
    }

    fn poll_co(&self) -> Ident {
        let name = match (&self.ctx, &self.timeout) {
            (None, None) => "poll_co",
            (None, Some(_)) => "poll_co_timeout",
            (Some(_), None) => "poll_co_in",
            (Some(_), Some(_)) => "poll_co_in_timeout",
        };
        Ident::new(name, self.span)
    }

    /// The result of what runs in another context must be `Send`; that it is not is told where it is written.
    fn result_span(&self) -> Span {
        match &self.subject.sig.output {
            ReturnType::Type(_, ty) if self.ctx.is_some() => ty.span().resolved_at(Span::call_site()),
            _ => self.span,
        }
    }

    /// The context is cloned before anything is packed: `self.ctx` is out of reach when `self` is on its way.
    pub(super) fn context(&self) -> Option<TokenStream> {
        let krate = &self.krate;
        let (expr, ctx) = self.ctx.as_ref()?;
        let clone = quote!(<#krate::__private::AioContext as #krate::__private::Clone>::clone);
        Some(borrowed(ctx, expr, |expr| quote!(#clone(#expr))))
    }

    /// `Self::bdrv_co_read(__cw_0, __cw_1)`
    fn co(&self) -> TokenStream {
        let target = &self.subject.target;
        let path = &target.path;
        let turbofish = signature::turbofish(self.subject.sig).filter(|_| target.turbofish);
        let slots = self.slots.iter().take(self.slots.len() - usize::from(self.held.is_some()));
        let arguments = slots.map(|slot| {
            let argument = &slot.argument;
            match &slot.cfg {
                None => quote!(#argument),
                Some(cfg) => quote!(#[cfg(#cfg)] #argument),
            }
        });
        let mut arguments: Vec<TokenStream> = arguments.collect();
        let mut awaited = None;
        if let Some(held) = &self.held {
            held.add_witness(&mut arguments);
            awaited = Some(quote!(.await));
        }
        let mut path = quote_spanned!(self.span=> #path #turbofish);
        if target.free && !self.subject.declared && !self.renamed {
            let krate = located(self.krate.clone(), self.span);
            path = quote_spanned!(self.span=> #krate::if_in_an_impl_mark_that_too!(#path));
        }
        let mut co = quote_spanned!(self.span=> #path(#(#arguments),*));
        if self.subject.returned == Returned::IntoFuture {
            let krate = located(self.krate.clone(), self.span);
            co = quote_spanned!(self.span=> #krate::__private::IntoFuture::into_future(#co));
        }
        let co = quote_spanned!(self.span=> #co #awaited);
        self.locked(if signature::is_unsafe(self.subject.sig) { quote!(unsafe { #co }) } else { co })
    }
}

/// `let name = function(&expr);`, where what the expression is may be behind any number of references. `function` makes the
/// call.
pub(super) fn borrowed(name: &Ident, expr: &Expr, function: impl FnOnce(TokenStream) -> TokenStream) -> TokenStream {
    let simple = matches!(
        expr,
        Expr::Path(_) | Expr::Field(_) | Expr::Call(_) | Expr::MethodCall(_) | Expr::Paren(_) | Expr::Macro(_)
    );
    // So that an error about its type points at the whole of it.
    let borrow = quote_spanned!(expr.span()=> &);
    if simple {
        let value = function(quote!(#borrow #expr));
        quote!(let #name = #value;)
    } else {
        // The arms of a `match` and the like would have to be of the very type if it were known what is expected.
        let mut value = name.clone();
        value.set_span(expr.span().resolved_at(Span::call_site()));
        let called = function(value.to_token_stream());
        quote!(let #name = match #borrow (#expr) { #value => #called };)
    }
}

/// Elsewhere, with the hygiene that they have.
pub(super) fn located(tokens: TokenStream, span: Span) -> TokenStream {
    let trees = tokens.into_iter().map(|mut tree| {
        tree.set_span(tree.span().located_at(span));
        tree
    });
    trees.collect()
}
