//! The plots of the results.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::report::{Bar, Report, Throughput, rounded};

const FONT: &str = "sans-serif";
const MET: RGBColor = RGBColor(46, 125, 50);
const NOT_MET: RGBColor = RGBColor(198, 40, 40);
const COLORS: [RGBColor; 4] = [
    RGBColor(21, 101, 192),
    RGBColor(100, 181, 246),
    RGBColor(239, 108, 0),
    RGBColor(120, 120, 120),
];

/// Draws the plots that there are results for.
pub(crate) fn draw(report: &Report, folder: &Path) {
    draw_bars(report, &folder.join("bars.svg"));
    if !report.throughput.is_empty() {
        draw_throughput(&report.throughput, &folder.join("throughput.svg"));
    }
}

/// Each measurement with a bar, as a share of its bar: what is at most 1 meets it.
fn draw_bars(report: &Report, file: &Path) {
    const ROW: u32 = 24;
    let rows: Vec<(&str, f64, bool)> = report
        .rows
        .iter()
        .filter_map(|row| {
            let is_met = row.bar.is_met(row.measured.median)?;
            let share = match row.bar {
                Bar::AtMost(bar) => row.measured.median / bar,
                Bar::AtLeast(bar) => bar / row.measured.median,
                Bar::None => return None,
            };
            Some((row.what.as_str(), share, is_met))
        })
        .collect();
    let height = u32::try_from(rows.len()).unwrap() * ROW + 70;
    let area = SVGBackend::new(file, (1000, height)).into_drawing_area();
    area.fill(&WHITE).unwrap();
    let most = rows.iter().map(|(_, share, _)| *share).fold(1.0, f64::max) * 1.1;
    let (names, bars) = area.margin(10, 10, 10, 10).split_horizontally(520);
    let mut chart = ChartBuilder::on(&bars)
        .caption("share of the bar, 1 or less meets it", (FONT, 14))
        .x_label_area_size(24)
        .build_cartesian_2d(0.0..most, 0.0..rows.len() as f64)
        .unwrap();
    chart.configure_mesh().disable_y_mesh().disable_y_axis().x_labels(8).draw().unwrap();
    for (number, (name, share, is_met)) in rows.iter().enumerate() {
        let top = (rows.len() - number) as f64;
        let color = if *is_met { MET } else { NOT_MET };
        let corners = [(0.0, top - 0.85), (*share, top - 0.15)];
        chart.draw_series([Rectangle::new(corners, color.filled())]).unwrap();
        let (_, y) = chart.backend_coord(&(0.0, top - 0.5));
        let (_, above) = names.get_base_pixel();
        label(&names, name, (0, y - above - 7));
    }
    let line = [(1.0, 0.0), (1.0, rows.len() as f64)];
    chart.draw_series([PathElement::new(line, BLACK)]).unwrap();
    area.present().unwrap();
}

fn label(area: &DrawingArea<SVGBackend<'_>, Shift>, text: &str, at: (i32, i32)) {
    area.draw(&Text::new(text.to_owned(), at, (FONT, 13))).unwrap();
}

/// The requests a second of each server, by request and number of connections.
fn draw_throughput(throughput: &[Throughput], file: &Path) {
    let area = SVGBackend::new(file, (1000, 360)).into_drawing_area();
    area.fill(&WHITE).unwrap();
    let mut requests: Vec<&str> = throughput.iter().map(|it| it.request).collect();
    requests.dedup();
    for (area, request) in area.split_evenly((1, requests.len())).iter().zip(requests) {
        let of_request: Vec<&Throughput> =
            throughput.iter().filter(|it| it.request == request).collect();
        let mut servers: Vec<&str> = Vec::new();
        let mut connections: Vec<usize> = Vec::new();
        for it in &of_request {
            if !servers.contains(&it.server) {
                servers.push(it.server);
            }
            if !connections.contains(&it.connections) {
                connections.push(it.connections);
            }
        }
        let most = of_request.iter().map(|it| it.requests_per_second).fold(0.0, f64::max) * 1.4;
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .caption(format!("{request}: requests/s by connections"), (FONT, 14))
            .x_label_area_size(24)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..connections.len() as f64, 0.0..most)
            .unwrap();
        chart
            .configure_mesh()
            .disable_x_mesh()
            .disable_x_axis()
            .y_label_formatter(&|rate| format!("{rate:.0}"))
            .draw()
            .unwrap();
        let width = 0.8 / servers.len() as f64;
        for (number, server) in servers.iter().enumerate() {
            let color = COLORS[number % COLORS.len()];
            let bars = of_request.iter().filter(|it| it.server == *server).map(|it| {
                let group = connections.iter().position(|other| *other == it.connections).unwrap();
                let left = group as f64 + 0.1 + number as f64 * width;
                (left, it.requests_per_second)
            });
            let bars: Vec<(f64, f64)> = bars.collect();
            let rectangle = |&(left, rate): &(f64, f64)| {
                Rectangle::new([(left, 0.0), (left + width * 0.95, rate)], color.filled())
            };
            chart.draw_series(bars.iter().map(rectangle)).unwrap().label(*server).legend(
                move |(x, y)| Rectangle::new([(x, y - 5), (x + 10, y + 5)], color.filled()),
            );
            let text = |&(left, rate): &(f64, f64)| {
                Text::new(rounded(rate), (left, rate + most * 0.04), (FONT, 11))
            };
            chart.draw_series(bars.iter().map(text)).unwrap();
        }
        let names = connections.iter().enumerate().map(|(group, connections)| {
            let style = (FONT, 12);
            Text::new(connections.to_string(), (group as f64 + 0.45, -most * 0.03), style)
        });
        chart.draw_series(names).unwrap();
        chart.configure_series_labels().position(SeriesLabelPosition::UpperRight).draw().unwrap();
    }
    area.present().unwrap();
}
