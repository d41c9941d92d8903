//! The options in the parentheses of `#[co_wrapper(…)]` and `#[no_co_wrapper(…)]`, and those that a block's attribute
//! gives to all fns in it. They are parsed one by one: after a mistake in one option, parsing goes on at the next
//! comma. Whether an option suits its item is up to `check`.
//!
//! A mark's options are merged here, once, with those of the block around it. Afterwards an option does not show
//! whether it came from the mark or from the block. Only `keys` does: it lists the mark's own options.

use crate::parse::errors::Errors;
use crate::parse::item::is_of_trait;
use crate::parse::spelling::{is_near, unknown};
use crate::parse::values::{self, affix, coroutine, expression, flag, identifier, path, ty, visibility};
use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use std::rc::Rc;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, LitStr, Path, Token, Type, TypeParamBound, Visibility, parenthesized};

/// The key of each option, and an example of it with a value, for errors about a missing value.
const KNOWN: &[(&str, &str)] = &[
    ("mixed", "mixed"),
    ("name", "name = read_blocking"),
    ("ctx", "ctx = self.ctx"),
    ("timeout", "timeout = read_timeout"),
    ("interrupt", "interrupt = read_interruptible"),
    ("expect_long", "expect_long"),
    ("vis", "vis = pub(crate)"),
    ("crate", "crate = ::co_wrapper"),
    ("suffix", "suffix = \"_blocking\""),
    ("prefix", "prefix = \"blocking_\""),
    ("skip", "skip"),
    ("output", "output = io::Result<u8>"),
    ("type", "type = blocking::Disk"),
    ("trait", "trait = BlockingNode"),
    ("bdrv_rdlock", "bdrv_rdlock = self.graph"),
    ("bdrv_wrlock", "bdrv_wrlock"),
    ("unsafe", "unsafe(coroutine)"),
    // Not an option by itself. It is known here so that the error can say how it is written.
    ("coroutine", "unsafe(coroutine)"),
];

/// The options of `#[no_co_wrapper]`.
const OF_NO_CO: &[&str] = &["name", "vis", "crate", "bdrv_rdlock", "bdrv_wrlock", "unsafe"];

/// The options that `#[co_wrapper]` does not have.
const OF_NO_CO_ALONE: &[&str] = &["unsafe", "coroutine"];

/// A mark's options, merged with those of the attribute on the block around it.
#[derive(Default)]
pub struct Options {
    /// Whether the mark is `#[no_co_wrapper]`.
    pub no_co: bool,
    /// The keys of the mark's own options, as they were written. Errors about an option point at its key.
    pub keys: Vec<Ident>,
    pub mixed: bool,
    pub name: Option<Ident>,
    pub ctx: Option<Expr>,
    /// `ctx = none`: the call has no context, even if the block has a `ctx`.
    pub no_ctx: bool,
    pub timeout: Option<SecondTwin>,
    pub interrupt: Option<SecondTwin>,
    pub expect_long: bool,
    pub vis: Option<Visibility>,
    pub krate: Option<Path>,
    pub affixes: Affixes,
    pub skip: bool,
    /// The future's result, for signatures that do not tell it.
    pub output: Option<Type>,
    /// `type = …`: the blocking type whose `impl` the wrappers are put into, under the async fns' own names.
    pub blocking: Option<Type>,
    /// `trait = …`: the trait that is made of the wrappers, under the async fns' own names.
    pub blocking_trait: Option<BlockingTrait>,
    pub lock: Option<Lock>,
    /// `unsafe(coroutine)`: the async twin runs the fn as a stackful coroutine. The word `coroutine`.
    pub coroutine: Option<Ident>,
    /// What the attribute on the surrounding block passes to the mark.
    pub block: Option<Rc<BlockContext>>,
}

/// `timeout`, or `timeout = read_within`; likewise `interrupt`.
pub struct SecondTwin {
    /// The default is the wrapper's name with `_timeout` or `_interruptible` added.
    pub name: Option<Ident>,
}

/// `bdrv_rdlock`, `bdrv_rdlock = self.graph` or `bdrv_wrlock`.
#[derive(Clone)]
pub struct Lock {
    pub key: Ident,
    /// The lock. The default is the process's one.
    pub expr: Option<Expr>,
}

impl Lock {
    pub fn is_write(&self) -> bool {
        self.key == "bdrv_wrlock"
    }
}

