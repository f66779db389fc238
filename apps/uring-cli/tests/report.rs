//! Pages are well-formed, self-contained, and say what they were given.
#![cfg(not(any(loom, shuttle)))]

use uring_cli::report::{Axis, Bar, Bars, Page, Plot, Series, Style, Table};

/// Parses markup strictly, as XML; gives the elements with their attributes, and all text.
fn parse(html: &str) -> (Vec<(String, String)>, String) {
    let html = html.strip_prefix("<!DOCTYPE html>").expect("a doctype");
    let (mut open, mut elements, mut text) = (Vec::new(), Vec::new(), String::new());
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        text.push_str(&rest[..at]);
        let end = at + rest[at..].find('>').expect("a tag ends");
        let tag = &rest[at + 1..end];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "tags nest");
        } else {
            let whole = tag.trim_end_matches('/');
            let (name, attributes) = whole.split_once(' ').unwrap_or((whole, ""));
            assert!(
                attributes.matches('"').count().is_multiple_of(2),
                "attributes are quoted: {tag}"
            );
            elements.push((name.to_owned(), attributes.to_owned()));
            if !tag.ends_with('/') {
                open.push(name.to_owned());
            }
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty(), "every tag is closed: {open:?}");
    for entity in text.split('&').skip(1) {
        let name = entity.split(';').next().unwrap();
        assert!(["amp", "lt", "gt", "quot", "#39"].contains(&name), "&{name}");
    }
    (elements, text)
}

fn page() -> Page {
    let mut page = Page::new("A <page> & \"more\"");
    page.heading("Heading").text("1 < 2 & 'so on'\u{1}");
    let mut table = Table::new("Table", &["name", "value"]);
    table.row(["<b>", "1.5"]).row(["x", "-2"]);
    page.table(table);
    let mut lines = Plot::new("Lines", Axis::new("s"), Axis::new("op/s").from_zero());
    for n in 0..8 {
        let points = (0..5000)
            .map(|x| (f64::from(x), f64::from(x * n % 977)))
            .collect();
        lines.add(Series::new(format!("series <{n}>"), points));
    }
    page.plot(lines);
    let mut steps = Plot::new("Steps", Axis::new("us").logarithmic(), Axis::new("%").from_zero());
    steps
        .style(Style::Steps)
        .add(Series::new("all", vec![(0.0, 1.0), (1.0, 2.0), (1e4, 3.0)]));
    page.plot(steps);
    let mut odd = Plot::new("Odd", Axis::new("x"), Axis::new("y"));
    odd.add(Series::new("none", vec![]));
    odd.add(Series::new(
        "not finite",
        vec![(f64::NAN, 1.0), (1.0, f64::INFINITY)],
    ));
    odd.add(Series::new("one", vec![(3.0, 3.0)]));
    page.plot(odd);
    page.bars(bars());
    page.source("{\"<raw>\": [1, 2]}");
    page
}

fn bars() -> Bars {
    let mut bars = Bars::new("Bars <&>");
    let long = "a name much longer than the room that there is beside a bar";
    bars.group(
        "first",
        "ns",
        [
            (Bar::Ours, "ours", 2.0),
            (Bar::Floor, "floor", 1.0),
            (Bar::Peer, long, 8.0),
        ],
    );
    bars.group(
        "<second>",
        "us",
        [
            (Bar::Ours, "ours", 0.0),
            (Bar::Peer, "broken", f64::NAN),
            (Bar::Peer, "negative", -1.0),
        ],
    );
    bars.group("empty", "ms", [(Bar::Ours, "ours", f64::INFINITY)]);
    bars
}

#[test]
fn bars_are_as_long_as_their_figures_and_leave_out_what_has_no_length() {
    let mut page = Page::new("Bars");
    page.bars(bars());
    let html = page.to_html();
    let (elements, text) = parse(&html);
    let widths: Vec<f64> = elements
        .iter()
        .filter(|(name, _)| name == "rect")
        .map(|(_, attributes)| {
            let width = attributes.split("width=\"").nth(1).unwrap();
            width.split('"').next().unwrap().parse().unwrap()
        })
        .collect();
    assert_eq!(widths.len(), 4);
    assert!((widths[0] / widths[2] - 0.25).abs() < 0.01, "{widths:?}");
    assert!((widths[1] / widths[2] - 0.125).abs() < 0.01, "{widths:?}");
    assert_eq!(widths[3], 0.0);
    assert!(
        text.contains("&lt;second&gt;") && text.contains("the room that…"),
        "{text}"
    );
    assert!(
        html.contains("first in ns: ours 2, floor 1, a name"),
        "spoken in full"
    );
}

