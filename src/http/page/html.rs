//! HTML put together so that nothing from outside can be markup: what is not escaped is a literal of this program.

use std::fmt::Display;

use jiff::Timestamp;

/// A piece of a document.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Markup of this program.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Text from wherever, in an element or within an attribute's quotes.
    pub(super) fn text(&mut self, text: impl Display) -> &mut Self {
        for character in text.to_string().chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // Also what turns the direction of the text around: a name may not rearrange what stands beside it.
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => self.0.push('\u{fffd}'),
                control if control.is_control() && control != '\n' => self.0.push('\u{fffd}'),
                other => self.0.push(other),
            }
        }
        self
    }

    /// As `text`, for the end of a closure.
    pub(super) fn put(&mut self, text: impl Display) {
        self.text(text);
    }

    /// An element with its contents.
    pub(super) fn tag(
        &mut self,
        name: &'static str,
        attributes: &[(&'static str, &dyn Display)],
        contents: impl FnOnce(&mut Self),
    ) -> &mut Self {
        self.open(name, attributes);
        contents(self);
        self.raw("</").raw(name).raw(">")
    }

    /// The beginning of an element, or all of one that has no contents.
    pub(super) fn open(&mut self, name: &'static str, attributes: &[(&'static str, &dyn Display)]) -> &mut Self {
        self.raw("<").raw(name);
        for (attribute, value) in attributes {
            self.raw(" ").raw(attribute).raw("=\"").text(value).raw("\"");
        }
        self.raw(">")
    }

    /// A cell of a table, with the heading that a narrow page shows beside it.
    pub(super) fn cell(&mut self, heading: &'static str, class: &'static str, contents: impl FnOnce(&mut Self)) {
        self.tag("td", &[("data-heading", &heading), ("class", &class)], contents);
    }

    /// The heading of a table; cells of a `number` stand at the right.
    pub(super) fn headings(&mut self, headings: &[(&'static str, &'static str)]) {
        self.raw("<thead><tr>");
        for (heading, class) in headings {
            self.tag("th", &[("scope", &"col"), ("class", class)], |html| {
                html.raw(heading);
            });
        }
        self.raw("</tr></thead>\n");
    }

    /// `21 Nov 06:58`, with all of it for machines and on hovering.
    pub(super) fn time(&mut self, time: Timestamp) -> &mut Self {
        let whole = time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
        self.tag("time", &[("datetime", &time), ("title", &whole)], |html| {
            html.put(time.strftime("%-d %b %H:%M"));
        })
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_markup_an_attribute_or_a_change_of_direction() {
        let mut html = Html::default();
        html.tag("a", &[("title", &"\" onclick='x'")], |html| {
            html.put("<b>&\u{202e}\u{0}\n</b>");
        });
        assert_eq!(
            html.into_string(),
            "<a title=\"&quot; onclick=&#39;x&#39;\">&lt;b&gt;&amp;\u{fffd}\u{fffd}\n&lt;/b&gt;</a>"
        );
    }
}