/// `BlockingNode`, or `BlockingNode: Send + Debug`.
#[derive(Clone)]
pub struct BlockingTrait {
    pub ident: Ident,
    pub colon: Option<Token![:]>,
    pub supertraits: Punctuated<TypeParamBound, Token![+]>,
}

/// `prefix` and `suffix`, which are added to the async fn's name.
#[derive(Clone, Default)]
pub struct Affixes {
    pub prefix: Option<LitStr>,
    pub suffix: Option<LitStr>,
}

impl Affixes {
    pub fn is_empty(&self) -> bool {
        self.prefix.is_none() && self.suffix.is_none()
    }
}

/// What a block's attribute passes to the marks inside it: where the function is, and the options of the whole block.
/// It travels as tokens, in an option that users never write.
pub struct BlockContext {
    /// The path through which the async fn is called: `Self` or `<Self as Trait>`. It is empty in a module.
    pub within: TokenStream,
    /// Whether the block is a trait. In a trait, `Self` may be unsized.
    pub in_trait: bool,
    pub options: Options,
    /// The options as they were written.
    pub written: TokenStream,
}

/// The key of that option.
const CONTEXT: &str = "__cw_context";

impl BlockContext {
    /// Whether the block is the impl of a trait.
    pub fn is_trait_impl(&self) -> bool {
        !self.in_trait && is_of_trait(&self.within)
    }
}

impl Parse for BlockContext {
    /// Parses what [`BlockContext::to_tokens`] has written.
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let within;
        parenthesized!(within in input);
        let within = within.parse()?;
        let in_trait = input.parse::<Option<Token![trait]>>()?.is_some();
        let written: TokenStream = input.parse()?;
        // There are no errors, because a block's attribute with a mistake writes no context.
        let options = Options::parse(written.clone(), &mut Errors::default());
        Ok(BlockContext { within, in_trait, options, written })
    }
}

impl ToTokens for BlockContext {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let key = Ident::new(CONTEXT, Span::call_site());
        let BlockContext { within, written, .. } = self;
        let in_trait = self.in_trait.then(|| quote!(trait));
        tokens.extend(quote!(#key((#within) #in_trait #written)));
    }
}

impl Options {
    pub fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        Options::default().read(tokens, errors)
    }

    /// Parses the options of `#[no_co_wrapper(…)]`. It parses all options, so that `check` can say why one does not
    /// suit this mark.
    pub fn parse_no_co(tokens: TokenStream, errors: &mut Errors) -> Self {
        Options { no_co: true, ..Options::default() }.read(tokens, errors)
    }

    fn read(mut self, tokens: TokenStream, errors: &mut Errors) -> Self {
        let result = Parser::parse2(
            |input: ParseStream| {
                self.all(input, errors);
                Ok(())
            },
            tokens,
        );
        if let Err(error) = result {
            errors.push(error);
        }
        match self.block.take() {
            Some(block) => self.inside(block),
            None => self,
        }
    }

    /// Merges the options of the block around the mark. The mark's own take precedence. An async twin takes only
    /// `crate` from its block.
    pub fn inside(mut self, block: Rc<BlockContext>) -> Self {
        let block = self.block.insert(block).clone();
        let all = &block.options;
        self.krate = self.krate.take().or_else(|| all.krate.clone());
        if self.no_co {
            return self;
        }
        self.mixed |= all.mixed;
        self.expect_long |= all.expect_long;
        // A name cannot be shared by all fns of the block.
        self.timeout = self.timeout.take().or_else(|| all.timeout.as_ref().map(|_| SecondTwin { name: None }));
        self.interrupt = self.interrupt.take().or_else(|| all.interrupt.as_ref().map(|_| SecondTwin { name: None }));
        if !self.no_ctx {
            self.ctx = self.ctx.take().or_else(|| all.ctx.clone());
        }
        if self.key("bdrv_rdlock").is_none() {
            self.lock = self.lock.take().or_else(|| all.lock.clone());
        }
        if self.key("prefix").or(self.key("suffix")).is_none() {
            self.affixes = all.affixes.clone();
        }
        self.blocking = all.blocking.clone();
        self.blocking_trait = all.blocking_trait.clone();
        self
    }

    /// Whether the wrappers are outside the block, under the async fns' own names.
    pub fn is_outside(&self) -> bool {
        self.blocking.is_some() || self.blocking_trait.is_some()
    }

    /// Whether the block's attribute gives each async fn inside a wrapper.
    pub fn is_of_every_fn(&self) -> bool {
        !self.affixes.is_empty() || self.is_outside()
    }

