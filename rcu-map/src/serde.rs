//! Maps and cells as data: what is written is one consistent version.

use crate::{RcuCell, RcuMap, Snapshot, SnapshotMap};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;

impl<K, V, S> Serialize for Snapshot<K, V, S>
where
    K: Serialize,
    V: Serialize,
{
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        serializer.collect_map(self.iter())
    }
}

/// Writes a [`snapshot`](RcuMap::snapshot).
impl<K, V, S> Serialize for RcuMap<K, V, S>
where
    K: Eq + Hash + Serialize,
    V: Serialize,
    S: BuildHasher + Clone,
{
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        self.snapshot().serialize(serializer)
    }
}

/// Capacity believed from an input that merely claims it.
const HINT_MAX: usize = 4096;

impl<'de, K, V, S> Deserialize<'de> for RcuMap<K, V, S>
where
    K: Deserialize<'de> + Eq + Hash + Send + Sync + 'static,
    V: Deserialize<'de> + Send + Sync + 'static,
    S: BuildHasher + Default,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<K, V, S>(PhantomData<RcuMap<K, V, S>>);
        impl<'de, K, V, S> Visitor<'de> for Entries<K, V, S>
        where
            K: Deserialize<'de> + Eq + Hash + Send + Sync + 'static,
            V: Deserialize<'de> + Send + Sync + 'static,
            S: BuildHasher + Default,
        {
            type Value = RcuMap<K, V, S>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                let capacity = entries.size_hint().unwrap_or(0).min(HINT_MAX);
                let map = RcuMap::<K, V>::builder()
                    .capacity(capacity)
                    .hasher(S::default())
                    .build();
                while let Some((key, value)) = entries.next_entry()? {
                    map.insert(key, value);
                }
                Ok(map)
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

impl<K, V, S> Serialize for SnapshotMap<K, V, S>
where
    K: Eq + Hash + Serialize + Send + Sync + 'static,
    V: Serialize + Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
{
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        self.load().serialize(serializer)
    }
}

impl<'de, K, V, S> Deserialize<'de> for SnapshotMap<K, V, S>
where
    K: Deserialize<'de> + Eq + Hash + Send + Sync + 'static,
    V: Deserialize<'de> + Send + Sync + 'static,
    S: BuildHasher + Default + Send + Sync + 'static,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        HashMap::deserialize(deserializer).map(Self::from)
    }
}

impl<T: Serialize + Send + Sync + 'static> Serialize for RcuCell<T> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        self.load().serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de> + Send + Sync + 'static> Deserialize<'de> for RcuCell<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::new)
    }
}
