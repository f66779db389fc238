//! Statistics in the text format that Prometheus scrapes.
//!
//! Prometheus documentation, "Exposition formats", text format 0.0.4.

use crate::group::values;
use crate::names::{allowed, suffix};
use crate::{Field, HistogramSnapshot, Kind, Stats};
use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::{self, Write};

/// Pairs of label name and value that tell samples of one metric apart.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// The label that tells a summary's quantiles apart.
const QUANTILE: &str = "quantile";

/// Why an exposition was not written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExpositionError {
    /// The writer refused; it may hold the beginning.
    Write,
    /// A metric or label name that Prometheus does not allow: letters, digits and underscores, no digit first, and in a
    /// label no two underscores first.
    Name(String),
    /// A label that one sample has twice. A summary's samples have a label `quantile` as they are.
    Label(String),
    /// A metric of which two samples have the same labels.
    Sample(String),
    /// A metric that was written before: its samples must come in one piece.
    Family(String),
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
                "{name:?} is not a Prometheus name: use letters, digits and underscores, no digit first, and in a label \
                 no two underscores first"
            ),
            Self::Label(name) => write!(
                f,
                "label {name:?} is there twice: name each label of a sample once, and none of a summary `quantile`"
            ),
            Self::Sample(metric) => write!(
                f,
                "two samples of {metric} have the same labels: tell them apart by a label"
            ),
            Self::Family(metric) => write!(
                f,
                "{metric} was written before: give all samples of a metric in one call, and each metric a name of its own"
            ),
        }
    }
}

impl Error for ExpositionError {}

/// Writes metrics as text.
///
/// A metric family must come in one piece, so all samples of a group are given in one call. What a scraper would refuse is
/// refused here, before anything of the call is written: one bad label would cost the whole page.
///
/// ```
/// use seqstats::{Exposition, ExpositionError, groups::SocketStats};
/// let mut text = String::new();
/// let mut exposition = Exposition::new(&mut text);
/// let eth0 = SocketStats { bytes_received: 7, ..Default::default() };
/// exposition.group(&[(&[("port", "80")], eth0)]).unwrap();
/// let again = exposition.group(&[(&[("port", "81")], eth0)]);
/// assert_eq!(again, Err(ExpositionError::Family("socket_accepted_total".into())));
/// assert!(text.contains("\nsocket_bytes_received_total{port=\"80\"} 7\n"));
/// ```
#[derive(Debug)]
pub struct Exposition<W> {
    to: W,
    written: BTreeSet<String>,
}

impl<W: Write> Exposition<W> {
    /// Quantiles that a histogram is summed up by.
    const QUANTILES: [f64; 5] = [0.5, 0.95, 0.99, 0.999, 0.9999];

    /// Begins an exposition.
    pub fn new(to: W) -> Self {
        Self {
            to,
            written: BTreeSet::new(),
        }
    }

    /// Writes a group: a family a statistic, a sample for each of `samples`. Counters end in `_total`. Allocates.
    ///
    /// # Errors
    /// If a name is not allowed or comes twice, or the writer refuses.
    pub fn group<S: Stats>(&mut self, samples: &[(Labels<'_>, S)]) -> Result<(), ExpositionError> {
        let metric = |field: &Field| format!("{}_{}{}", S::NAME, field.name, suffix(field.kind));
        self.admit(S::FIELDS.iter().map(metric).collect(), samples, None)?;
        for (i, field) in S::FIELDS.iter().enumerate() {
            let metric = metric(field);
            let kind = match field.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
            };
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
    /// Allocates.
    ///
    /// # Errors
    /// If a name is not allowed or comes twice, or the writer refuses.
    pub fn histogram<const BUCKETS: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: &[(Labels<'_>, &HistogramSnapshot<BUCKETS>)],
    ) -> Result<(), ExpositionError> {
        let (sum_name, count_name) = (format!("{name}_sum"), format!("{name}_count"));
        let metrics = vec![name.into(), sum_name.clone(), count_name.clone()];
        self.admit(metrics, samples, Some(QUANTILE))?;
        self.family(name, help, "summary")?;
        for (labels, snapshot) in samples {
            let quantiles = snapshot.quantiles(Self::QUANTILES);
            for (q, value) in Self::QUANTILES.iter().zip(quantiles) {
                self.sample(name, labels, Some(&q.to_string()), value)?;
            }
            let sum = snapshot.mean() * snapshot.count() as f64;
            self.sample(&sum_name, labels, None, sum)?;
            self.sample(&count_name, labels, None, snapshot.count())?;
        }
        Ok(())
    }

    /// Notes that these metrics are about to be written with the labels of these samples, beside which each has `own`.
    fn admit<S>(
        &mut self,
        metrics: Vec<String>,
        samples: &[(Labels<'_>, S)],
        own: Option<&str>,
    ) -> Result<(), ExpositionError> {
        if let Some(bad) = metrics.iter().find(|name| !allowed(name)) {
            return Err(ExpositionError::Name(bad.clone()));
        }
        let mut seen = BTreeSet::new();
        for (labels, _) in samples {
            let mut names: Vec<&str> = labels.iter().map(|(name, _)| *name).chain(own).collect();
            if let Some(bad) = names.iter().find(|name| !allowed(name) || name.starts_with("__")) {
                return Err(ExpositionError::Name((*bad).into()));
            }
            names.sort_unstable();
            if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(ExpositionError::Label(twice[0].into()));
            }
            let mut labels = labels.to_vec();
            labels.sort_unstable();
            if !seen.insert(labels) {
                return Err(ExpositionError::Sample(metrics[0].clone()));
            }
        }
        if let Some(again) = metrics.iter().find(|name| self.written.contains(*name)) {
            return Err(ExpositionError::Family(again.clone()));
        }
        self.written.extend(metrics);
        Ok(())
    }

    fn family(&mut self, name: &str, help: &str, kind: &str) -> fmt::Result {
        write!(self.to, "# HELP {name} ")?;
        escape(&mut self.to, help.trim(), false)?;
        writeln!(self.to, "\n# TYPE {name} {kind}")
    }

    fn sample(
        &mut self,
        name: &str,
        labels: Labels<'_>,
        quantile: Option<&str>,
        value: impl fmt::Display,
    ) -> fmt::Result {
        self.to.write_str(name)?;
        let all = labels.iter().copied().chain(quantile.map(|q| (QUANTILE, q)));
        let mut opened = false;
        for (label, value) in all {
            write!(self.to, "{}{label}=\"", if opened { ',' } else { '{' })?;
            escape(&mut self.to, value, true)?;
            self.to.write_char('"')?;
            opened = true;
        }
        writeln!(self.to, "{} {value}", if opened { "}" } else { "" })
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