    pub fn key(&self, name: &str) -> Option<&Ident> {
        self.keys.iter().find(|key| *key == name)
    }

    /// Parses all options up to the end.
    fn all(&mut self, input: ParseStream, errors: &mut Errors) {
        while !input.is_empty() {
            if let Err(error) = self.one(input) {
                errors.push(error);
                skip_to_comma(input);
            }
            if input.parse::<Option<Token![,]>>().is_ok_and(|comma| comma.is_none())
                && let Some(token) = skip_to_comma(input)
            {
                errors.error(token, "the option ends before this; put a comma between options");
                let _ = input.parse::<Option<Token![,]>>();
            }
        }
    }

    /// Parses one option.
    fn one(&mut self, input: ParseStream) -> syn::Result<()> {
        if input.peek(Token![,]) {
            return Err(input.error("no option before this comma; remove it"));
        }
        let Ok(key) = input.call(Ident::parse_any) else {
            return Err(input.error("not an option; they are words such as `mixed`"));
        };
        if key == CONTEXT {
            let content;
            parenthesized!(content in input);
            self.block = Some(Rc::new(content.parse()?));
            return Ok(());
        }
        let Some(&(_, form)) = KNOWN.iter().find(|(name, _)| key == name) else {
            if self.no_co && is_near(&key.to_string(), "coroutine") {
                let message = format!("unknown option `{key}`; did you mean `unsafe(coroutine)`");
                return Err(Error::new(key.span(), message));
            }
            let known = KNOWN
                .iter()
                .map(|(name, _)| *name)
                .filter(|name| if self.no_co { OF_NO_CO.contains(name) } else { !OF_NO_CO_ALONE.contains(name) });
            return Err(Error::new(key.span(), unknown(&key, &known.collect::<Vec<_>>())));
        };
        if self.keys.contains(&key) {
            let message = format!("`{key}` is given twice; remove this one");
            return Err(Error::new(key.span(), message));
        }
        self.keys.push(key.clone());
        let value = || values::value(&key, form, input);
        match &*key.to_string() {
            "mixed" => self.mixed = flag(&key, input)?,
            "skip" => self.skip = flag(&key, input)?,
            "expect_long" => self.expect_long = flag(&key, input)?,
            "name" => self.name = Some(identifier(&key, value()?)?),
            "ctx" => {
                let expr = expression(value()?, form)?;
                self.no_ctx = matches!(&expr, Expr::Path(path) if path.path.is_ident("none"));
                self.ctx = Some(expr).filter(|_| !self.no_ctx);
            }
            "timeout" | "interrupt" => {
                let name = if is_bare(input) { None } else { Some(identifier(&key, value()?)?) };
                let twin = if key == "timeout" { &mut self.timeout } else { &mut self.interrupt };
                *twin = Some(SecondTwin { name });
            }
            "bdrv_wrlock" => {
                flag(&key, input)?;
                self.lock = Some(Lock { key, expr: None });
            }
            "bdrv_rdlock" => {
                let expr = if is_bare(input) { None } else { Some(expression(value()?, form)?) };
                self.lock = Some(Lock { key, expr });
            }
            "unsafe" => self.coroutine = Some(coroutine(&key, input)?),
            "coroutine" => {
                let message =
                    "`coroutine` asks for a promise, which its documentation states; write `unsafe(coroutine)`";
                return Err(Error::new(key.span(), message));
            }
            "type" => self.blocking = Some(ty(value()?, form)?),
            "trait" => {
                let ident = identifier(&key, value()?)?;
                let colon = input.parse::<Option<Token![:]>>()?;
                let supertraits =
                    if colon.is_some() { Punctuated::parse_separated_nonempty(input)? } else { Punctuated::new() };
                self.blocking_trait = Some(BlockingTrait { ident, colon, supertraits });
            }
            "output" => self.output = Some(ty(value()?, form)?),
            "vis" => self.vis = Some(visibility(value()?)?),
            "crate" => self.krate = Some(path(value()?)?),
            "suffix" => self.affixes.suffix = Some(affix(&key, value()?)?),
            "prefix" => self.affixes.prefix = Some(affix(&key, value()?)?),
            _ => unreachable!("every known option is above"),
        }
        Ok(())
    }
}

/// Skips what stands before the next comma. Returns the first token of it.
fn skip_to_comma(input: ParseStream) -> Option<TokenTree> {
    let mut first = None;
    while !input.is_empty() && !input.peek(Token![,]) {
        let token = input.parse::<TokenTree>().ok();
        first = first.or(token);
    }
    first
}

