//! The table as a plot: a line a row, on it a mark a side, by its ratio to the best peer on a logarithmic axis.

use std::fmt::Write;

use crate::table::{Entry, number};
use co_wrapper_bench::measure::Role;

const LEFT: f64 = 520.0;
const WIDTH: f64 = 620.0;
const LINE: f64 = 22.0;
const TOP: f64 = 60.0;

/// What the axis spans; what lies outside is drawn at its end.
const LEAST: f64 = 0.01;
const MOST: f64 = 100.0;

fn x(ratio: f64) -> f64 {
    let at = (ratio.clamp(LEAST, MOST) / LEAST).log10() / (MOST / LEAST).log10();
    LEFT + WIDTH * at
}

pub fn of(entries: &[Entry]) -> String {
    let plotted: Vec<_> =
        entries.iter().filter(|entry| entry.best_peer().is_some_and(|best| best.median > 0.0)).collect();
    let (width, height) = (LEFT + WIDTH + 120.0, TOP + LINE * (plotted.len() as f64 + 1.0));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"10\" y=\"20\" \
         font-size=\"15\">co-wrapper beside its peers: × the best peer, less is better. ● ours (green: goal met, red: \
         missed, blue: reported) ○ peers △ floor | goal</text>\n"
    );
    let mut tick = LEAST;
    while tick <= MOST * 1.01 {
        let (at, strong) = (x(tick), if (tick - 1.0).abs() < 1e-9 { "#888" } else { "#ddd" });
        let _ = writeln!(svg, "<path d=\"M{at:.1} {TOP}V{height:.1}\" stroke=\"{strong}\"/>");
        let _ = writeln!(svg, "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{tick}</text>", TOP - 8.0);
        tick *= 10.0;
    }
    for (index, entry) in plotted.into_iter().enumerate() {
        line(&mut svg, entry, TOP + LINE * (index as f64 + 0.8));
    }
    svg.push_str("</svg>\n");
    svg
}

fn line(svg: &mut String, entry: &Entry, y: f64) {
    let best = entry.best_peer().expect("only such are plotted").median;
    let name = escaped(&entry.name);
    let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>", LEFT - 12.0, y + 4.0);
    let colour = match entry.met() {
        Some(true) => "#2a2",
        Some(false) => "#c22",
        None => "#24c",
    };
    if let Some(goal) = entry.allowed_ratio() {
        let at = x(goal);
        let _ = writeln!(svg, "<path d=\"M{at:.1} {:.1}v14\" stroke=\"black\" stroke-width=\"2\"/>", y - 7.0);
    }
    // Ours come last, to lie on top.
    let (ours, others): (Vec<_>, Vec<_>) = entry.sides.iter().partition(|side| side.role == Role::Ours);
    for side in others.into_iter().chain(ours) {
        let (at, what) = (x(side.median / best), escaped(&side.name));
        let title = format!("<title>{what}: {}</title>", number(side.median, entry.unit));
        let _ = match side.role {
            Role::Ours => {
                writeln!(svg, "<circle cx=\"{at:.1}\" cy=\"{y:.1}\" r=\"5\" fill=\"{colour}\">{title}</circle>")
            }
            Role::Peer | Role::Shown => {
                writeln!(
                    svg,
                    "<circle cx=\"{at:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"none\" stroke=\"#555\">{title}</circle>"
                )
            }
            Role::Floor => writeln!(
                svg,
                "<path d=\"M{at:.1} {:.1}l5 9h-10z\" fill=\"none\" stroke=\"#555\">{title}</path>",
                y - 5.0
            ),
        };
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{}</text>",
        LEFT + WIDTH + 12.0,
        y + 4.0,
        number(entry.ours().median, entry.unit)
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
