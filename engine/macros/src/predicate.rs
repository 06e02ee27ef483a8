//! `pred!`: a predicate in the grammar that `Predicate` has as text, with expressions for its operands.

use proc_macro2::{Span, TokenStream as Tokens};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{Expr, ExprGroup, ExprLit, ExprParen, ExprUnary, Ident, Lit, LitStr, Path, Token, UnOp};
use tapeline_capability::{DEPTH_MAX, OperandError, Predicate, TagKey};

use crate::Form;

/// The names of the clauses, for messages.
const NAMES: &str = "exists, equals, num_at_least, num_at_most, num_in_range, semver_at_least, semver_at_most, \
    semver_compatible, prefix, matches, metadata_exists, metadata_equals, metadata_matches, metadata_num_at_least, and, or, not";

/// A clause of a predicate.
pub(crate) enum Clause {
    /// A constructor, a key on an axis, operands.
    OnTag(Constructor, TagKey, Vec<Operand>),
    /// A constructor, the name of a metadata entry, operands.
    OnMetadata(Constructor, Expr, Vec<Operand>),
    /// `and`, `or`
    Joined(Constructor, Vec<Clause>),
    Not(Constructor, Box<Clause>),
}

/// A constructor of `Predicate`.
pub(crate) struct Constructor {
    name: &'static str,
    span: Span,
}

pub(crate) enum Operand {
    Text(Expr),
    Number(Expr),
}

impl Parse for Clause {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        Self::parse_within(DEPTH_MAX, input)
    }
}

