//! The options between the parentheses of `#[co_wrapper(…)]`, parsed by hand: a mistake in one leaves the others
//! readable, up to the next comma. Which options suit which item is not decided here but where the item is known.

use crate::errors::Errors;
use crate::name::{Affixes, is_reserved};
use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::{Error, LitStr, Path, Token, Visibility, parenthesized, token};

/// The key of the option that an outer attribute writes into the marks inside it.
pub const CONTEXT: &str = "__cw_context";

/// Every option's key, and how it is written.
const KNOWN: &[(&str, &str)] = &[
    ("mixed", "mixed"),
    ("name", "name = read_blocking"),
    ("vis", "vis = pub(crate)"),
    ("crate", "crate = ::co_wrapper"),
    ("suffix", "suffix = \"_blocking\""),
    ("prefix", "prefix = \"blocking_\""),
    ("skip", "skip"),
];

#[derive(Default)]
pub struct Options {
    /// Each option's key as it was written, for errors about it.
    pub keys: Vec<Ident>,
    pub mixed: bool,
    pub name: Option<Ident>,
    pub vis: Option<Visibility>,
    pub krate: Option<Path>,
    pub affixes: Affixes,
    pub skip: bool,
    pub context: Option<Context>,
}

/// What an outer attribute tells a mark inside it.
#[derive(Clone, Default)]
pub struct Context {
    /// What the async fn is called through: `Self` or `<Self as Trait>`.
    pub within: TokenStream,
    /// The fn is a trait's own, hence `Self` may be unsized.
    pub in_trait: bool,
    pub mixed: bool,
    pub krate: Option<Path>,
    pub affixes: Affixes,
}

impl Options {
    pub fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut options = Options::default();
        let result = Parser::parse2(
            |input: ParseStream| {
                options.all(input, errors);
                Ok(())
            },
            tokens,
        );
        if let Err(error) = result {
            errors.push(error);
        }
        options
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
            self.context = Some(content.parse()?);
            return Ok(());
        }
        let Some(&(_, form)) = KNOWN.iter().find(|(name, _)| key == name) else {
            return Err(Error::new(key.span(), unknown(&key)));
        };
        if self.keys.contains(&key) {
            let message = format!("`{key}` is given twice; remove this one");
            return Err(Error::new(key.span(), message));
        }
        self.keys.push(key.clone());

        match &*key.to_string() {
            "mixed" => self.mixed = flag(&key, input)?,
            "skip" => self.skip = flag(&key, input)?,
            "name" => self.name = Some(identifier(value(&key, form, input)?)?),
            "vis" => self.vis = Some(visibility(value(&key, form, input)?)?),
            "crate" => self.krate = Some(path(value(&key, form, input)?)?),
            "suffix" => self.affixes.suffix = Some(affix(&key, value(&key, form, input)?)?),
            "prefix" => self.affixes.prefix = Some(affix(&key, value(&key, form, input)?)?),
            _ => unreachable!("every known option is above"),
        }
        Ok(())
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
        Ok(Context { within, in_trait, mixed: options.mixed, krate: options.krate, affixes: options.affixes })
    }
}

