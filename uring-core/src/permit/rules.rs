//! Rules in order, of which the first that matches decides.

use super::heads::{Heads, Key};
use super::normal::Normal;
use super::pattern::{BadPattern, Kind, Matcher, Pattern, beneath};
use super::table::{Search, Table};
use std::sync::Arc;

/// What a rule says of the paths that it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They may be used.
    Allow,
    /// They may not.
    Deny,
}

/// What the rules say of one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The verdict.
    pub verdict: Verdict,
    /// The number of the rule that decided, counted from 0; `None` where none matched and the default did.
    pub rule: Option<usize>,
}

/// Rules, compiled once and never changed. Cheap to clone.
///
/// The first rule that matches decides; where none does, the default: [`Verdict::Deny`] unless [`otherwise`](RulesBuilder::otherwise) says so.
///
/// ```
/// use uring_core::permit::{Normal, Pattern, Rules, Verdict};
/// let rules = Rules::builder()
///     .deny(Pattern::glob("/srv/**/.git/**"))
///     .allow(Pattern::prefix("/srv"))
///     .build()?;
/// let decide = |path| rules.decide(&Normal::of(path).unwrap());
/// assert_eq!(decide("/srv/www/index.html").verdict, Verdict::Allow);
/// assert_eq!(decide("/srv/www/.git/config").rule, Some(0));
/// assert_eq!((decide("/etc/passwd").verdict, decide("/etc/passwd").rule), (Verdict::Deny, None));
/// # Ok::<(), uring_core::permit::BadPattern>(())
/// ```
///
/// # Costs
/// One pass over the path to normalise it, one over its first seven components to hash its prefixes, a scan of one cache line for
/// sixteen rules (a hash map's probe for each prefix where rules are many), a comparison with the path for each rule whose anchor hits.
/// Allocates nothing. Claims `scan.rules.*`, `scan.decide.*`. A glob is found by the components before its first wildcard: of
/// many that begin with a wildcard each is compared.
#[derive(Clone, Debug)]
pub struct Rules {
    compiled: Arc<Compiled>,
}

#[derive(Debug)]
struct Compiled {
    rules: Box<[Rule]>,
    table: Table,
    otherwise: Verdict,
}

#[derive(Debug)]
struct Rule {
    verdict: Verdict,
    matcher: Matcher,
    pattern: Pattern,
}

/// Collects rules; [`Rules::builder`] makes one.
#[derive(Clone, Debug)]
pub struct RulesBuilder {
    rules: Vec<(Verdict, Pattern)>,
    otherwise: Verdict,
}

impl RulesBuilder {
    /// Adds a rule that allows.
    pub fn allow(self, pattern: Pattern) -> Self {
        self.rule(Verdict::Allow, pattern)
    }

    /// Adds a rule that denies.
    pub fn deny(self, pattern: Pattern) -> Self {
        self.rule(Verdict::Deny, pattern)
    }

    /// Adds a rule.
    pub fn rule(mut self, verdict: Verdict, pattern: Pattern) -> Self {
        self.rules.push((verdict, pattern));
        self
    }

    /// Sets what holds where no rule matches.
    pub fn otherwise(mut self, verdict: Verdict) -> Self {
        self.otherwise = verdict;
        self
    }

    /// Checks every pattern and compiles. O(rules).
    ///
    /// # Errors
    /// The first pattern that is refused.
    pub fn build(self) -> Result<Rules, BadPattern> {
        self.build_by(Search::Auto)
    }

    /// Compiles for one way of searching, to measure it or to test by it; see [`Search::is_available`].
    ///
    /// # Errors
    /// The first pattern that is refused.
    pub fn build_by(self, search: Search) -> Result<Rules, BadPattern> {
        self.compile(search, Key::random())
    }

    pub(super) fn compile(self, search: Search, key: Key) -> Result<Rules, BadPattern> {
        let mut rules = Vec::with_capacity(self.rules.len());
        for (index, (verdict, pattern)) in self.rules.into_iter().enumerate() {
            match pattern.compiled() {
                Ok(matcher) => rules.push(Rule {
                    verdict,
                    matcher,
                    pattern,
                }),
                Err((at, cause)) => {
                    return Err(BadPattern {
                        of: "rule",
                        index,
                        pattern: pattern.text,
                        at,
                        cause,
                    });
                }
            }
        }
        let anchors: Vec<Vec<u8>> = rules.iter().map(Rule::anchor).collect();
        let table = Table::new(anchors.iter().map(Vec::as_slice), key, search);
        Ok(Rules {
            compiled: Arc::new(Compiled {
                rules: rules.into(),
                table,
                otherwise: self.otherwise,
            }),
        })
    }
}

impl Rule {
    fn anchor(&self) -> Vec<u8> {
        match &self.matcher {
            Matcher::Exact(path) | Matcher::Prefix(path) => path.to_vec(),
            Matcher::Glob(glob) => glob.anchor(),
        }
    }
}

impl Rules {
    /// Begins with no rule, and denies what no rule matches.
    pub fn builder() -> RulesBuilder {
        RulesBuilder {
            rules: Vec::new(),
            otherwise: Verdict::Deny,
        }
    }

    /// Decides. The answer depends on the spelling alone: no file is looked at.
    #[inline]
    pub fn decide(&self, path: &Normal<'_>) -> Decision {
        self.decide_by(&self.heads(path), path)
    }

    /// The number of rules.
    pub fn len(&self) -> usize {
        self.compiled.rules.len()
    }

    /// Whether there is no rule, and the default decides all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a rule was written as; `None` past the last.
    pub fn pattern(&self, rule: usize) -> Option<&Pattern> {
        self.compiled.rules.get(rule).map(|rule| &rule.pattern)
    }

    /// The hashes of a path, for the claim that measures the scan alone.
    #[doc(hidden)]
    #[inline]
    pub fn heads(&self, path: &Normal<'_>) -> Heads {
        self.compiled.table.heads(path.as_bytes())
    }

    /// Decides by hashes made before, for the claim that measures the scan alone.
    #[doc(hidden)]
    #[inline(always)]
    pub fn decide_by(&self, heads: &Heads, path: &Normal<'_>) -> Decision {
        let (compiled, path) = (&*self.compiled, path.as_bytes());
        let rule = compiled
            .table
            .first(heads, |rule| compiled.rules[rule].matcher.matches(path));
        let verdict = rule.map_or(compiled.otherwise, |rule| compiled.rules[rule].verdict);
        Decision { verdict, rule }
    }

    /// The verdict on every path at and beneath `prefix`, if it is one; else a rule that may decide otherwise there than what comes
    /// after it. Never says so wrongly; may fail to, since a glob counts as able to match anything beneath its anchor. O(rules).
    pub(super) fn verdict_beneath(&self, prefix: &[u8]) -> Result<Verdict, usize> {
        let mut may_match = Vec::new();
        let mut decides = self.compiled.otherwise;
        for (index, rule) in self.compiled.rules.iter().enumerate() {
            let anchor = rule.anchor();
            let holds_all = beneath(&anchor, prefix).is_some();
            match rule.pattern.kind {
                Kind::Prefix if holds_all => {
                    decides = rule.verdict;
                    break;
                }
                Kind::Glob if holds_all => may_match.push((index, rule.verdict)),
                _ if beneath(prefix, &anchor).is_some() => may_match.push((index, rule.verdict)),
                _ => {}
            }
        }
        match may_match.iter().find(|(_, verdict)| *verdict != decides) {
            Some(&(rule, _)) => Err(rule),
            None => Ok(decides),
        }
    }
}