impl Clause {
    /// Parses a clause with at most so many inside one another.
    fn parse_within(room: usize, input: ParseStream<'_>) -> syn::Result<Self> {
        let word = input
            .call(Ident::parse_any)
            .map_err(|error| syn::Error::new(error.span(), format!("a clause begins with its name: {NAMES}")))?;
        let Some(room) = room.checked_sub(1) else {
            return Err(syn::Error::new(word.span(), format!("more than {DEPTH_MAX} clauses inside one another")));
        };
        let constructor = |name| Constructor { name, span: word.span() };
        let on_tag = |name, operands: &[fn(ParseStream<'_>) -> syn::Result<Operand>]| {
            let key = key(input)?;
            let operands = operands.iter().map(|operand| after_comma(input, operand)).collect::<syn::Result<_>>()?;
            Ok(Self::OnTag(constructor(name), key, operands))
        };
        let on_metadata = |name, operands: &[fn(ParseStream<'_>) -> syn::Result<Operand>]| {
            let entry = metadata_name(input)?;
            let operands = operands.iter().map(|operand| after_comma(input, operand)).collect::<syn::Result<_>>()?;
            Ok(Self::OnMetadata(constructor(name), entry, operands))
        };
        match word.to_string().as_str() {
            "exists" => on_tag("exists", &[]),
            "equals" => on_tag("equals", &[text]),
            "num_at_least" => on_tag("numeric_at_least", &[number]),
            "num_at_most" => on_tag("numeric_at_most", &[number]),
            "num_in_range" => on_tag("numeric_in_range", &[number, number]).and_then(not_empty),
            "semver_at_least" => on_tag("semver_at_least", &[version]),
            "semver_at_most" => on_tag("semver_at_most", &[version]),
            "semver_compatible" => on_tag("semver_compatible", &[version]),
            "prefix" => on_tag("string_prefix", &[text]),
            "matches" => on_tag("string_matches", &[text]),
            "metadata_exists" => on_metadata("metadata_exists", &[]),
            "metadata_equals" => on_metadata("metadata_equals", &[text]),
            "metadata_matches" => on_metadata("metadata_matches", &[text]),
            "metadata_num_at_least" => on_metadata("metadata_numeric_at_least", &[number]),
            "and" => Ok(Self::Joined(constructor("and"), clauses(room, input)?)),
            "or" => Ok(Self::Joined(constructor("or"), clauses(room, input)?)),
            "not" => Ok(Self::Not(constructor("not"), Box::new(Self::parse_within(room, input)?))),
            other => Err(syn::Error::new(word.span(), format!("`{other}` is no clause; the clauses are {NAMES}"))),
        }
    }
}

fn clauses(room: usize, input: ParseStream<'_>) -> syn::Result<Vec<Clause>> {
    let bracketed;
    syn::bracketed!(bracketed in input);
    let mut clauses = Vec::new();
    while !bracketed.is_empty() {
        clauses.push(Clause::parse_within(room, &bracketed)?);
        if !bracketed.is_empty() {
            bracketed.parse::<Token![,]>()?;
        }
    }
    Ok(clauses)
}

/// The literal of a key, which is checked here.
fn key(input: ParseStream<'_>) -> syn::Result<TagKey> {
    let literal: LitStr = input
        .parse()
        .map_err(|error| syn::Error::new(error.span(), "a key is a literal here, as \"software.model\""))?;
    TagKey::parse(&literal.value()).map_err(|error| syn::Error::new(literal.span(), error))
}

/// The name of a metadata entry; a literal is checked here.
fn metadata_name(input: ParseStream<'_>) -> syn::Result<Expr> {
    let name = input.parse()?;
    match bare(&name) {
        Expr::Lit(ExprLit { lit: Lit::Str(literal), .. }) => {
            OperandError::of_name(literal.value()).map_err(|error| syn::Error::new(literal.span(), error))?;
        }
        Expr::Lit(other) => return Err(syn::Error::new(other.span(), "the name of a metadata entry is a text")),
        _ => {}
    }
    Ok(name)
}

fn after_comma(input: ParseStream<'_>, operand: &fn(ParseStream<'_>) -> syn::Result<Operand>) -> syn::Result<Operand> {
    input.parse::<Token![,]>()?;
    operand(input)
}

fn text(input: ParseStream<'_>) -> syn::Result<Operand> {
    let text: Expr = input.parse()?;
    match bare(&text) {
        Expr::Lit(ExprLit { lit: Lit::Int(_) | Lit::Float(_) | Lit::Bool(_), .. }) => {
            Err(syn::Error::new(text.span(), "values of tags are text: write it in quotes"))
        }
        _ => Ok(Operand::Text(text)),
    }
}

fn version(input: ParseStream<'_>) -> syn::Result<Operand> {
    let operand = text(input)?;
    if let Operand::Text(text) = &operand
        && let Expr::Lit(ExprLit { lit: Lit::Str(literal), .. }) = bare(text)
        && !Predicate::is_version(&literal.value())
    {
        return Err(syn::Error::new(
            literal.span(),
            "this is no version; a version is one to three numbers, as \"1.2.3\"",
        ));
    }
    Ok(operand)
}

fn number(input: ParseStream<'_>) -> syn::Result<Operand> {
    let number: Expr = input.parse()?;
    match bare(&number) {
        Expr::Lit(ExprLit { lit, .. }) if !matches!(lit, Lit::Int(_) | Lit::Float(_)) => {
            return Err(syn::Error::new(number.span(), "this is compared as a number: write it without quotes"));
        }
        _ => {}
    }
    let checked = literal(&number).map_or(Ok(0.0), OperandError::of_number);
    checked.map_err(|error| syn::Error::new(number.span(), error))?;
    Ok(Operand::Number(number))
}

/// Refuses a range of literals that no number is in.
fn not_empty(clause: Clause) -> syn::Result<Clause> {
    if let Clause::OnTag(_, _, operands) = &clause
        && let [Operand::Number(min), Operand::Number(max)] = operands.as_slice()
        && let (Some(least), Some(most)) = (literal(min), literal(max))
        && least > most
    {
        return Err(syn::Error::new(max.span(), format!("no number is at least {least} and at most {most}")));
    }
    Ok(clause)
}

/// An expression without what is around it: parentheses, and the groups of macros.
fn bare(expression: &Expr) -> &Expr {
    match expression {
        Expr::Paren(ExprParen { expr, .. }) | Expr::Group(ExprGroup { expr, .. }) => bare(expr),
        bare => bare,
    }
}

/// The number of a literal, perhaps with a minus.
fn literal(number: &Expr) -> Option<f64> {
    match bare(number) {
        Expr::Lit(ExprLit { lit: Lit::Int(literal), .. }) => literal.base10_parse().ok(),
        Expr::Lit(ExprLit { lit: Lit::Float(literal), .. }) => literal.base10_parse().ok(),
        Expr::Unary(ExprUnary { op: UnOp::Neg(_), expr, .. }) => literal(expr).map(|number| -number),
        _ => None,
    }
}

impl Form for Clause {
    fn expression(&self, module: &Path) -> Tokens {
        let call = |constructor: &Constructor| {
            let name = Ident::new(constructor.name, constructor.span);
            quote_spanned!(constructor.span=> #module::Predicate::#name)
        };
        match self {
            Self::OnTag(constructor, key, operands) => {
                let (constructor, key) = (call(constructor), tag_key(key, module));
                quote!(#constructor(#key #(, #operands)*))
            }
            Self::OnMetadata(constructor, entry, operands) => {
                let constructor = call(constructor);
                quote!(#constructor(#entry #(, #operands)*))
            }
            Self::Joined(constructor, clauses) => {
                let constructor = call(constructor);
                let clauses = clauses.iter().map(|clause| clause.expression(module));
                quote!(#constructor([#(#clauses),*]))
            }
            Self::Not(constructor, clause) => {
                let (constructor, clause) = (call(constructor), clause.expression(module));
                quote!(#constructor(#clause))
            }
        }
    }
}

impl quote::ToTokens for Operand {
    fn to_tokens(&self, tokens: &mut Tokens) {
        match self {
            Self::Text(text) => text.to_tokens(tokens),
            Self::Number(number) => tokens.extend(quote!((#number) as f64)),
        }
    }
}

/// The expression for a key.
pub(crate) fn tag_key(key: &TagKey, module: &Path) -> Tokens {
    let (axis, name) = (axis(key.axis(), module), key.name());
    quote!(#module::TagKey::of_literal(#axis, #name))
}

/// The expression for an axis.
pub(crate) fn axis(axis: tapeline_capability::TaxonomyAxis, module: &Path) -> Tokens {
    let variant = Ident::new(&format!("{axis:?}"), Span::call_site());
    quote!(#module::TaxonomyAxis::#variant)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a text of the golden vectors as `pred!` does, which has the same grammar with literals of Rust.
    fn parse(text: &str) -> syn::Result<Clause> {
        syn::parse_str(text)
    }

    fn vectors() -> serde_json::Value {
        serde_json::from_str(include_str!("../../capability/tests/vectors.json")).expect("vectors")
    }

    fn texts(vectors: &serde_json::Value, list: &str) -> Vec<String> {
        let text =
            |case: &serde_json::Value| case["predicate"].as_str().or(case[0].as_str()).expect("a text").to_owned();
        vectors[list].as_array().expect("a list").iter().map(text).collect()
    }

    #[test]
    fn macro_reads_what_texts_are_read() {
        let vectors = vectors();
        let mut read = [texts(&vectors, "cases"), texts(&vectors, "texts")].concat();
        // Escapes of JSON alone, and a literal that Rust writes with a 0 in front.
        read.retain(|text| !text.contains("\\u") && !text.contains(" .5"));
        assert!(read.len() > 30);
        for text in read {
            match parse(&text) {
                Ok(_) => {}
                // Documents may hold of nothing; a literal that does is a typing error.
                Err(error) => {
                    let error = error.to_string();
                    assert!(error.contains("no version") || error.contains("no number is at least"), "{text}: {error}");
                }
            }
        }
    }

    #[test]
    fn macro_refuses_what_texts_are_refused() {
        let vectors = vectors();
        let mut refused = texts(&vectors, "texts_refused");
        // Names of Rust, which stand for expressions, and what only JSON cannot read.
        let is_expression = |text: &str| {
            ["zone", ", x", ", y", "inf", "NaN", "nan"].iter().any(|name| text.ends_with(name))
                || text.contains("infinity")
        };
        refused.retain(|text| !is_expression(text));
        assert!(refused.len() > 25);
        for text in refused {
            assert!(parse(&text).is_err(), "{text}");
        }
        assert!(parse(&format!("{}exists \"software.x\"", "not ".repeat(DEPTH_MAX - 1))).is_ok());
        for deep in ["not ".repeat(DEPTH_MAX), "not ".repeat(100_000)] {
            let error = parse(&format!("{deep}exists \"software.x\"")).err().expect("an error");
            assert!(error.to_string().contains("inside one another"), "{error}");
        }
    }

    #[test]
    fn numbers_are_finite_however_a_literal_is_written() {
        for number in ["1e400", "-1e400", "(1e400)", "-(1e400)", &"9".repeat(400)] {
            for clause in
                ["num_at_least \"hardware.x\",", "num_in_range \"hardware.x\", 1,", "metadata_num_at_least \"x\","]
            {
                let error = parse(&format!("{clause} {number}")).err().expect("an error");
                assert!(error.to_string().contains("no finite number"), "{clause} {number}: {error}");
            }
        }
    }
}
