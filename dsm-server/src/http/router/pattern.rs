//! Patterns of paths, and what their parameters stand for.

/// A parameter in the pattern of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathParameter {
    /// Its name.
    pub name: &'static str,
    /// Whether it stands for all that is left of the path, slashes included.
    pub tail: bool,
}

impl PathParameter {
    /// The parameter that a segment of a pattern is; `None` for a literal or malformed one.
    pub(super) fn of(segment: &'static str) -> Option<Self> {
        let name = segment.strip_prefix('{')?.strip_suffix('}')?;
        Some(match name.strip_suffix('…') {
            Some(name) => Self { name, tail: true },
            None => Self { name, tail: false },
        })
    }
}

/// A route's pattern and where its parameters stand.
#[derive(Debug, Default)]
pub(crate) struct Pattern {
    params: Vec<Param>,
}

#[derive(Debug)]
struct Param {
    name: &'static str,
    segment: usize,
    tail: bool,
}

impl Pattern {
    /// The pattern in the tree's own notation, and where its parameters stand.
    pub(super) fn parse(text: &'static str) -> Option<(String, Self)> {
        let mut params = Vec::new();
        let mut tree = String::with_capacity(text.len());
        let segments = text.strip_prefix('/')?;
        for (segment, part) in segments.split('/').enumerate() {
            tree.push('/');
            let Some(PathParameter { name, tail }) = PathParameter::of(part) else {
                if part.contains(['{', '}']) {
                    return None;
                }
                tree.push_str(&part.to_ascii_lowercase());
                continue;
            };
            tree.push_str(if tail { "{*" } else { "{" });
            tree.push_str(name);
            tree.push('}');
            params.push(Param {
                name,
                segment,
                tail,
            });
        }
        Some((tree, Self { params }))
    }

    /// The part of `path`, which matches this pattern, that `name` stands for.
    pub(crate) fn param<'p>(&self, path: &'p str, name: &str) -> Option<&'p str> {
        let param = self.params.iter().find(|param| param.name == name)?;
        let mut rest = path.strip_prefix('/')?;
        for _ in 0..param.segment {
            rest = rest.split_once('/')?.1;
        }
        if param.tail {
            Some(rest)
        } else {
            rest.split('/').next()
        }
    }
}
