//! The address a request comes from, which proxies may vouch for and nobody else.
//!
//! Whoever connects can write any forwarding header. Only what a trusted proxy appended counts,
//! and since proxies append on the right, the chain is read from there.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use dsm_core::oauth1::Scheme;
use http::header::{FORWARDED, HeaderMap, HeaderName};
use ipnet::{IpNet, Ipv4Net};

/// The one header in which proxies name their client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, a list of addresses.
    XForwardedFor,
    /// `Forwarded`, [RFC 7239](https://www.rfc-editor.org/rfc/rfc7239).
    Forwarded,
    /// `X-Real-IP`, one address.
    XRealIp,
}

/// The name is none of a header that names clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be x-forwarded-for, forwarded or x-real-ip")]
pub struct UnknownHeader;

/// Why the client behind a trusted proxy is not known. Repeats nothing of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// The proxy did not send the header.
    #[error("is missing")]
    Missing,
    /// Where the client should stand there is no address, or the header breaks its grammar.
    #[error("is malformed")]
    Malformed,
    /// Every address in it is a trusted proxy's.
    #[error("names nobody but trusted proxies")]
    OnlyProxies,
}

impl FromStr for ForwardedHeader {
    type Err = UnknownHeader;

    fn from_str(text: &str) -> Result<Self, UnknownHeader> {
        [Self::XForwardedFor, Self::Forwarded, Self::XRealIp]
            .into_iter()
            .find(|header| text.eq_ignore_ascii_case(header.name().as_str()))
            .ok_or(UnknownHeader)
    }
}

impl fmt::Display for ForwardedHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name().as_str())
    }
}

impl ForwardedHeader {
    fn name(self) -> HeaderName {
        match self {
            Self::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
            Self::Forwarded => FORWARDED,
            Self::XRealIp => HeaderName::from_static("x-real-ip"),
        }
    }
}

/// Which proxies are trusted, and in which header they name their client. By default none is.
#[derive(Debug, Clone)]
pub struct Forwarding {
    trusted: Vec<IpNet>,
    header: ForwardedHeader,
}

impl Default for Forwarding {
    fn default() -> Self {
        Self::new([], ForwardedHeader::XForwardedFor)
    }
}

impl Forwarding {
    /// Trusts the proxies in `trusted` to name their client in `header`.
    pub fn new(trusted: impl IntoIterator<Item = IpNet>, header: ForwardedHeader) -> Self {
        Self {
            trusted: trusted.into_iter().map(canonical_net).collect(),
            header,
        }
    }

    /// The address of the client behind `peer`; an IPv4-mapped one as IPv4.
    ///
    /// The peer itself, unless it is a trusted proxy: then the first address from the right that
    /// is not one.
    ///
    /// # Errors
    ///
    /// What the proxies say is missing, malformed or names nobody but themselves. Such a request must
    /// be refused.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Result<IpAddr, Unresolved> {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return Ok(peer);
        }
        let instances: Option<Vec<&str>> = headers
            .get_all(self.header.name())
            .iter()
            .map(|value| value.to_str().ok())
            .collect();
        let instances = instances.ok_or(Unresolved::Malformed)?;
        if instances.is_empty() {
            return Err(Unresolved::Missing);
        }
        match self.header {
            ForwardedHeader::XForwardedFor => {
                let hops = instances
                    .iter()
                    .rev()
                    .flat_map(|instance| instance.rsplit(','));
                self.first_untrusted(hops.map(|hop| parse_node(trim(hop), false)))
            }
            ForwardedHeader::Forwarded => {
                let mut hops = Vec::new();
                for instance in instances {
                    hops.extend(forwarded_hops(instance).ok_or(Unresolved::Malformed)?);
                }
                self.first_untrusted(hops.into_iter().rev().map(|hop| hop.client))
            }
            ForwardedHeader::XRealIp => match instances.as_slice() {
                [one] => self.first_untrusted([parse_node(trim(one), false)]),
                _ => Err(Unresolved::Malformed),
            },
        }
    }

    /// What the client behind `peer` speaks: `own` is what `peer` speaks here, which counts unless it
    /// is a trusted proxy that says otherwise. With `Forwarded` that is the `proto` beside the
    /// client's address, with the other headers `X-Forwarded-Proto`.
    ///
    /// `None` when what the proxy says is malformed, or is said twice.
    pub fn scheme(&self, peer: IpAddr, own: Scheme, headers: &HeaderMap) -> Option<Scheme> {
        if !self.trusts(peer) {
            return Some(own);
        }
        let said = match self.header {
            ForwardedHeader::Forwarded => {
                let mut hops = Vec::new();
                for instance in headers.get_all(self.header.name()) {
                    hops.extend(forwarded_hops(instance.to_str().ok()?)?);
                }
                let client = hops.into_iter().rev();
                let mut client =
                    client.skip_while(|hop| hop.client.is_some_and(|it| self.trusts(it)));
                client.next().and_then(|hop| hop.proto)
            }
            ForwardedHeader::XForwardedFor | ForwardedHeader::XRealIp => {
                let mut values = headers.get_all("x-forwarded-proto").iter();
                match (values.next(), values.next()) {
                    (None, _) => None,
                    (Some(one), None) => Some(trim(one.to_str().ok()?).to_owned()),
                    (Some(_), Some(_)) => return None,
                }
            }
        };
        match said.as_deref() {
            None => Some(own),
            Some(text) if text.eq_ignore_ascii_case("https") => Some(Scheme::Https),
            Some(text) if text.eq_ignore_ascii_case("http") => Some(Scheme::Http),
            Some(_) => None,
        }
    }

    /// Whether `address` is one of the proxies.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|net| net.contains(&address))
    }

    /// The header in which the proxies name their client.
    pub fn header(&self) -> ForwardedHeader {
        self.header
    }

    fn first_untrusted(
        &self,
        hops: impl IntoIterator<Item = Option<IpAddr>>,
    ) -> Result<IpAddr, Unresolved> {
        for hop in hops {
            let hop = hop.ok_or(Unresolved::Malformed)?;
            if !self.trusts(hop) {
                return Ok(hop);
            }
        }
        Err(Unresolved::OnlyProxies)
    }
}

