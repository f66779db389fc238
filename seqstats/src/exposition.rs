//! Statistics in the text format that Prometheus scrapes.
//!
//! Prometheus documentation, "Exposition formats", text format 0.0.4.

use crate::group::values;
use crate::{HistogramSnapshot, Kind, Stats};
use std::error::Error;
use std::fmt::{self, Write};

/// Pairs of label name and value that tell samples of one metric apart.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// Why nothing sensible could be written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExpositionError {
    /// The writer refused.
    Write,
    /// A metric or label name that Prometheus does not allow: letters, digits and underscores, no digit first.
    Name(String),
}

impl From<fmt::Error> for ExpositionError {
    fn from(_: fmt::Error) -> Self {
        Self::Write
    }
}

impl fmt::Display for ExpositionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write => f.write_str("the writer refused the exposition"),
            Self::Name(name) => write!(
                f,
                "{name:?} is not a Prometheus name: use letters, digits and underscores, and no digit first"
            ),
        }
    }
}

impl Error for ExpositionError {}

/// Writes metrics as text. A metric family must come in one piece, so all samples of a group are given in one call.
///
/// ```
/// use seqstats::{Exposition, groups::SocketStats};
/// let mut text = String::new();
/// let eth0 = SocketStats { bytes_received: 7, ..Default::default() };
/// Exposition::new(&mut text).group(&[(&[("port", "80")], eth0)]).unwrap();
/// assert!(text.contains("\nsocket_bytes_received_total{port=\"80\"} 7\n"));
/// ```
#[derive(Debug)]
pub struct Exposition<W> {
    to: W,
}

impl<W: Write> Exposition<W> {
    /// Quantiles that a histogram is summed up by.
    const QUANTILES: [f64; 5] = [0.5, 0.95, 0.99, 0.999, 0.9999];

    /// Begins an exposition.
    pub fn new(to: W) -> Self {
        Self { to }
    }

    /// Writes a group: a family a statistic, a sample for each of `samples`. Counters end in `_total`.
    ///
    /// # Errors
    /// If a name is not allowed, or the writer refuses.
    pub fn group<S: Stats>(&mut self, samples: &[(Labels<'_>, S)]) -> Result<(), ExpositionError> {
        for (i, field) in S::FIELDS.iter().enumerate() {
            let name = field.name.strip_prefix("r#").unwrap_or(field.name);
            let (suffix, kind) = match field.kind {
                Kind::Counter => ("_total", "counter"),
                Kind::Gauge => ("", "gauge"),
            };
            let metric = format!("{}_{name}{suffix}", S::NAME);
            self.family(&metric, field.help, kind)?;
            for (labels, stats) in samples {
                let Some((_, value)) = values(stats).nth(i) else {
                    continue;
                };
                self.sample(&metric, labels, None, value)?;
            }
        }
        Ok(())
    }

    /// Writes histograms as one summary: quantiles, sum, count. The sum is the mean times the count, so within 1.6 %.
    ///
    /// # Errors
    /// If a name is not allowed, or the writer refuses.
    pub fn histogram<const BUCKETS: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: &[(Labels<'_>, &HistogramSnapshot<BUCKETS>)],
    ) -> Result<(), ExpositionError> {
        self.family(name, help, "summary")?;
        for (labels, snapshot) in samples {
            let quantiles = snapshot.quantiles(Self::QUANTILES);
            for (q, value) in Self::QUANTILES.iter().zip(quantiles) {
                self.sample(name, labels, Some(&q.to_string()), value)?;
            }
            let sum = snapshot.mean() * snapshot.count() as f64;
            self.sample(&format!("{name}_sum"), labels, None, sum)?;
            self.sample(&format!("{name}_count"), labels, None, snapshot.count())?;
        }
        Ok(())
    }

    fn family(&mut self, name: &str, help: &str, kind: &str) -> Result<(), ExpositionError> {
        allowed(name)?;
        write!(self.to, "# HELP {name} ")?;
        escape(&mut self.to, help.trim(), false)?;
        writeln!(self.to, "\n# TYPE {name} {kind}")?;
        Ok(())
    }

    fn sample(
        &mut self,
        name: &str,
        labels: Labels<'_>,
        quantile: Option<&str>,
        value: impl fmt::Display,
    ) -> Result<(), ExpositionError> {
        self.to.write_str(name)?;
        let all = labels.iter().copied().chain(quantile.map(|q| ("quantile", q)));
        let mut opened = false;
        for (label, value) in all {
            allowed(label)?;
            write!(self.to, "{}{label}=\"", if opened { ',' } else { '{' })?;
            escape(&mut self.to, value, true)?;
            self.to.write_char('"')?;
            opened = true;
        }
        writeln!(self.to, "{} {value}", if opened { "}" } else { "" })?;
        Ok(())
    }
}

fn allowed(name: &str) -> Result<(), ExpositionError> {
    let fits = |(i, c): (usize, char)| c == '_' || c.is_ascii_alphabetic() || (i > 0 && c.is_ascii_digit());
    if !name.is_empty() && name.chars().enumerate().all(fits) {
        Ok(())
    } else {
        Err(ExpositionError::Name(name.into()))
    }
}

/// Backslash and line feed are escaped everywhere, the quote in label values.
fn escape(to: &mut impl Write, text: &str, quoted: bool) -> fmt::Result {
    for c in text.chars() {
        match c {
            '\\' => to.write_str("\\\\")?,
            '\n' => to.write_str("\\n")?,
            '"' if quoted => to.write_str("\\\"")?,
            c => to.write_char(c)?,
        }
    }
    Ok(())
}
