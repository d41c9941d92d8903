//! The values of options, which follow the `=`. An error about a value that cannot be parsed points at the value and
//! shows a correct one.

use crate::parse::ident::is_reserved;
use crate::parse::spelling::is_near;
use proc_macro2::Ident;
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Error, Expr, LitStr, Path, Token, Type, Visibility, token};

/// Checks that an option without a value has none. Returns `true`, which is what such an option sets.
pub fn flag(key: &Ident, input: ParseStream) -> syn::Result<bool> {
    if input.peek(Token![=]) || input.peek(token::Paren) {
        return Err(input.error(format!("`{key}` takes no value; write `{key}`")));
    }
    Ok(true)
}

/// What follows `unsafe`: `(coroutine)`. Returns the word.
pub fn coroutine(key: &Ident, input: ParseStream) -> syn::Result<Ident> {
    const FORM: &str = "write `unsafe(coroutine)`";
    if !input.peek(token::Paren) {
        return Err(Error::new(key.span(), format!("`unsafe` needs what is promised; {FORM}")));
    }
    let content;
    let parens = syn::parenthesized!(content in input);
    let word = content.call(Ident::parse_any).ok().filter(|_| content.is_empty());
    // What is left would be an error of its own.
    content.parse::<proc_macro2::TokenStream>()?;
    match word {
        Some(word) if word == "coroutine" => Ok(word),
        Some(word) if is_near(&word.to_string(), "coroutine") => {
            Err(Error::new(word.span(), format!("unknown promise `{word}`; did you mean `coroutine`")))
        }
        _ => Err(Error::new(parens.span.join(), format!("not something to promise; {FORM}"))),
    }
}

/// Reads the `=` and checks that a value follows. `form` is the whole option, as the user should write it.
pub fn value<'a>(key: &Ident, form: &str, input: ParseStream<'a>) -> syn::Result<ParseStream<'a>> {
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

pub fn identifier(key: &Ident, input: ParseStream) -> syn::Result<Ident> {
    if input.peek(LitStr) {
        let string = input.parse::<LitStr>()?;
        let text = string.value();
        let remedy = if is_identifier(&text) {
            format!("write `{key} = {text}`")
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
        return Err(input.error(format!("not an identifier; write `{key} = read_blocking`")));
    };
    if is_reserved(&ident.to_string()) {
        let message = format!("`{ident}` is reserved; choose another name, such as `{ident}_`");
        return Err(Error::new(ident.span(), message));
    }
    Ok(ident)
}

pub fn visibility(input: ParseStream) -> syn::Result<Visibility> {
    match input.parse()? {
        Visibility::Inherited => {
            Err(input.error("not a visibility; write `vis = pub(crate)`, or `vis = pub(self)` for none"))
        }
        vis => Ok(vis),
    }
}

/// The value of `crate`.
pub fn path(input: ParseStream) -> syn::Result<Path> {
    let span = input.span();
    input
        .call(Path::parse_mod_style)
        .map_err(|_| Error::new(span, "not a path; write `crate = ::co_wrapper`, without quotes"))
}

pub fn ty(input: ParseStream, form: &str) -> syn::Result<Type> {
    if input.peek(LitStr) {
        return Err(input.error(format!("a string where a type belongs; write `{form}`, without quotes")));
    }
    input.parse().map_err(|error: Error| Error::new(error.span(), format!("not a type; write `{form}`")))
}

pub fn expression(input: ParseStream, form: &str) -> syn::Result<Expr> {
    input.parse().map_err(|error: Error| Error::new(error.span(), format!("not an expression; write `{form}`")))
}

/// The value of `prefix` or `suffix`.
pub fn affix(key: &Ident, input: ParseStream) -> syn::Result<LitStr> {
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
