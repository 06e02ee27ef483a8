#![doc = include_str!("../README.md")]

mod predicate;
mod requirement;

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use syn::parse::{Parse, ParseStream};
use syn::{Path, Token};

/// A predicate, of clauses as `exists "software.model"`. See `tapeline::pred!`.
#[proc_macro]
pub fn pred(input: TokenStream) -> TokenStream {
    expand::<predicate::Clause>(input)
}

/// A requirement in one line, as `"hardware.gpu.vram_gb >= 48"`. See `tapeline::require!`.
#[proc_macro]
pub fn require(input: TokenStream) -> TokenStream {
    expand::<requirement::Line>(input)
}

/// A requirement of any tag on an axis. See `tapeline::require_axis!`.
#[proc_macro]
pub fn require_axis(input: TokenStream) -> TokenStream {
    expand::<requirement::Axis>(input)
}

/// A requirement of any tag of a key. See `tapeline::require_axis_value!`.
#[proc_macro]
pub fn require_axis_value(input: TokenStream) -> TokenStream {
    expand::<requirement::AxisValue>(input)
}

/// The content of an invocation, checked.
trait Form: Parse {
    /// The expression for it; `module` is the path of the module `capability`.
    fn expression(&self, module: &Path) -> Tokens;
}

/// `[path] form`
struct Invocation<F> {
    module: Path,
    form: F,
}

impl<F: Form> Parse for Invocation<F> {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let bracketed;
        syn::bracketed!(bracketed in input);
        let module = bracketed.call(Path::parse_mod_style)?;
        let form = input.parse()?;
        let _: Option<Token![,]> = input.parse()?;
        Ok(Self { module, form })
    }
}

fn expand<F: Form>(input: TokenStream) -> TokenStream {
    match syn::parse::<Invocation<F>>(input) {
        Ok(Invocation { module, form }) => form.expression(&module).into(),
        Err(error) => error.into_compile_error().into(),
    }
}
