//! A small chart of bars: the shape of a figure over the backups, with its newest and its greatest value in words.

use super::html::Html;

/// Height and the width of one bar with its gap, in the drawing's own units; the page stretches it.
const HEIGHT: f64 = 48.0;
const STEP: f64 = 8.0;
const BAR: f64 = 6.0;

/// Oldest first; `say` puts a value in words.
pub(super) fn bars(html: &mut Html, name: &'static str, values: &[f64], say: &dyn Fn(f64) -> String) {
    let greatest = values.iter().copied().fold(0.0, f64::max);
    let newest = values.last().copied().unwrap_or_default();
    let said = format!("newest {}, greatest {}", say(newest), say(greatest));
    html.tag("figure", &[], |html| {
        html.tag("figcaption", &[], |html| {
            html.text(name)
                .raw(" ")
                .tag("strong", &[], |html| html.put(say(newest)));
        });
        let width = STEP * float(values.len() as u64);
        let view = format!("0 0 {width} {HEIGHT}");
        let attributes: [(&str, &dyn std::fmt::Display); 3] =
            [("viewBox", &view), ("preserveAspectRatio", &"none"), ("role", &"img")];
        html.tag("svg", &attributes, |html| {
            html.tag("title", &[], |html| html.put(name));
            html.tag("desc", &[], |html| html.put(&said));
            for (position, value) in values.iter().enumerate() {
                // What is not nothing is seen.
                let height = if greatest > 0.0 {
                    (value / greatest * HEIGHT).max(1.0)
                } else {
                    0.0
                };
                let x = format!("{}", float(position as u64) * STEP);
                let (y, height) = (format!("{:.1}", HEIGHT - height), format!("{height:.1}"));
                let class = if position + 1 == values.len() { "newest" } else { "" };
                html.open(
                    "rect",
                    &[
                        ("x", &x),
                        ("y", &y),
                        ("width", &BAR),
                        ("height", &height),
                        ("class", &class),
                    ],
                );
                html.raw("</rect>");
            }
        });
        html.tag("p", &[("class", &"muted")], |html| {
            html.raw("at most ").text(say(greatest));
        });
    });
}

#[allow(clippy::cast_precision_loss, reason = "a pixel is less exact")]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "was a whole number before"
)]
pub(super) fn whole(number: f64) -> u64 {
    number as u64
}
