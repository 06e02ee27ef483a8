//! A picture that is being drawn, and the frame that all of them share: name, plot, axes.

use std::fmt::Write as _;

use super::axis::{Scale, Tick};
use super::style::STYLE;

/// Size of every picture, in its own units; it is shown as wide as there is room.
pub(super) const WIDTH: f64 = 900.0;
pub(super) const HEIGHT: f64 = 392.0;
/// The plot within it.
pub(super) const LEFT: f64 = 72.0;
pub(super) const RIGHT: f64 = WIDTH - 24.0;
pub(super) const TOP: f64 = 74.0;
pub(super) const BOTTOM: f64 = HEIGHT - 50.0;

/// Width of a character of a label, about.
pub(super) const CHARACTER: f64 = 6.6;

/// A picture.
#[derive(Debug)]
pub(crate) struct Picture {
    name: String,
    body: String,
}

impl Picture {
    /// A picture with nothing on it but its name.
    pub(super) fn new(name: &str) -> Self {
        let mut picture = Self { name: name.to_owned(), body: String::new() };
        picture.put(format_args!("<rect class=\"paper\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>"));
        picture.text(Place::start(LEFT, 20.0), "name", name);
        picture
    }

    /// The same, with the words that there is nothing to draw.
    pub(super) fn empty(name: &str) -> Self {
        let mut picture = Self::new(name);
        picture.text(Place::middle((LEFT + RIGHT) / 2.0, (TOP + BOTTOM) / 2.0), "", "nothing was recorded");
        picture
    }

    /// Adds an element.
    pub(super) fn put(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.body.write_fmt(element);
    }

    /// Adds text.
    pub(super) fn text(&mut self, place: Place, class: &str, text: &str) {
        let Place { x, y, anchor } = place;
        self.put(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{}</text>",
            escaped(text)
        ));
    }

    /// Draws both axes with their rules and labels. `x_says` stands below, `y_says` above the labels.
    pub(super) fn axes(&mut self, x: &[Tick], x_says: &str, y: &Scale, y_says: &str) {
        for Tick { at, label } in x {
            self.put(format_args!("<path class=\"rule\" d=\"M{at:.1} {TOP}V{BOTTOM}\"/>"));
            // A label stays within the picture.
            let last = WIDTH - label.chars().count() as f64 * CHARACTER / 2.0;
            self.text(Place::middle(at.min(last), BOTTOM + 17.0), "", label);
        }
        for Tick { at, label } in y.ticks() {
            self.put(format_args!("<path class=\"rule\" d=\"M{LEFT} {at:.1}H{RIGHT}\"/>"));
            self.text(Place::end(LEFT - 8.0, at + 4.0), "", &label);
        }
        self.text(Place::middle((LEFT + RIGHT) / 2.0, BOTTOM + 38.0), "", x_says);
        self.text(Place::end(LEFT - 8.0, TOP - 14.0), "", y_says);
    }

    /// The picture within a page that has [`STYLE`].
    pub(crate) fn inline(&self) -> String {
        let Self { name, body } = self;
        format!(
            "<svg class=\"pic\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">{body}</svg>",
            escaped(name)
        )
    }

    /// The picture as a file of its own.
    pub(crate) fn document(&self) -> String {
        let Self { name, body } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"pic\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
             height=\"{HEIGHT}\" role=\"img\" aria-label=\"{}\"><style>{STYLE}</style>{body}</svg>\n",
            escaped(name)
        )
    }
}

/// The place of a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    x: f64,
    y: f64,
    anchor: &'static str,
}

impl Place {
    /// It begins here.
    pub(super) fn start(x: f64, y: f64) -> Self {
        Self { x, y, anchor: "start" }
    }

    /// It is centred here.
    pub(super) fn middle(x: f64, y: f64) -> Self {
        Self { x, y, anchor: "middle" }
    }

    /// It ends here.
    pub(super) fn end(x: f64, y: f64) -> Self {
        Self { x, y, anchor: "end" }
    }
}

/// Text for XML and HTML, in elements and in quoted attributes. Characters that XML forbids become spaces.
pub(crate) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            control if control.is_control() || is_mark(control) => safe.push(' '),
            other => safe.push(other),
        }
    }
    safe
}

/// True for what XML cannot have, and for marks that change the direction of the text around them.
fn is_mark(character: char) -> bool {
    matches!(character, '\u{fffe}' | '\u{ffff}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// At most so many characters of a label, with a mark where it was cut.
pub(crate) fn cut(label: &str, characters: usize) -> String {
    match label.char_indices().nth(characters) {
        None => label.to_owned(),
        Some(_) => label.chars().take(characters.saturating_sub(1)).chain(['\u{2026}']).collect(),
    }
}
