//! One picture for each scenario: horizontal bars of the medians, with whiskers from the least to the most.

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::figures::{Figure, Row, Spread};
use crate::scenarios::Scenario;

const WIDTH: u32 = 860;
const LEFT: i32 = 270;
const RIGHT: i32 = 90;
const BAR: i32 = 16;
const STEP: i32 = 28;
/// Above the bars of a figure: its title.
const HEAD: i32 = 36;

/// Apart for those who see colours differently (Okabe and Ito), on white and on black.
const OURS: RGBColor = RGBColor(0x00, 0x72, 0xb2);
const PEER: RGBColor = RGBColor(0xe6, 0x9f, 0x00);
const FLOOR: RGBColor = RGBColor(0x8c, 0x95, 0x9f);
const INK: RGBColor = RGBColor(0x1f, 0x23, 0x28);
const FAINT: RGBColor = RGBColor(0x59, 0x63, 0x6e);

/// What has a dark page shows the same in light ink. Presentation attributes give way to style sheets.
const DARK: &str = "<style>@media (prefers-color-scheme: dark) { \
    [fill=\"#1F2328\"] { fill: #f0f6fc } [stroke=\"#1F2328\"] { stroke: #f0f6fc } \
    [fill=\"#59636E\"] { fill: #9198a1 } [stroke=\"#59636E\"] { stroke: #9198a1 } \
    [fill=\"#0072B2\"] { fill: #56b4e9 } }</style>";

/// The picture as SVG.
pub(crate) fn draw(scenario: &Scenario, rows: &[Row]) -> Result<String> {
    let panels: Vec<(Figure, Vec<(&str, Spread)>)> = scenario
        .columns
        .iter()
        .take(scenario.drawn)
        .map(|figure| (*figure, bars(rows, *figure)))
        .filter(|(_, bars)| !bars.is_empty())
        .collect();
    let height: i32 = panels
        .iter()
        .map(|(_, bars)| HEAD + STEP * i32::try_from(bars.len()).unwrap_or(0) + 8)
        .sum();
    let mut svg = String::new();
    {
        let size = (WIDTH, u32::try_from(height.max(HEAD))?);
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let mut top = 0;
        for (figure, bars) in &panels {
            panel(&root, *figure, bars, top).map_err(|error| anyhow!("{error}"))?;
            top += HEAD + STEP * i32::try_from(bars.len())? + 8;
        }
        root.present().map_err(|error| anyhow!("{error}"))?;
    }
    let head_end = svg
        .find("<svg")
        .and_then(|at| svg[at..].find('>').map(|end| at + end + 1));
    if let Some(end) = head_end {
        let title = format!("<title>{}: {}</title>", scenario.id, scenario.title);
        svg.insert_str(end, &format!("\n{title}\n{DARK}\n"));
    }
    Ok(svg)
}

fn bars(rows: &[Row], figure: Figure) -> Vec<(&str, Spread)> {
    rows.iter()
        .filter_map(|row| Some((row.subject.as_str(), row.values(figure)?)))
        .collect()
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn panel(
    root: &Area<'_>,
    figure: Figure,
    bars: &[(&str, Spread)],
    top: i32,
) -> Result<(), Box<dyn std::error::Error>> {
    let font = |size: i32, colour: RGBColor, place: HPos| {
        ("sans-serif", size)
            .into_font()
            .color(&colour)
            .pos(Pos::new(place, VPos::Center))
    };
    root.draw(&Text::new(
        format!("{} ({} is better)", figure.title(), figure.better()),
        (LEFT, top + HEAD / 2 + 2),
        font(18, INK, HPos::Left),
    ))?;
    let most = bars
        .iter()
        .map(|(_, spread)| spread.most)
        .fold(0.0, f64::max);
    let width = f64::from(WIDTH as i32 - LEFT - RIGHT);
    let x = |value: f64| LEFT + (value / most.max(f64::MIN_POSITIVE) * width) as i32;
    for (place, (subject, spread)) in bars.iter().enumerate() {
        let middle = top + HEAD + STEP * i32::try_from(place)? + STEP / 2;
        root.draw(&Text::new(
            (*subject).to_owned(),
            (LEFT - 10, middle),
            font(17, INK, HPos::Right),
        ))?;
        let bar = [
            (LEFT, middle - BAR / 2),
            (x(spread.median).max(LEFT + 1), middle + BAR / 2),
        ];
        root.draw(&Rectangle::new(bar, colour(subject).filled()))?;
        for whisker in whiskers(x(spread.least), x(spread.most), middle) {
            root.draw(&PathElement::new(whisker, INK.stroke_width(1)))?;
        }
        root.draw(&Text::new(
            figure.show(spread.median),
            (x(spread.most) + 10, middle),
            font(16, FAINT, HPos::Left),
        ))?;
    }
    root.draw(&PathElement::new(
        [
            (LEFT, top + HEAD),
            (LEFT, top + HEAD + STEP * i32::try_from(bars.len())?),
        ],
        FAINT.stroke_width(1),
    ))?;
    Ok(())
}

/// A line, and its two ends.
fn whiskers(least: i32, most: i32, middle: i32) -> Vec<[(i32, i32); 2]> {
    if least == most {
        return Vec::new();
    }
    let end = |x| [(x, middle - 4), (x, middle + 4)];
    vec![[(least, middle), (most, middle)], end(least), end(most)]
}

fn colour(subject: &str) -> RGBColor {
    if subject.starts_with("Headwater") {
        OURS
    } else if subject.starts_with("floor") {
        FLOOR
    } else {
        PEER
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Sample;
    use crate::scenarios::ALL;

    #[test]
    fn a_picture_has_bars_whiskers_and_both_kinds_of_ink() {
        let scenario = &ALL[0];
        let sample = |value: &f64| Sample::from([(scenario.columns[0], *value)]);
        let row = |subject: &str, values: &[f64]| Row {
            subject: subject.to_owned(),
            samples: values.iter().map(sample).collect(),
            ..Row::default()
        };
        let rows = [
            row("Headwater, replicated", &[1.0, 2.0, 3.0]),
            row("Kafka", &[4.0]),
        ];
        let svg = draw(scenario, &rows).unwrap();
        assert_eq!(svg.matches("<rect").count(), 2, "{svg}");
        // Three for the whiskers of the first, one for the axis.
        assert_eq!(svg.matches("<polyline").count(), 4, "{svg}");
        assert!(svg.contains("prefers-color-scheme: dark") && svg.contains("<title>S1"));
        // The style sheet means these colours; plotters writes them so.
        assert!(svg.contains("fill=\"#1F2328\"") && svg.contains("fill=\"#0072B2\""));
    }
}
