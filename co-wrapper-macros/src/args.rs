//! The options between the parentheses of `#[co_wrapper(…)]`, parsed by hand: a mistake in one leaves the others
//! readable, up to the next comma. Which options suit which item is not decided here but where the item is known.

use crate::context::{CONTEXT, Context};
use crate::errors::Errors;
use crate::lock::Lock;
use crate::name::Affixes;
use crate::spelling::unknown;
use crate::values::{affix, expression, flag, identifier, path, ty, value, visibility};
use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Error, Expr, Path, Token, Type, Visibility, parenthesized};

/// Every option's key, and how it is written.
pub const KNOWN: &[(&str, &str)] = &[
    ("mixed", "mixed"),
    ("name", "name = read_blocking"),
    ("ctx", "ctx = self.ctx"),
    ("timeout", "timeout"),
    ("expect_long", "expect_long"),
    ("vis", "vis = pub(crate)"),
    ("crate", "crate = ::co_wrapper"),
    ("suffix", "suffix = \"_blocking\""),
    ("prefix", "prefix = \"blocking_\""),
    ("skip", "skip"),
    ("output", "output = io::Result<u8>"),
    ("bdrv_rdlock", "bdrv_rdlock"),
    ("bdrv_wrlock", "bdrv_wrlock"),
];

/// Those of them that `#[no_co_wrapper]` has too.
const OF_NO_CO: &[&str] = &["name", "vis", "crate", "bdrv_rdlock", "bdrv_wrlock"];

#[derive(Default)]
pub struct Options {
    /// They are those of `#[no_co_wrapper]`.
    pub no_co: bool,
    /// Each option's key as it was written, for errors about it.
    pub keys: Vec<Ident>,
    pub mixed: bool,
    pub name: Option<Ident>,
    pub ctx: Option<Expr>,
    /// `ctx = none`: not the block's either.
    pub no_ctx: bool,
    pub timeout: Option<Timeout>,
    pub expect_long: bool,
    pub vis: Option<Visibility>,
    pub krate: Option<Path>,
    pub affixes: Affixes,
    pub skip: bool,
    /// What the future's result is, where the signature does not tell.
    pub output: Option<Type>,
    pub lock: Option<Lock>,
    pub context: Option<Context>,
}

/// `timeout`, or `timeout = read_within`.
pub struct Timeout {
    /// If it is not the wrapper's with `_timeout` added.
    pub name: Option<Ident>,
}

impl Options {
    pub fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        Options::default().read(tokens, errors)
    }

    /// Of `#[no_co_wrapper(…)]`: a misspelt option is told what there is for it.
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
        self
    }

    pub fn key(&self, name: &str) -> Option<&Ident> {
        self.keys.iter().find(|key| *key == name)
    }

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

    pub fn one(&mut self, input: ParseStream) -> syn::Result<()> {
        if input.peek(Token![,]) {
            return Err(input.error("no option before this comma; remove it"));
        }
        let Ok(key) = input.call(Ident::parse_any) else {
            return Err(input.error("not an option; they are words such as `mixed`"));
        };
        if key == CONTEXT {
            let content;
            parenthesized!(content in input);
            self.context = Some(content.parse()?);
            return Ok(());
        }
        let Some(&(_, form)) = KNOWN.iter().find(|(name, _)| key == name) else {
            let known = KNOWN.iter().map(|(name, _)| *name).filter(|name| !self.no_co || OF_NO_CO.contains(name));
            return Err(Error::new(key.span(), unknown(&key, &known.collect::<Vec<_>>())));
        };
        if self.keys.contains(&key) {
            let message = format!("`{key}` is given twice; remove this one");
            return Err(Error::new(key.span(), message));
        }
        self.keys.push(key.clone());

        match &*key.to_string() {
            "mixed" => self.mixed = flag(&key, input)?,
            "skip" => self.skip = flag(&key, input)?,
            "expect_long" => self.expect_long = flag(&key, input)?,
            "name" => self.name = Some(identifier(&key, value(&key, form, input)?)?),
            "ctx" => {
                let expr = expression(value(&key, form, input)?, form)?;
                self.no_ctx = matches!(&expr, Expr::Path(path) if path.path.is_ident("none"));
                self.ctx = Some(expr).filter(|_| !self.no_ctx);
            }
            "timeout" => {
                let form = "timeout = read_timeout";
                let name = if is_bare(input) { None } else { Some(identifier(&key, value(&key, form, input)?)?) };
                self.timeout = Some(Timeout { name });
            }
            "bdrv_wrlock" => {
                flag(&key, input)?;
                self.lock = Some(Lock { key, expr: None });
            }
            "bdrv_rdlock" => {
                let form = "bdrv_rdlock = self.graph";
                let expr = if is_bare(input) { None } else { Some(expression(value(&key, form, input)?, form)?) };
                self.lock = Some(Lock { key, expr });
            }
            "output" => self.output = Some(ty(value(&key, form, input)?, form)?),
            "vis" => self.vis = Some(visibility(value(&key, form, input)?)?),
            "crate" => self.krate = Some(path(value(&key, form, input)?)?),
            "suffix" => self.affixes.suffix = Some(affix(&key, value(&key, form, input)?)?),
            "prefix" => self.affixes.prefix = Some(affix(&key, value(&key, form, input)?)?),
            _ => unreachable!("every known option is above"),
        }
        Ok(())
    }
}

/// Returns the first token that was skipped.
fn skip_to_comma(input: ParseStream) -> Option<TokenTree> {
    let mut first = None;
    while !input.is_empty() && !input.peek(Token![,]) {
        let token = input.parse::<TokenTree>().ok();
        first = first.or(token);
    }
    first
}

/// Whether a key stands alone, or with something that is not its value.
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
}
