//! What an outer attribute tells a mark inside it: where the function is, and the options that hold for the whole
//! block. It travels as tokens, in an option of its own that nobody writes by hand.

use crate::args::Options;
use crate::item::is_of_trait;
use crate::lock::Lock;
use crate::mark::IN_TRAIT_IMPL;
use crate::name::Affixes;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::{Expr, Path, Token, parenthesized};

/// The key of the option that an outer attribute writes into the marks inside it.
pub const CONTEXT: &str = "__cw_context";

#[derive(Clone, Default)]
pub struct Context {
    /// What the async fn is called through: `Self` or `<Self as Trait>`.
    pub within: TokenStream,
    /// The fn is a trait's own, hence `Self` may be unsized.
    pub in_trait: bool,
    pub mixed: bool,
    pub timeout: bool,
    pub expect_long: bool,
    pub ctx: Option<Expr>,
    pub lock: Option<Lock>,
    pub krate: Option<Path>,
    pub affixes: Affixes,
}

impl Context {
    /// Of a block whose attribute has these options.
    pub fn new(options: Options, within: TokenStream, in_trait: bool) -> Self {
        Context {
            within,
            in_trait,
            mixed: options.mixed,
            timeout: options.timeout.is_some(),
            expect_long: options.expect_long,
            ctx: options.ctx,
            lock: options.lock,
            krate: options.krate,
            affixes: options.affixes,
        }
    }
}

impl Parse for Context {
    /// As [`Context::to_tokens`] wrote it.
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let within;
        parenthesized!(within in input);
        let within = within.parse()?;
        let in_trait = input.peek(Token![trait]);
        input.parse::<Option<Token![trait]>>()?;
        let mut options = Options::default();
        while !input.is_empty() {
            options.one(input)?;
            input.parse::<Option<Token![,]>>()?;
        }
        Ok(Context::new(options, within, in_trait))
    }
}

impl ToTokens for Context {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let key = Ident::new(CONTEXT, Span::call_site());
        let within = &self.within;
        let in_trait = self.in_trait.then(|| quote!(trait));
        let options = self.options();
        tokens.extend(quote!(#key((#within) #in_trait #options)));
    }
}

impl Context {
    /// The block is the impl of a trait.
    pub fn is_trait_impl(&self) -> bool {
        !self.in_trait && is_of_trait(&self.within)
    }

    /// The path of the mark on a fn in the block.
    pub fn mark(&self, span: Span) -> TokenStream {
        let krate = crate::expand::krate(self.krate.as_ref(), span);
        // Under another path there may be no more than what the user knows of.
        let in_trait_impl = self.is_trait_impl() && self.krate.is_none();
        let name = Ident::new(if in_trait_impl { IN_TRAIT_IMPL } else { "co_wrapper" }, span);
        quote_spanned!(span=> #krate::#name)
    }

    /// What the block's attribute said of all, as one on a block inside would say it.
    pub fn options(&self) -> TokenStream {
        let mixed = self.mixed.then(|| quote!(mixed,));
        let timeout = self.timeout.then(|| quote!(timeout,));
        let expect_long = self.expect_long.then(|| quote!(expect_long,));
        let ctx = self.ctx.iter().map(|ctx| quote!(ctx = #ctx,));
        let lock = self.lock.iter().map(|Lock { key, expr }| {
            let value = expr.iter().map(|expr| quote!(= #expr));
            quote!(#key #(#value)*,)
        });
        let krate = self.krate.iter().map(|path| quote!(crate = #path,));
        let prefix = self.affixes.prefix.iter().map(|p| quote!(prefix = #p,));
        let suffix = self.affixes.suffix.iter().map(|s| quote!(suffix = #s,));
        quote!(#mixed #timeout #expect_long #(#ctx)* #(#lock)* #(#krate)* #(#prefix)* #(#suffix)*)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::Errors;
    use syn::LitStr;

    #[test]
    fn a_context_survives_its_journey() {
        let mut errors = Errors::default();
        let context = Context {
            within: quote!(<Self as Gate<'a, A, B>>),
            in_trait: true,
            mixed: true,
            timeout: true,
            expect_long: true,
            ctx: Some(syn::parse_quote!(self.context(1, 2) + 3)),
            lock: Some(Lock {
                key: Ident::new("bdrv_rdlock", Span::call_site()),
                expr: Some(syn::parse_quote!(self.graph)),
            }),
            krate: Some(syn::parse_quote!(::reexport::co_wrapper)),
            affixes: Affixes { prefix: None, suffix: Some(LitStr::new("_blocking", Span::call_site())) },
        };
        let options = Options::parse(quote!(name = x, #context), &mut errors);
        assert!(errors.is_empty());
        let read = options.context.unwrap();
        assert_eq!(read.within.to_string(), context.within.to_string());
        assert!(read.in_trait && read.mixed && !options.mixed);
        assert!(read.timeout && options.timeout.is_none());
        assert!(read.expect_long && !options.expect_long);
        assert_eq!(read.ctx.to_token_stream().to_string(), context.ctx.to_token_stream().to_string());
        assert_eq!(read.lock.and_then(|lock| lock.expr).to_token_stream().to_string(), "self . graph");
        assert!(read.krate.is_some());
        assert_eq!(read.affixes.suffix.unwrap().value(), "_blocking");
    }
}