/// Whether an option has no value. A value in parentheses is a mistake that is reported as such.
fn is_bare(input: ParseStream) -> bool {
    !input.peek(Token![=]) && !input.peek(syn::token::Paren)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Options, String) {
        let mut errors = Errors::default();
        let options = Options::parse(text.parse().unwrap(), &mut errors);
        (options, errors.into_compile_errors().to_string())
    }

    #[test]
    fn options_in_any_order() {
        let (options, errors) = parse("name = r#match, mixed,");
        assert_eq!(errors, "");
        assert!(options.mixed);
        assert_eq!(options.name.unwrap(), "r#match");
    }

    #[test]
    fn one_mistake_leaves_the_others_readable() {
        let (options, errors) = parse("mixd, name = a b, suffix = x, mixed");
        assert!(options.mixed);
        assert_eq!(errors.matches("compile_error").count(), 3, "{errors}");
    }

    #[test]
    fn a_context_survives_its_journey() {
        let written = "mixed, timeout, interrupt, expect_long, ctx = self.context(1, 2) + 3, bdrv_rdlock = self.graph,
            crate = ::reexport::co_wrapper, suffix = \"_blocking\"";
        let block = parse(written).0;
        let within = quote!(<Self as Gate<'a, A, B>>);
        let context = BlockContext { within, in_trait: true, options: block, written: written.parse().unwrap() };
        for mark in ["name = x, ", "mixed, ", ""] {
            let (options, errors) = parse(&format!("{mark}{}", context.to_token_stream()));
            assert_eq!(errors, "");
            assert!(options.mixed && options.expect_long && options.krate.is_some());
            assert!(options.timeout.is_some() && options.interrupt.is_some());
            assert_eq!(options.keys.len(), usize::from(!mark.is_empty()));
            assert_eq!(options.ctx.to_token_stream().to_string(), "self . context (1 , 2) + 3");
            assert_eq!(options.lock.and_then(|lock| lock.expr).to_token_stream().to_string(), "self . graph");
            assert_eq!(options.affixes.suffix.unwrap().value(), "_blocking");
            let block = options.block.unwrap();
            assert_eq!(block.within.to_string(), context.within.to_string());
            assert!(block.in_trait && !block.is_trait_impl());
        }
    }

    #[test]
    fn a_mark_has_the_last_word() {
        let block = "mixed, timeout, ctx = a, bdrv_rdlock = b, crate = ::c, prefix = \"d_\"";
        let read = |mark: &str, no_co: bool| {
            let tokens = format!("{mark} __cw_context((Self) {block})").parse().unwrap();
            let mut errors = Errors::default();
            let parse = if no_co { Options::parse_no_co } else { Options::parse };
            let options = parse(tokens, &mut errors);
            assert!(errors.is_empty());
            let Options { ctx, lock, krate, timeout, affixes: Affixes { prefix, suffix }, .. } = options;
            let lock = lock.and_then(|lock| lock.expr);
            let timeout = timeout.and_then(|timeout| timeout.name);
            quote!(#ctx #lock #krate #timeout #prefix #suffix).to_string()
        };
        assert_eq!(read("", false), "a b :: c \"d_\"");
        assert_eq!(read("ctx = none, timeout = x,", false), "b :: c x \"d_\"");
        assert_eq!(read("ctx = x, suffix = \"_x\",", false), "x b :: c \"_x\"");
        assert_eq!(read("bdrv_rdlock, crate = x,", false), "a x \"d_\"");
        assert_eq!(read("", true), ":: c");
    }

    #[test]
    fn did_you_mean() {
        for (written, meant) in [
            ("mixd", Some("mixed")),
            ("Mixed", Some("mixed")),
            ("nmae", Some("name")),
            ("sufix", Some("suffix")),
            ("krate", Some("crate")),
            ("timout", Some("timeout")),
            ("interupt", Some("interrupt")),
            ("ctxt", Some("ctx")),
            ("cxt", Some("ctx")),
            ("rdlock", None),
        ] {
            let known: Vec<&str> = KNOWN.iter().map(|(name, _)| *name).collect();
            let message = unknown(&Ident::new(written, Span::call_site()), &known);
            let expected = meant.map_or("there are".to_owned(), |m| format!("did you mean `{m}`"));
            assert!(message.contains(&expected), "{message}");
        }
    }
}
