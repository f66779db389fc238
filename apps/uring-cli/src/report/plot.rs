//! What a plot shows, without how it is drawn.

use serde_json::{Value, json};

/// One axis.
#[derive(Clone, Debug)]
pub struct Axis {
    pub(super) label: String,
    pub(super) logarithmic: bool,
    pub(super) from_zero: bool,
}

impl Axis {
    /// Makes a linear axis as long as the data.
    pub fn new(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            logarithmic: false,
            from_zero: false,
        }
    }

    /// Spaces powers of ten evenly; values of zero and below are left out.
    pub fn logarithmic(mut self) -> Self {
        self.logarithmic = true;
        self
    }

    /// Begins at zero, so that lengths can be compared.
    pub fn from_zero(mut self) -> Self {
        self.from_zero = true;
        self
    }
}

/// Named points in the order of x.
#[derive(Clone, Debug)]
pub struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

impl Series {
    /// Makes a series; points that are not finite are left out.
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        let mut points = points;
        points.retain(|(x, y)| x.is_finite() && y.is_finite());
        Self {
            name: name.into(),
            points,
        }
    }
}

/// How points are joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// By straight lines.
    #[default]
    Lines,
    /// By steps, as the top of a histogram's bars.
    Steps,
}

/// A plot of one or more series.
#[derive(Clone, Debug)]
pub struct Plot {
    pub(super) title: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) style: Style,
    pub(super) series: Vec<Series>,
}

impl Plot {
    /// Makes a plot without series.
    pub fn new(title: impl Into<String>, x: Axis, y: Axis) -> Self {
        Self {
            title: title.into(),
            x,
            y,
            style: Style::default(),
            series: Vec::new(),
        }
    }

    /// Chooses how points are joined.
    pub fn style(&mut self, style: Style) -> &mut Self {
        self.style = style;
        self
    }

    /// Adds a series. More than six share colours and dashes.
    pub fn add(&mut self, series: Series) -> &mut Self {
        self.series.push(series);
        self
    }

    pub(super) fn to_json(&self) -> Value {
        let series: Vec<_> = self
            .series
            .iter()
            .map(|series| json!({ "name": series.name, "points": series.points }))
            .collect();
        json!({ "title": self.title, "x": self.x.label, "y": self.y.label, "series": series })
    }
}