#[test]
fn drawings_stand_alone_as_svg_files() {
    let mut plot = Plot::new("Alone", Axis::new("x"), Axis::new("y"));
    plot.add(Series::new("one", vec![(1.0, 2.0), (2.0, 4.0)]));
    for svg in [bars().to_svg(), plot.to_svg()] {
        let (elements, _) = parse(&format!("<!DOCTYPE html>{svg}"));
        let (name, attributes) = &elements[0];
        assert_eq!(name, "svg");
        assert!(
            attributes.starts_with("xmlns=\"http://www.w3.org/2000/svg\""),
            "{attributes}"
        );
        assert_eq!(svg.matches("xmlns").count(), 1);
        assert_eq!(elements[1].0, "style");
    }
}

#[test]
fn a_page_is_well_formed_and_asks_for_nothing_from_outside() {
    let html = page().to_html();
    let (elements, _) = parse(&html);
    for forbidden in ["script", "link", "img", "iframe", "object", "embed", "base"] {
        assert!(
            elements.iter().all(|(name, _)| name != forbidden),
            "<{forbidden}>"
        );
    }
    for forbidden in ["http:", "https:", "url(", "@import", "src=", "onload", "href="] {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn text_is_never_taken_for_markup() {
    let html = page().to_html();
    let (_, text) = parse(&html);
    assert!(
        text.contains("A &lt;page&gt; &amp; &quot;more&quot;")
            && text.contains("1 &lt; 2 &amp; &#39;so on&#39;\u{fffd}")
    );
    assert!(text.contains("{&quot;&lt;raw&gt;&quot;: [1, 2]}"));
    assert!(text.contains("series &lt;3&gt;") && !html.contains("<b>"));
}

#[test]
fn plots_stay_inside_their_box_and_hold_no_broken_number() {
    let html = page().to_html();
    let (elements, _) = parse(&html);
    assert!(!html.contains("NaN") && !html.contains("inf"));
    let paths: Vec<_> = elements.iter().filter(|(name, _)| name == "path").collect();
    assert_eq!(paths.len(), 8 + 1 + 1, "one line a series that has points");
    for (_, attributes) in paths {
        let d = attributes.split("d=\"").last().unwrap().trim_end_matches('"');
        assert!(d.len() < 60_000, "points beyond what can be seen are left out");
        for number in d
            .split(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-'))
            .filter(|n| !n.is_empty())
        {
            let number: f64 = number.parse().unwrap();
            assert!((0.0..=720.0).contains(&number), "{number}");
        }
    }
}

#[test]
fn series_differ_without_colour_and_plots_speak() {
    let html = page().to_html();
    let (elements, _) = parse(&html);
    let mut dashes: Vec<_> = elements
        .iter()
        .filter(|(name, _)| name == "path")
        .take(6)
        .map(|(_, a)| {
            a.split("stroke-dasharray=\"")
                .nth(1)
                .unwrap()
                .split('"')
                .next()
                .unwrap()
        })
        .collect();
    dashes.sort_unstable();
    dashes.dedup();
    assert_eq!(dashes.len(), 6);
    let plots = elements.iter().filter(|(name, _)| name == "svg");
    assert!(
        plots.clone().count() == 4
            && plots
                .clone()
                .all(|(_, a)| a.contains("role=\"img\"") && a.contains("aria-label="))
    );
}

#[test]
fn a_line_is_no_area_where_the_pages_style_does_not_reach() {
    let (elements, _) = parse(&page().to_html());
    let mut paths = elements.iter().filter(|(name, _)| name == "path").peekable();
    assert!(paths.peek().is_some());
    assert!(paths.all(|(_, a)| a.contains("fill=\"none\"") && a.contains("stroke=\"#")));
}

#[test]
fn numbers_stand_to_the_right() {
    let (elements, _) = parse(&page().to_html());
    let numeric = elements
        .iter()
        .filter(|(name, a)| name == "td" && a == "class=\"n\"")
        .count();
    assert_eq!(numeric, 2);
}

#[test]
fn the_same_content_comes_as_data() {
    let json = page().to_json();
    assert_eq!(json["title"], "A <page> & \"more\"");
    assert_eq!(json["parts"][2]["table"]["rows"][1][1], "-2");
    assert_eq!(json["parts"][4]["plot"]["series"][0]["points"][2][1], 3.0);
}

#[test]
#[should_panic(expected = "one cell a column")]
fn a_row_has_a_cell_for_each_column() {
    Table::new("t", &["a", "b"]).row(["only one"]);
}