impl ToTokens for Context {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let key = Ident::new(CONTEXT, Span::call_site());
        let within = &self.within;
        let in_trait = self.in_trait.then(|| quote!(trait));
        let mixed = self.mixed.then(|| quote!(mixed,));
        let krate = self.krate.iter().map(|path| quote!(crate = #path,));
        let prefix = self.affixes.prefix.iter().map(|p| quote!(prefix = #p,));
        let suffix = self.affixes.suffix.iter().map(|s| quote!(suffix = #s,));
        tokens.extend(quote! {
            #key((#within) #in_trait #mixed #(#krate)* #(#prefix)* #(#suffix)*)
        });
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

fn flag(key: &Ident, input: ParseStream) -> syn::Result<bool> {
    if input.peek(Token![=]) || input.peek(token::Paren) {
        return Err(input.error(format!("`{key}` takes no value; write `{key}`")));
    }
    Ok(true)
}

/// Reads the `=` and makes sure that something follows.
fn value<'a>(key: &Ident, form: &str, input: ParseStream<'a>) -> syn::Result<ParseStream<'a>> {
    let missing = format!("`{key}` needs a value; write `{form}`");
    if input.is_empty() || input.peek(Token![,]) {
        return Err(Error::new(key.span(), missing));
    }
    let Some(equals) = input.parse::<Option<Token![=]>>()? else {
        return Err(input.error(format!("`{key}` needs a `=` here; write `{form}`")));
    };
    if input.is_empty() || input.peek(Token![,]) {
        return Err(Error::new(equals.span, missing));
    }
    Ok(input)
}

fn identifier(input: ParseStream) -> syn::Result<Ident> {
    if input.peek(LitStr) {
        let string = input.parse::<LitStr>()?;
        let text = string.value();
        let remedy = if is_identifier(&text) {
            format!("write `name = {text}`")
        } else {
            "write the name without quotes".to_owned()
        };
        let message = format!("a string where an identifier belongs; {remedy}");
        return Err(Error::new(string.span(), message));
    }
    if input.peek(Token![_]) {
        return Err(input.error("`_` is no name; choose another"));
    }
    let Ok(ident) = input.call(Ident::parse_any) else {
        return Err(input.error("not an identifier; write `name = read_blocking`"));
    };
    if is_reserved(&ident.to_string()) {
        let message = format!("`{ident}` is reserved; choose another name, such as `{ident}_`");
        return Err(Error::new(ident.span(), message));
    }
    Ok(ident)
}

fn visibility(input: ParseStream) -> syn::Result<Visibility> {
    match input.parse()? {
        Visibility::Inherited => {
            Err(input.error("not a visibility; write `vis = pub(crate)`, or `vis = pub(self)` for none"))
        }
        vis => Ok(vis),
    }
}

fn path(input: ParseStream) -> syn::Result<Path> {
    let span = input.span();
    input
        .call(Path::parse_mod_style)
        .map_err(|_| Error::new(span, "not a path; write `crate = ::co_wrapper`, without quotes"))
}

fn affix(key: &Ident, input: ParseStream) -> syn::Result<LitStr> {
    if !input.peek(LitStr) {
        let example = match input.fork().parse::<Ident>() {
            Ok(ident) => ident.to_string(),
            Err(_) => "blocking".to_owned(),
        };
        return Err(input.error(format!("`{key}` takes a string; write `{key} = \"{example}\"`")));
    }
    let string = input.parse::<LitStr>()?;
    let text = string.value();
    let joined = if key == "prefix" { format!("{text}a") } else { format!("a{text}") };
    if text.is_empty() {
        let message = format!("an empty `{key}` changes no name; write `{key} = \"…\"`");
        return Err(Error::new(string.span(), message));
    }
    if !is_identifier(&joined) {
        let message = format!("`{text}` cannot be part of a name; use letters, digits and `_`");
        return Err(Error::new(string.span(), message));
    }
    Ok(string)
}

fn is_identifier(text: &str) -> bool {
    syn::parse_str::<Ident>(text).is_ok()
}

fn unknown(key: &Ident) -> String {
    let written = key.to_string();
    let nearest = KNOWN
        .iter()
        .map(|(name, _)| (distance(&written, name), *name))
        .min()
        .filter(|(distance, name)| *distance <= name.len().min(written.len()).div_ceil(3));
    match nearest {
        Some((_, name)) => format!("unknown option `{written}`; did you mean `{name}`"),
        None => {
            let names = KNOWN.iter().map(|(name, _)| format!("`{name}`"));
            let names = names.collect::<Vec<_>>().join(", ");
            format!("unknown option `{written}`; there are {names}")
        }
    }
}

/// How many letters must be added, removed, replaced or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            table[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = table[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut best = replaced.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(table[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    table[a.len()][b.len()]
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
    fn did_you_mean() {
        for (written, meant) in [
            ("mixd", Some("mixed")),
            ("Mixed", Some("mixed")),
            ("nmae", Some("name")),
            ("sufix", Some("suffix")),
            ("krate", Some("crate")),
            ("timeout", None),
            ("ctx", None),
        ] {
            let message = unknown(&Ident::new(written, Span::call_site()));
            let expected = meant.map_or("there are".to_owned(), |m| format!("did you mean `{m}`"));
            assert!(message.contains(&expected), "{message}");
        }
    }

    #[test]
    fn a_context_survives_its_journey() {
        let mut errors = Errors::default();
        let context = Context {
            within: quote!(<Self as Gate<'a, A, B>>),
            in_trait: true,
            mixed: true,
            krate: Some(syn::parse_quote!(::reexport::co_wrapper)),
            affixes: Affixes { prefix: None, suffix: Some(LitStr::new("_blocking", Span::call_site())) },
        };
        let options = Options::parse(quote!(name = x, #context), &mut errors);
        assert!(errors.is_empty());
        let read = options.context.unwrap();
        assert_eq!(read.within.to_string(), context.within.to_string());
        assert!(read.in_trait && read.mixed && !options.mixed);
        assert!(read.krate.is_some());
        assert_eq!(read.affixes.suffix.unwrap().value(), "_blocking");
    }
}
