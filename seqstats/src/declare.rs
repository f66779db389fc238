//! The declaration of a group of statistics.

/// Declares a group of statistics once: the struct of a snapshot, with [`Stats`](crate::Stats), `Display` and, with
/// feature `serde`, `Serialize` and `Deserialize`.
///
/// `counter` declares a `u64` that only grows, `gauge` an `i64`. The doc comment of a statistic is its help text in a
/// Prometheus [`Exposition`](crate::Exposition); the string after the struct's name begins every metric name. A name that
/// Prometheus does not allow, two metrics of one name, and a statistic without a doc comment do not compile.
///
/// ```
/// seqstats::stats! {
///     /// What a cache did.
///     pub struct CacheStats("cache") {
///         /// Lookups that found something.
///         counter hits,
///         /// Bytes held now.
///         gauge bytes,
///     }
/// }
/// static CACHE: seqstats::Group<CacheStats> = seqstats::Group::new();
/// let mut updater = seqstats::Updater::try_claim(&CACHE).expect("the only updater");
/// updater.update(|s| { s.hits += 1; s.bytes -= 512; });
/// assert_eq!(CACHE.snapshot().to_string(), "hits=1 bytes=-512");
/// ```
///
/// ```compile_fail,E0080
/// seqstats::stats! { /// A name that no scraper reads.
///     pub struct Bad("a \"cache\"") { /// Hits.
///         counter hits } }
/// ```
/// ```compile_fail,E0080
/// seqstats::stats! { /// Letters that no scraper reads.
///     pub struct Bad("cache") { /// Size.
///         gauge größe } }
/// ```
/// ```compile_fail,E0080
/// seqstats::stats! { /// The counter is called `cache_hits_total` too.
///     pub struct Bad("cache") { /// Hits.
///         counter hits, /// All hits.
///         gauge hits_total } }
/// ```
/// ```compile_fail,E0080
/// seqstats::stats! { /// What does it count?
///     pub struct Bad("cache") { counter hits } }
/// ```
/// ```
/// seqstats::stats! { /// Good.
///     pub struct Good("cache") { /// Hits.
///         counter hits, /// Size now.
///         gauge r#type } }
/// assert_eq!(Good::default().to_string(), "hits=0 type=0");
/// ```
#[macro_export]
macro_rules! stats {
    (
        $(#[$attr:meta])*
        $vis:vis struct $name:ident($prefix:literal) {
            $($(#[doc = $help:literal])* $kind:ident $field:ident),+ $(,)?
        }
    ) => {
        $(#[$attr])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        $vis struct $name {
            $($(#[doc = $help])* pub $field: $crate::__stat!(type $kind),)+
        }

        impl $crate::Stats for $name {
            const NAME: &'static str = $prefix;
            const FIELDS: &'static [$crate::Field] = &[$($crate::Field {
                name: $crate::__named(stringify!($field)),
                help: concat!($($help),*),
                kind: $crate::__stat!(kind $kind),
            }),+];
            const ZERO: Self::Words = [0; { [$(stringify!($field)),+].len() }];
            type Words = [u64; { [$(stringify!($field)),+].len() }];

            fn to_words(&self) -> Self::Words {
                [$(u64::from_ne_bytes(self.$field.to_ne_bytes())),+]
            }

            fn from_words(words: &Self::Words) -> Self {
                let [$($field),+] = *words;
                Self { $($field: <$crate::__stat!(type $kind)>::from_ne_bytes($field.to_ne_bytes())),+ }
            }
        }

        const _: () = $crate::__check($prefix, <$name as $crate::Stats>::FIELDS);

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                $crate::__display(self, f)
            }
        }

        $crate::__serde!($name);
    };
}

/// What a statistic of each kind is.
#[doc(hidden)]
#[macro_export]
macro_rules! __stat {
    (type counter) => {
        u64
    };
    (type gauge) => {
        i64
    };
    (kind counter) => {
        $crate::Kind::Counter
    };
    (kind gauge) => {
        $crate::Kind::Gauge
    };
    ($what:ident $other:ident) => {
        compile_error!(concat!(
            "a statistic is a `counter` or a `gauge`, not a `",
            stringify!($other),
            "`"
        ))
    };
}
