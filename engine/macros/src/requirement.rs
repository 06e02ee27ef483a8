//! `require!`, `require_axis!`, `require_axis_value!`: requirements of literals, checked here.

use proc_macro2::TokenStream as Tokens;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::{LitStr, Path, Token};
use tapeline_capability::{Predicate, RequiredCapability, RequirementError, Tag, TagSeparator};

use crate::Form;
use crate::predicate::{axis, tag_key};

/// `"hardware.gpu.vram_gb >= 48"`
pub(crate) struct Line(RequiredCapability);

/// `"software"`
pub(crate) struct Axis(RequiredCapability);

/// `"software", "model"`
pub(crate) struct AxisValue(RequiredCapability);

impl Parse for Line {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let text = literal(input)?;
        let requirement = RequiredCapability::parse(&text.value());
        requirement.map(Self).map_err(|error| syn::Error::new(text.span(), error))
    }
}

impl Parse for Axis {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let name = literal(input)?;
        let requirement = RequiredCapability::axis_any(&name.value());
        requirement.map(Self).map_err(|error| syn::Error::new(name.span(), error))
    }
}

impl Parse for AxisValue {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let name = literal(input)?;
        input.parse::<Token![,]>()?;
        let key = literal(input)?;
        let requirement = RequiredCapability::axis_key(&name.value(), &key.value());
        requirement.map(Self).map_err(|error| {
            let at = if matches!(error, RequirementError::InvalidAxis(_)) { &name } else { &key };
            syn::Error::new(at.span(), error)
        })
    }
}

fn literal(input: ParseStream<'_>) -> syn::Result<LitStr> {
    input.parse().map_err(|error| {
        syn::Error::new(error.span(), "a text in quotes belongs here; RequiredCapability::parse reads other texts")
    })
}

impl Form for Line {
    fn expression(&self, module: &Path) -> Tokens {
        expression(&self.0, module)
    }
}

impl Form for Axis {
    fn expression(&self, module: &Path) -> Tokens {
        expression(&self.0, module)
    }
}

impl Form for AxisValue {
    fn expression(&self, module: &Path) -> Tokens {
        expression(&self.0, module)
    }
}

fn expression(requirement: &RequiredCapability, module: &Path) -> Tokens {
    match requirement {
        RequiredCapability::Tag(tag) => {
            let tag = tag_of(tag, module);
            quote!(#module::RequiredCapability::Tag(#tag))
        }
        RequiredCapability::AxisAny(of) => {
            let axis = axis(*of, module);
            quote!(#module::RequiredCapability::AxisAny(#axis))
        }
        RequiredCapability::AxisKey(key) => {
            let key = tag_key(key, module);
            quote!(#module::RequiredCapability::AxisKey(#key))
        }
        RequiredCapability::Predicate(predicate) => {
            let predicate = comparison(predicate, module);
            quote!(#module::RequiredCapability::Predicate(#predicate))
        }
    }
}

fn tag_of(tag: &Tag, module: &Path) -> Tokens {
    let text = |text: &str| quote!(::std::string::String::from(#text));
    match tag {
        Tag::AxisPresent { key } => {
            let key = tag_key(key, module);
            quote!(#module::Tag::AxisPresent { key: #key })
        }
        Tag::AxisValue { key, value, separator } => {
            let (key, value) = (tag_key(key, module), text(value));
            let separator = match separator {
                TagSeparator::Eq => quote!(#module::TagSeparator::Eq),
                TagSeparator::Colon => quote!(#module::TagSeparator::Colon),
            };
            quote!(#module::Tag::AxisValue { key: #key, value: #value, separator: #separator })
        }
        Tag::Reserved { prefix, body } => {
            let body = text(body);
            quote!(#module::Tag::Reserved { prefix: #prefix, body: #body })
        }
        Tag::Legacy(legacy) => {
            let legacy = text(legacy);
            quote!(#module::Tag::Legacy(#legacy))
        }
    }
}

/// The comparisons that a line may have.
fn comparison(predicate: &Predicate, module: &Path) -> Tokens {
    match predicate {
        Predicate::NumericAtLeast { key, threshold } => {
            let key = tag_key(key, module);
            quote!(#module::Predicate::numeric_at_least(#key, #threshold))
        }
        Predicate::NumericAtMost { key, threshold } => {
            let key = tag_key(key, module);
            quote!(#module::Predicate::numeric_at_most(#key, #threshold))
        }
        Predicate::Equals { key, value } => {
            let key = tag_key(key, module);
            quote!(#module::Predicate::equals(#key, #value))
        }
        other => {
            let message = format!("require! has no form for `{other}`");
            quote!(::std::compile_error!(#message))
        }
    }
}
