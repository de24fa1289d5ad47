//! `cargo xtask campaign`: the tests with as many cases as it takes to rely on them.
//!
//! A campaign is an ordinary integration test that reads how much to do from its environment. Run
//! without, by `cargo test` or `cargo xtask test`, it does its short form.
//!
//! | variable | what it counts | read by |
//! |---|---|---|
//! | `DSM_CASES` | random cases of a test | `decide`, `envelope`, `forwarded`, `openapi`, `renewal`, `sealing` |
//! | `DSM_CYCLES` | rounds of breaking and recovering; rotations on each system, five times as many on PostgreSQL | `kill`, `cut`, `failover`, `disk-full`, `rotations` |
//! | `DSM_LEASES` | accounts that live for a while, on each system | `leases` |
//! | `DSM_RECORDS` | records of a vault that is moved | `migrate` |
//! | `DSM_REQUESTS` | requests of each sort that are timed | `timing` |
//! | `DSM_SOCKETS` | clients that do not go on | `half-open` |
//! | `DSM_WRITERS` | clients writing at the same time | `kill` |
//! | `PROPTEST_CASES` | cases of each property, where a test sets none of its own | `stores` |

use std::process::ExitCode;

use clap::ValueEnum;

use crate::Failure;
use crate::install;
use crate::sh::cargo;
use crate::tally::Tally;
use crate::test::{counted, report};

/// The environment of the short form, for what has no short default of its own.
pub(crate) const SHORT: &[(&str, &str)] = &[("PROPTEST_CASES", "64")];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which one
    #[arg(value_enum, default_value = "all")]
    name: Name,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    /// The access decision against an independent model of the rules
    Decide,
    /// Sealed texts: round trips, damage, and records in each other's place
    Envelope,
    /// Values sealed to a client's key, opened by jwcrypto and openssl, and none that was changed
    Sealing,
    /// Forwarding headers and addresses against an oracle
    Forwarded,
    /// Whether time tells an unknown client from a wrong secret
    Timing,
    /// Clients that connect and do not go on: they are closed, and disturb nobody
    HalfOpen,
    /// Rotations of credentials under random events: nobody is locked out
    Renewal,
    /// Rotations on real systems whose workers and networks fail: nobody is locked out
    Rotations,
    /// Accounts made and removed on a real system while workers and networks fail: none is left
    Leases,
    /// Every store against the memory store under random operations
    Stores,
    /// `kill -9` of a server or of its database under load: nothing acknowledged is lost
    Kill,
    /// The way to the database fails under load: nothing stale is given, and it recovers unaided
    Cut,
    /// The database is lost and its replica takes over: nothing acknowledged is lost
    Failover,
    /// A vault around all stores, killed on the way: it comes back as it was
    Migrate,
    /// No room for data or audit: nothing is revealed, and it recovers unaided
    DiskFull,
    /// Requests made up from the description of the interface: every answer is described
    Openapi,
    /// All of them, one after the other
    All,
}

/// What one campaign runs.
struct Campaign {
    name: Name,
    /// The arguments of `cargo test` that choose its tests.
    tests: &'static [&'static str],
    /// Whether its tests start the server.
    server: bool,
    env: &'static [(&'static str, &'static str)],
}

