//! Globs on the components of a path.
//!
//! `**` is any number of components, none among them; every other part is one component, in which `*` is any run of bytes,
//! `?` one byte, `[a-c_]` one of these ASCII bytes, `[!a-c]` any other byte, and `\` takes the next byte as it is. A leading dot is
//! a byte like another. Matching takes at most (parts of the glob) x (components of the path) comparisons of components, each at most
//! (tokens) x (bytes): both wildcards go back to their last place alone, so no path makes it exponential.

use super::pattern::Cause;

/// A glob, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob {
    parts: Box<[Part]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Box<[u8]>),
    Wild(Box<[Token]>),
    /// `**`; no two stand side by side.
    Deep,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    Any,
    Star,
    Class { ascii: u128, negated: bool },
}

impl Glob {
    /// Takes apart a pattern that begins with a slash. `Err` says where, and why not.
    pub(super) fn new(pattern: &[u8]) -> Result<Self, (usize, Cause)> {
        let mut parts = Vec::new();
        let mut at = 1;
        if pattern.len() > 1 {
            for component in pattern[1..].split(|&byte| byte == b'/') {
                let part = Part::new(component).map_err(|(inside, cause)| (at + inside, cause))?;
                if part != Part::Deep || parts.last() != Some(&Part::Deep) {
                    parts.push(part);
                }
                at += component.len() + 1;
            }
        }
        Ok(Self { parts: parts.into() })
    }

    /// The normal path of the components before the first wildcard.
    pub(super) fn anchor(&self) -> Vec<u8> {
        let mut anchor = Vec::new();
        for part in &self.parts {
            let Part::Literal(name) = part else { break };
            anchor.push(b'/');
            anchor.extend_from_slice(name);
        }
        if anchor.is_empty() {
            anchor.push(b'/');
        }
        anchor
    }

    /// Whether a normal path matches.
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        let path = if path.len() == 1 { &[] } else { path };
        let (mut part, mut at) = (0, 0);
        // After the last `**`: which part comes next, and where it was tried last.
        let mut again: Option<(usize, usize)> = None;
        loop {
            match self.parts.get(part) {
                Some(Part::Deep) => {
                    part += 1;
                    again = Some((part, at));
                    continue;
                }
                Some(one) if at < path.len() => {
                    let end = end_of(path, at);
                    if one.matches(&path[at + 1..end]) {
                        (part, at) = (part + 1, end);
                        continue;
                    }
                }
                None if at == path.len() => return true,
                _ => {}
            }
            match again {
                Some((next, tried)) if tried < path.len() => {
                    let tried = end_of(path, tried);
                    again = Some((next, tried));
                    (part, at) = (next, tried);
                }
                _ => return false,
            }
        }
    }
}

/// Where the component ends whose slash stands at `at`.
fn end_of(path: &[u8], at: usize) -> usize {
    let rest = &path[at + 1..];
    at + 1 + rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len())
}

impl Part {
    fn new(text: &[u8]) -> Result<Self, (usize, Cause)> {
        if text == b"**" {
            return Ok(Part::Deep);
        }
        let mut tokens = Vec::new();
        let mut at = 0;
        while let Some(&byte) = text.get(at) {
            let (token, len) = match byte {
                b'*' if text.get(at + 1) == Some(&b'*') => return Err((at, Cause::DeepInComponent)),
                b'*' => (Token::Star, 1),
                b'?' => (Token::Any, 1),
                b'[' => class(&text[at..]).map_err(|(inside, cause)| (at + inside, cause))?,
                b'\\' => match text.get(at + 1) {
                    Some(&byte) => (Token::Byte(byte), 2),
                    None => return Err((at, Cause::EscapesNothing)),
                },
                byte => (Token::Byte(byte), 1),
            };
            tokens.push(token);
            at += len;
        }
        let literal = tokens.iter().map(|token| match token {
            Token::Byte(byte) => Some(*byte),
            _ => None,
        });
        match literal.collect::<Option<Box<[u8]>>>() {
            Some(name) if matches!(&name[..], b"." | b"..") => Err((0, Cause::Dots)),
            Some(name) if name.is_empty() => Err((0, Cause::EmptyComponent)),
            Some(name) => Ok(Part::Literal(name)),
            None => Ok(Part::Wild(tokens.into())),
        }
    }

    fn matches(&self, name: &[u8]) -> bool {
        match self {
            Part::Literal(literal) => **literal == *name,
            Part::Wild(tokens) => wild(tokens, name),
            Part::Deep => false,
        }
    }
}

/// Reads a class, which begins with `[`; gives it and its length.
fn class(text: &[u8]) -> Result<(Token, usize), (usize, Cause)> {
    let negated = text.get(1) == Some(&b'!');
    let mut at = if negated { 2 } else { 1 };
    let first = at;
    let mut ascii = 0u128;
    loop {
        let low = match text.get(at) {
            None => return Err((0, Cause::ClassOpen)),
            Some(b']') if at > first => break,
            Some(b']') => return Err((0, Cause::ClassEmpty)),
            Some(_) => member(text, &mut at)?,
        };
        let is_range = text.get(at) == Some(&b'-') && !matches!(text.get(at + 1), None | Some(b']'));
        let high = if is_range {
            at += 1;
            member(text, &mut at)?
        } else {
            low
        };
        if high < low {
            return Err((at - 1, Cause::RangeReversed));
        }
        (low..=high).for_each(|byte| ascii |= 1 << byte);
    }
    Ok((Token::Class { ascii, negated }, at + 1))
}

/// Reads one byte of a class, itself or after a `\`, and steps past it.
fn member(text: &[u8], at: &mut usize) -> Result<u8, (usize, Cause)> {
    *at += usize::from(text[*at] == b'\\');
    match text.get(*at) {
        None => Err((0, Cause::ClassOpen)),
        Some(byte) if !byte.is_ascii() => Err((*at, Cause::ClassNotAscii)),
        Some(&byte) => {
            *at += 1;
            Ok(byte)
        }
    }
}

/// Whether a component matches; on a mismatch the last `*` takes one byte more.
fn wild(tokens: &[Token], name: &[u8]) -> bool {
    let (mut token, mut at) = (0, 0);
    let mut again: Option<(usize, usize)> = None;
    loop {
        let fits = match (tokens.get(token), name.get(at)) {
            (Some(Token::Star), _) => {
                token += 1;
                again = Some((token, at));
                continue;
            }
            (None, None) => return true,
            (Some(Token::Byte(wanted)), Some(byte)) => wanted == byte,
            (Some(Token::Any), Some(_)) => true,
            (Some(Token::Class { ascii, negated }), Some(byte)) => {
                (byte.is_ascii() && ascii >> byte & 1 == 1) != *negated
            }
            _ => false,
        };
        if fits {
            (token, at) = (token + 1, at + 1);
            continue;
        }
        match again {
            Some((next, tried)) if tried < name.len() => {
                again = Some((next, tried + 1));
                (token, at) = (next, tried + 1);
            }
            _ => return false,
        }
    }
}
