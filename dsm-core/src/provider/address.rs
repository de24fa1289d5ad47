use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address that no target is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is an address that targets are not reached at")]
pub struct AddressError(pub IpAddr);

/// The services of clouds that tell a machine what it is and may, outside of what is link-local: of
/// Alibaba and Azure, and over IPv6 of AWS (all of its prefix) and Google.
const ALIBABA: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);
const AZURE: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);
const AWS: [u16; 2] = [0xfd00, 0xec2];
const GOOGLE: Ipv6Addr = Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254);

/// Refuses addresses by which a target could reach what only this machine may: link-local ones, with
/// the metadata services of clouds, and those that name no single host. A provider resolves a name
/// once, checks what it got, and connects to that address and no other.
pub fn check_address(address: IpAddr) -> Result<IpAddr, AddressError> {
    let canonical = address.to_canonical();
    let refused = match canonical {
        IpAddr::V4(v4) => {
            v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4 == ALIBABA
                || v4 == AZURE
        }
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.segments().starts_with(&AWS)
                || v6 == GOOGLE
        }
    };
    if refused {
        Err(AddressError(address))
    } else {
        Ok(canonical)
    }
}

#[cfg(test)]
mod tests {
    use super::check_address;

    #[test]
    fn metadata_services_and_link_local_addresses_are_refused_in_every_form() {
        for bad in [
            "169.254.169.254",
            "169.254.0.1",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "168.63.129.16",
            "100.100.100.200",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
        ] {
            assert!(check_address(bad.parse().unwrap()).is_err(), "{bad}");
        }
        for good in ["10.0.0.1", "127.0.0.1", "::1", "192.0.2.1", "2001:db8::1"] {
            assert!(check_address(good.parse().unwrap()).is_ok(), "{good}");
        }
    }
}
