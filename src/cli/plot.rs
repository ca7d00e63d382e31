//! Line charts side by side, as SVG.

pub use plotters::prelude::SeriesLabelPosition;
use plotters::prelude::*;

/// One chart; its y axis begins at zero.
pub struct Chart {
    pub title: &'static str,
    /// What the x axis shows.
    pub x: &'static str,
    pub series: Vec<Series>,
    /// Where the lines leave room for their names; nowhere for a single line.
    pub legend: Option<SeriesLabelPosition>,
}

/// A line through its points.
pub struct Series {
    pub name: &'static str,
    pub points: Vec<(f64, f64)>,
}

const PANEL: (u32, u32) = (360, 300);
const COLOURS: [RGBColor; 4] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 96, 28),
    RGBColor(44, 140, 60),
    RGBColor(120, 80, 160),
];

/// The charts as an SVG document.
pub fn draw(charts: &[Chart]) -> String {
    let mut svg = String::new();
    {
        let size = (PANEL.0 * charts.len() as u32, PANEL.1);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let drawn = area.fill(&WHITE).is_ok()
            && area
                .split_evenly((1, charts.len()))
                .iter()
                .zip(charts)
                .all(|(panel, chart)| draw_chart(panel, chart).is_ok())
            && area.present().is_ok();
        assert!(drawn, "drawing into a string cannot fail");
    }
    svg
}

type Panel<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw_chart(panel: &Panel, chart: &Chart) -> Result<(), Box<dyn std::error::Error>> {
    let points = || chart.series.iter().flat_map(|s| &s.points);
    let range = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::MAX, f64::MIN), |(lo, hi), v| (lo.min(v), hi.max(v)))
    };
    let (left, right) = range(&mut points().map(|p| p.0));
    let (_, top) = range(&mut points().map(|p| p.1));
    // A single point has no width.
    let right = if left < right { right } else { left + 1.0 };
    let mut context = ChartBuilder::on(panel)
        .caption(chart.title, ("sans-serif", 15))
        .margin(10)
        .x_label_area_size(35)
        .y_label_area_size(50)
        .build_cartesian_2d(left..right, 0.0..1.1 * top)?;
    context
        .configure_mesh()
        .x_desc(chart.x)
        .light_line_style(WHITE)
        .draw()?;
    for (series, colour) in chart.series.iter().zip(COLOURS) {
        context
            .draw_series(LineSeries::new(series.points.iter().copied(), &colour).point_size(3))?
            .label(series.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 15, y)], colour));
    }
    if let Some(position) = &chart.legend {
        context
            .configure_series_labels()
            .position(position.clone())
            .border_style(BLACK.mix(0.2))
            .background_style(WHITE.mix(0.7))
            .draw()?;
    }
    Ok(())
}
