//! Statistics as data for serde.

use crate::group::{Value, values};
use crate::{Stats, Summary};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::fmt;
use std::marker::PhantomData;

/// Writes a group as a map from names to numbers.
pub fn serialize<S: Stats, Z: Serializer>(stats: &S, serializer: Z) -> Result<Z::Ok, Z::Error> {
    let mut map = serializer.serialize_map(Some(S::FIELDS.len()))?;
    for (field, value) in values(stats) {
        match value {
            Value::Counter(v) => map.serialize_entry(field.name, &v)?,
            Value::Gauge(v) => map.serialize_entry(field.name, &v)?,
        }
    }
    map.end()
}

/// Reads a group from such a map. Statistics that are missing are 0, unknown ones are skipped: writers and readers may be
/// of different versions.
pub fn deserialize<'de, S: Stats, D: Deserializer<'de>>(deserializer: D) -> Result<S, D::Error> {
    deserializer.deserialize_map(GroupVisitor(PhantomData))
}

struct GroupVisitor<S>(PhantomData<S>);

impl<'de, S: Stats> Visitor<'de> for GroupVisitor<S> {
    type Value = S;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a map of the statistics of {}", S::NAME)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<S, A::Error> {
        let mut words = S::ZERO;
        while let Some(name) = map.next_key::<String>()? {
            let Some(i) = S::FIELDS.iter().position(|field| field.name == name) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            words.as_mut()[i] = match S::FIELDS[i].kind {
                crate::Kind::Counter => map.next_value::<u64>()?,
                crate::Kind::Gauge => map.next_value::<i64>()?.cast_unsigned(),
            };
        }
        Ok(S::from_words(&words))
    }
}

impl Serialize for Summary {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let mut map = serializer.serialize_map(Some(9))?;
        map.serialize_entry("count", &self.count)?;
        map.serialize_entry("mean", &self.mean)?;
        map.serialize_entry("p50", &self.p50)?;
        map.serialize_entry("p90", &self.p90)?;
        map.serialize_entry("p95", &self.p95)?;
        map.serialize_entry("p99", &self.p99)?;
        map.serialize_entry("p999", &self.p999)?;
        map.serialize_entry("p9999", &self.p9999)?;
        map.serialize_entry("max", &self.max)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Summary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(SummaryVisitor)
    }
}

/// As lenient as that of groups.
struct SummaryVisitor;

impl<'de> Visitor<'de> for SummaryVisitor {
    type Value = Summary;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of the figures of a summary")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Summary, A::Error> {
        let mut summary = Summary::default();
        while let Some(name) = map.next_key::<String>()? {
            let figure = match name.as_str() {
                "mean" => {
                    summary.mean = map.next_value()?;
                    continue;
                }
                "count" => &mut summary.count,
                "p50" => &mut summary.p50,
                "p90" => &mut summary.p90,
                "p95" => &mut summary.p95,
                "p99" => &mut summary.p99,
                "p999" => &mut summary.p999,
                "p9999" => &mut summary.p9999,
                "max" => &mut summary.max,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *figure = map.next_value()?;
        }
        Ok(summary)
    }
}

/// Implements both traits for a group, or neither without the feature.
#[doc(hidden)]
#[macro_export]
macro_rules! __serde {
    ($name:ident) => {
        impl $crate::__private_serde::Serialize for $name {
            fn serialize<Z: $crate::__private_serde::Serializer>(
                &self,
                z: Z,
            ) -> ::std::result::Result<Z::Ok, Z::Error> {
                $crate::as_data::serialize(self, z)
            }
        }

        impl<'de> $crate::__private_serde::Deserialize<'de> for $name {
            fn deserialize<D: $crate::__private_serde::Deserializer<'de>>(
                d: D,
            ) -> ::std::result::Result<Self, D::Error> {
                $crate::as_data::deserialize(d)
            }
        }
    };
}
