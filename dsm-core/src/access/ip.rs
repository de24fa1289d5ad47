use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// An entry of a list of allowed addresses.
///
/// It reads one address (`192.0.2.7`, `2001:db8::7`), a network (`192.0.2.0/24`), a pattern of
/// octets (`192.168.1.*`), or `*` for any address, and is written in canonical form. An
/// IPv4-mapped IPv6 address counts as the IPv4 address it maps, in the entry as in what it is
/// compared with; so an IPv6 network never allows an IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(into = "String", try_from = "String")]
pub struct IpRule(Form);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Form {
    Any,
    /// A network, with no bit set beyond its prefix; one address is a network of itself.
    Network(IpNet),
    /// Octets of which at least one is free.
    Octets([Option<u8>; 4]),
}

/// Why a text is not an [`IpRule`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IpRuleError {
    /// None of the known forms.
    #[error(
        "an allowed address is an IP address without leading zeros, a network such as \
         192.0.2.0/24, a pattern such as 192.168.1.*, or *"
    )]
    Form,
    /// A pattern that is not made of four octets.
    #[error(
        "a pattern of addresses has four parts, each of them * or a number from 0 to 255 without \
         leading zeros"
    )]
    Octets,
    /// A prefix length that the address does not have.
    #[error("a prefix length is a number from 0 to {max} without leading zeros")]
    Prefix {
        /// The longest one.
        max: u8,
    },
    /// A network with bits set beyond its prefix.
    #[error("the address has bits set beyond the prefix; the network it lies in is {network}")]
    HostBits {
        /// What may have been meant.
        network: IpNet,
    },
}

impl IpRule {
    /// Whether a client with this address is allowed.
    pub fn allows(&self, ip: IpAddr) -> bool {
        match (self.0, ip.to_canonical()) {
            (Form::Any, _) => true,
            (Form::Network(network), ip) => network.contains(&ip),
            (Form::Octets(octets), IpAddr::V4(ip)) => {
                std::iter::zip(octets, ip.octets()).all(|(octet, of)| octet.is_none_or(|o| o == of))
            }
            (Form::Octets(_), IpAddr::V6(_)) => false,
        }
    }

    /// Whether `other` allows every address that this one allows.
    pub fn is_within(&self, other: &Self) -> bool {
        match (self.0, other.0) {
            (_, Form::Any) => true,
            (Form::Network(inner), Form::Network(outer)) => outer.contains(&inner),
            _ => match (self.fixed_bits(), other.fixed_bits()) {
                (Some((mask, bits)), Some((outer_mask, outer_bits))) => {
                    mask & outer_mask == outer_mask && bits & outer_mask == outer_bits
                }
                _ => false,
            },
        }
    }

    /// Which bits of an IPv4 address are fixed, and to what; none for other addresses.
    fn fixed_bits(&self) -> Option<(u32, u32)> {
        match self.0 {
            Form::Network(IpNet::V4(network)) => {
                Some((network.netmask().to_bits(), network.network().to_bits()))
            }
            Form::Octets(octets) => Some((
                u32::from_be_bytes(octets.map(|octet| octet.map_or(0, |_| u8::MAX))),
                u32::from_be_bytes(octets.map(Option::unwrap_or_default)),
            )),
            Form::Any | Form::Network(IpNet::V6(_)) => None,
        }
    }
}

impl From<IpAddr> for IpRule {
    /// The rule that allows this address alone.
    fn from(ip: IpAddr) -> Self {
        Self(Form::Network(IpNet::from(ip.to_canonical())))
    }
}

impl fmt::Display for IpRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Form::Any => f.write_str("*"),
            Form::Network(network) if network.prefix_len() == network.max_prefix_len() => {
                network.addr().fmt(f)
            }
            Form::Network(network) => network.fmt(f),
            Form::Octets(octets) => {
                for (index, octet) in octets.into_iter().enumerate() {
                    let dot = if index == 0 { "" } else { "." };
                    match octet {
                        Some(octet) => write!(f, "{dot}{octet}")?,
                        None => write!(f, "{dot}*")?,
                    }
                }
                Ok(())
            }
        }
    }
}

impl FromStr for IpRule {
    type Err = IpRuleError;

    fn from_str(text: &str) -> Result<Self, IpRuleError> {
        if text == "*" {
            return Ok(Self(Form::Any));
        }
        if let Some((address, prefix)) = text.split_once('/') {
            let address = address.parse().map_err(|_| IpRuleError::Form)?;
            return network(address, prefix).map(|network| Self(Form::Network(network)));
        }
        if text.contains('*') {
            return pattern(text).map(|octets| Self(Form::Octets(octets)));
        }
        // The standard parser takes neither leading zeros nor hexadecimal octets, nor a zone.
        text.parse::<IpAddr>()
            .map(Self::from)
            .map_err(|_| IpRuleError::Form)
    }
}

fn network(address: IpAddr, prefix: &str) -> Result<IpNet, IpRuleError> {
    let max = if address.is_ipv4() { 32 } else { 128 };
    let prefix = decimal(prefix)
        .filter(|prefix| *prefix <= max)
        .ok_or(IpRuleError::Prefix { max })?;
    // What is fixed beyond the 96 bits that mark a mapped address is a prefix of the IPv4 one.
    let mapped = match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().zip(prefix.checked_sub(96)),
        IpAddr::V4(_) => None,
    };
    let (address, prefix) = mapped.map_or((address, prefix), |(v4, prefix): (Ipv4Addr, u8)| {
        (v4.into(), prefix)
    });
    let given = IpNet::new(address, prefix).map_err(|_| IpRuleError::Prefix { max })?;
    let network = given.trunc();
    if network == given {
        Ok(network)
    } else {
        Err(IpRuleError::HostBits { network })
    }
}

fn pattern(text: &str) -> Result<[Option<u8>; 4], IpRuleError> {
    let octets = text
        .split('.')
        .map(|part| match part {
            "*" => Ok(None),
            number => decimal(number).map(Some).ok_or(IpRuleError::Octets),
        })
        .collect::<Result<Vec<_>, _>>()?;
    octets.try_into().map_err(|_| IpRuleError::Octets)
}

/// A number up to 255 in the one way to write it; `str::parse` would take a sign and zeros.
fn decimal(text: &str) -> Option<u8> {
    let number: u8 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

impl From<IpRule> for String {
    fn from(rule: IpRule) -> Self {
        rule.to_string()
    }
}

impl TryFrom<String> for IpRule {
    type Error = IpRuleError;

    fn try_from(text: String) -> Result<Self, IpRuleError> {
        text.parse()
    }
}
