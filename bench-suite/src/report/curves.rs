//! Curves over the number of threads, as plots.

use crate::Point;
use uring_cli::report::{Axis, Plot, Series};

/// Draws one plot for each curve of a run: a line for each lane, and one upright where the CPUs end.
pub fn curves(points: &[Point]) -> Vec<(String, Plot)> {
    let mut ids: Vec<&str> = points.iter().map(|point| point.row.id.as_str()).collect();
    ids.dedup();
    ids.into_iter()
        .map(|id| (id.to_owned(), curve(id, points)))
        .collect()
}

fn curve(id: &str, points: &[Point]) -> Plot {
    let points: Vec<&Point> = points.iter().filter(|point| point.row.id == id).collect();
    let mut plot = Plot::new(
        format!("{id}: to the right of the upright line, more threads than CPUs"),
        Axis::new("threads").from_zero(),
        Axis::new("million operations a second").from_zero(),
    );
    let mut highest = 0.0f64;
    let mut lane = |name: &str, ns: &dyn Fn(&Point) -> Option<f64>| {
        let rate = |point: &&Point| Some((point.threads as f64, 1_000.0 / ns(point)?));
        let line: Vec<_> = points.iter().filter_map(rate).collect();
        highest = line.iter().map(|p| p.1).fold(highest, f64::max);
        Series::new(name, line)
    };
    let mut all = vec![lane("ours", &|point| point.row.ours)];
    if let Some(first) = points.first() {
        for peer in first.row.peers.keys() {
            all.push(lane(peer, &|point| point.row.peers.get(peer).copied()));
        }
    }
    let within = points.iter().filter(|point| !point.oversubscribed);
    if let Some(cpus) = within.map(|point| point.threads).max() {
        let at = cpus as f64;
        all.push(Series::new("CPUs", vec![(at, 0.0), (at, highest)]));
    }
    all.into_iter().for_each(|series| {
        plot.add(series);
    });
    plot
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_has_a_line_for_each_lane_and_one_where_the_cpus_end() {
        let point = |threads: usize, ns: f64| -> Point {
            let text = format!(
                r#"{{"threads":{threads},"oversubscribed":{},"row":{{"id":"a","crate":"c","what":"w","unit":"ns","ours":{ns},
                    "floor":null,"peers":{{"theirs":{}}},"ratio":null,"target":"","holds":"yes","rounds":3,"spread":null,"note":""}}}}"#,
                threads > 2,
                ns * 2.0
            );
            serde_json::from_str(&text).expect("a point as the suite writes it")
        };
        let drawn = curves(&[point(1, 10.0), point(2, 5.0), point(4, 5.0)]);
        assert_eq!(drawn.len(), 1);
        let svg = drawn[0].1.to_svg();
        assert!(svg.contains("ours from 100 to 200 million"), "{svg}");
        assert!(svg.contains("theirs from 50 to 100 million"), "{svg}");
        assert!(svg.contains("CPUs from 0 to 200 million"), "{svg}");
    }
}