const CAMPAIGNS: &[Campaign] = &[
    Campaign {
        name: Name::Decide,
        tests: &["-p", "dsm-core", "--lib", "access::"],
        server: false,
        env: &[("DSM_CASES", "100000")],
    },
    Campaign {
        name: Name::Envelope,
        tests: &["-p", "dsm-core", "--test", "envelope"],
        server: false,
        env: &[("DSM_CASES", "100000")],
    },
    Campaign {
        name: Name::Sealing,
        tests: &["-p", "dsm-tests", "--test", "sealing"],
        server: false,
        env: &[("DSM_CASES", "1000")],
    },
    Campaign {
        name: Name::Forwarded,
        tests: &["-p", "dsm-server", "--lib", "client_ip::"],
        server: false,
        env: &[("DSM_CASES", "100000")],
    },
    Campaign {
        name: Name::Timing,
        // One after the other, or they would disturb each other.
        tests: &["-p", "dsm-tests", "--test", "timing"],
        server: true,
        env: &[("DSM_REQUESTS", "20000"), ("RUST_TEST_THREADS", "1")],
    },
    Campaign {
        name: Name::HalfOpen,
        tests: &["-p", "dsm-tests", "--test", "half_open"],
        server: true,
        env: &[("DSM_SOCKETS", "1000")],
    },
    Campaign {
        name: Name::Renewal,
        tests: &["-p", "dsm-core", "--lib", "renewal::"],
        server: false,
        env: &[("DSM_CASES", "1000000")],
    },
    Campaign {
        name: Name::Stores,
        tests: &[
            "-p",
            "dsm-core",
            "-p",
            "dsm-store-sqlite",
            "-p",
            "dsm-store-postgres",
            "-p",
            "dsm-store-redis",
            "--test",
            "store_memory",
            "--test",
            "conformance",
            "--test",
            "postgres",
        ],
        server: false,
        env: &[("PROPTEST_CASES", "2000")],
    },
    Campaign {
        name: Name::Rotations,
        tests: &[
            "-p",
            "dsm-providers",
            "--test",
            "systems",
            "random_failures_lock_nobody_out",
        ],
        server: false,
        env: &[("DSM_CYCLES", "200")],
    },
    Campaign {
        name: Name::Leases,
        tests: &[
            "-p",
            "dsm-providers",
            "--test",
            "systems",
            "leases_and_random_failures_leave_no_account",
        ],
        server: false,
        env: &[("DSM_LEASES", "1000")],
    },
    Campaign {
        name: Name::Kill,
        tests: &["-p", "dsm-tests", "--test", "kill"],
        server: true,
        env: &[("DSM_CYCLES", "50"), ("DSM_WRITERS", "8")],
    },
    Campaign {
        name: Name::Cut,
        tests: &["-p", "dsm-tests", "--test", "cut"],
        server: true,
        env: &[("DSM_CYCLES", "60")],
    },
    Campaign {
        name: Name::Failover,
        tests: &["-p", "dsm-tests", "--test", "failover"],
        server: true,
        env: &[("DSM_CYCLES", "10")],
    },
    Campaign {
        name: Name::Migrate,
        tests: &["-p", "dsm-tests", "--test", "migrate"],
        server: true,
        env: &[("DSM_RECORDS", "100000")],
    },
    Campaign {
        name: Name::DiskFull,
        tests: &["-p", "dsm-tests", "--test", "disk_full"],
        server: true,
        env: &[("DSM_CYCLES", "20")],
    },
    Campaign {
        name: Name::Openapi,
        tests: &["-p", "dsm-tests", "--test", "openapi"],
        server: true,
        env: &[("DSM_CASES", "10000")],
    },
];

pub(crate) fn main(args: &Args) -> Result<ExitCode, Failure> {
    install::debian_programs();
    install::python_packages();
    let mut tally = Tally::default();
    for campaign in chosen(args.name) {
        tally += run(campaign)?;
    }
    Ok(report(tally))
}

fn chosen(name: Name) -> impl Iterator<Item = &'static Campaign> {
    CAMPAIGNS
        .iter()
        .filter(move |campaign| name == Name::All || name == campaign.name)
}

/// Always optimised: the counts are chosen for that. A campaign in which no test ran has failed.
fn run(campaign: &Campaign) -> Result<Tally, Failure> {
    if campaign.server {
        cargo([
            "build",
            "--release",
            "-p",
            "dsm-server",
            "--all-features",
            "--bins",
        ])
        .run()?;
    }
    let mut cmd = cargo(["test", "--release", "--all-features", "--no-fail-fast"])
        .args(campaign.tests)
        .args(["--", "--nocapture"]);
    for (name, value) in campaign.env {
        cmd = cmd.env(name, *value);
    }
    let mut tally = counted(cmd)?;
    if tally.passed + tally.failed == 0 {
        eprintln!("error: the campaign {:?} ran no test", campaign.name);
        tally.failed = 1;
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_for_a_campaign() {
        for name in Name::value_variants() {
            let count = chosen(*name).count();
            let expected = if *name == Name::All {
                CAMPAIGNS.len()
            } else {
                1
            };
            assert_eq!(count, expected, "{name:?}");
        }
    }

    #[test]
    fn variables_are_among_those_documented() {
        let known = [
            "DSM_CASES",
            "DSM_CYCLES",
            "DSM_LEASES",
            "DSM_RECORDS",
            "DSM_REQUESTS",
            "DSM_SOCKETS",
            "DSM_WRITERS",
            "PROPTEST_CASES",
            "RUST_TEST_THREADS",
        ];
        for campaign in CAMPAIGNS {
            for (name, value) in campaign.env {
                assert!(known.contains(name), "{name}");
                assert!(value.parse::<u32>().is_ok_and(|count| count > 0), "{name}");
            }
        }
    }
}