/// `net` as IPv4 when all of it is IPv4-mapped.
fn canonical_net(net: IpNet) -> IpNet {
    if let IpNet::V6(v6) = net
        && let Some(prefix) = v6.prefix_len().checked_sub(96)
        && let Some(address) = v6.addr().to_ipv4_mapped()
        && let Ok(v4) = Ipv4Net::new(address, prefix)
    {
        return IpNet::V4(v4);
    }
    net
}

/// Without the optional whitespace of HTTP, which is less than Unicode's.
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// An address with or without a port. IPv6 with a port stands in brackets; `bracketed` wants them
/// always. The standard parsers take no leading zeros, no `0x` and no zone.
fn parse_node(text: &str, bracketed: bool) -> Option<IpAddr> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        match port.strip_prefix(':') {
            Some(port) => valid_port(port)?,
            None if port.is_empty() => {}
            None => return None,
        }
        return Some(IpAddr::V6(address).to_canonical());
    }
    if !bracketed && let Ok(address) = text.parse::<Ipv6Addr>() {
        return Some(IpAddr::V6(address).to_canonical());
    }
    let address = match text.split_once(':') {
        Some((address, port)) => {
            valid_port(port)?;
            address
        }
        None => text,
    };
    address.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
}

fn valid_port(text: &str) -> Option<()> {
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    (digits && text.parse::<u16>().is_ok()).then_some(())
}

/// One element of a `Forwarded` header.
struct Hop {
    /// None when it is obfuscated or unknown.
    client: Option<IpAddr>,
    /// What the client speaks, if the element says so.
    proto: Option<String>,
}

/// The elements of one `Forwarded` header, in order. `None` when the header is malformed.
fn forwarded_hops(text: &str) -> Option<Vec<Hop>> {
    let mut hops = Vec::new();
    let mut rest = text;
    loop {
        let (mut client, mut proto) = (None, None);
        loop {
            let (name, after) = token(trim(rest))?;
            let (value, after) = value(after.strip_prefix('=')?)?;
            if name.eq_ignore_ascii_case("for") {
                if client.replace(value).is_some() {
                    return None;
                }
            } else if name.eq_ignore_ascii_case("proto") {
                // Twice it says nothing that can be read.
                let twice = proto.is_some();
                proto = Some(if twice { String::new() } else { value });
            }
            rest = trim(after);
            match rest.strip_prefix(';') {
                Some(more) => rest = more,
                None => break,
            }
        }
        hops.push(Hop {
            client: parse_node(&client?, true),
            proto,
        });
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None if rest.is_empty() => return Some(hops),
            None => return None,
        }
    }
}

/// A token of RFC 9110 and what follows it.
fn token(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric() && !"!#$%&'*+-.^_`|~".contains(c))
        .unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// A token or a quoted string, unquoted, and what follows it.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        return token(text).map(|(token, rest)| (token.to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            _ => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
